"""The ledger, partitioned by day."""

from migrations.sql_files import run

revision = "013"
down_revision = "012"


def upgrade() -> None:
    run("013_create_operations")


def downgrade() -> None:
    run("013_drop_operations")
