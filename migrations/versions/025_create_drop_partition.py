"""How a day is removed."""

from migrations.sql_files import run

revision = "025"
down_revision = "024"


def upgrade() -> None:
    run("025_create_drop_partition")


def downgrade() -> None:
    run("025_drop_drop_partition")
