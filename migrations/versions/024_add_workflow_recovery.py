"""What recovery of workflows needs: stalled_at, first_transition_id, the index of open workflows."""

from migrations.sql_files import run

revision = "024"
down_revision = "023"


def upgrade() -> None:
    run("024_add_workflow_recovery")


def downgrade() -> None:
    run("024_drop_workflow_recovery")
