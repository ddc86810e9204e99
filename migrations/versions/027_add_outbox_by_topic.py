"""What waits in the outbox, by topic."""

from migrations.sql_files import run

revision = "027"
down_revision = "026"


def upgrade() -> None:
    run("027_add_outbox_by_topic")


def downgrade() -> None:
    run("027_drop_outbox_by_topic")
