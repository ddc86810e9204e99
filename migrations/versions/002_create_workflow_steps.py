"""The steps of workflows, partitioned by day."""

from migrations.sql_files import run

revision = "002"
down_revision = "001"


def upgrade() -> None:
    run("002_create_workflow_steps")


def downgrade() -> None:
    run("002_drop_workflow_steps")
