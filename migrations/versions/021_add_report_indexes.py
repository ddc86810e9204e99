"""Indexes of the reports."""

from migrations.sql_files import run

revision = "021"
down_revision = "020"


def upgrade() -> None:
    run("021_add_report_indexes")


def downgrade() -> None:
    run("021_drop_report_indexes")
