"""Details that may stay empty."""

from migrations.sql_files import run

revision = "011"
down_revision = "010"


def upgrade() -> None:
    run("011_add_detail_columns")


def downgrade() -> None:
    run("011_drop_detail_columns")
