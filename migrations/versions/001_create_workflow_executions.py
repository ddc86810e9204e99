"""The workflows, and uuid_v7() for ids."""

from migrations.sql_files import run

revision = "001"
down_revision = None


def upgrade() -> None:
    run("001_create_workflow_executions")


def downgrade() -> None:
    run("001_drop_workflow_executions")
