"""The outbox in event_logs."""

from migrations.sql_files import run

revision = "019"
down_revision = "018"


def upgrade() -> None:
    run("019_add_outbox")


def downgrade() -> None:
    run("019_drop_outbox")
