"""row_version of what generic writes change, and their results in the ledger."""

from migrations.sql_files import run

revision = "020"
down_revision = "019"


def upgrade() -> None:
    run("020_add_row_version")


def downgrade() -> None:
    run("020_drop_row_version")
