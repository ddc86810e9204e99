"""The state that each state machine is in."""

from migrations.sql_files import run

revision = "014"
down_revision = "013"


def upgrade() -> None:
    run("014_create_fsm_states")


def downgrade() -> None:
    run("014_drop_fsm_states")
