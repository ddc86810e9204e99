"""metadata of fsm_states, and the index of recovery."""

from migrations.sql_files import run

revision = "018"
down_revision = "017"


def upgrade() -> None:
    run("018_add_fsm_state_metadata")


def downgrade() -> None:
    run("018_drop_fsm_state_metadata")
