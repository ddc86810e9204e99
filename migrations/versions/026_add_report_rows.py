"""What reports about single rows need."""

from migrations.sql_files import run

revision = "026"
down_revision = "025"


def upgrade() -> None:
    run("026_add_report_rows")


def downgrade() -> None:
    run("026_drop_report_rows")
