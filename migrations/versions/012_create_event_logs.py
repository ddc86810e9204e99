"""The events, in and out, partitioned by day."""

from migrations.sql_files import run

revision = "012"
down_revision = "011"


def upgrade() -> None:
    run("012_create_event_logs")


def downgrade() -> None:
    run("012_drop_event_logs")
