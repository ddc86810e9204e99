"""Indexes for lists of workflows."""

from migrations.sql_files import run

revision = "007"
down_revision = "006"


def upgrade() -> None:
    run("007_add_workflow_indexes")


def downgrade() -> None:
    run("007_drop_workflow_indexes")
