"""ensure_partitions(), and the first days."""

from migrations.sql_files import run

revision = "017"
down_revision = "016"


def upgrade() -> None:
    run("017_create_ensure_partitions")


def downgrade() -> None:
    run("017_drop_ensure_partitions")
