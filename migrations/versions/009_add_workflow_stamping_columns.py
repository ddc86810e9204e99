"""What stamping tells of a workflow."""

from migrations.sql_files import run

revision = "009"
down_revision = "008"


def upgrade() -> None:
    run("009_add_workflow_stamping_columns")


def downgrade() -> None:
    run("009_drop_workflow_stamping_columns")
