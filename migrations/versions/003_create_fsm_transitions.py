"""The transitions of state machines, partitioned by day."""

from migrations.sql_files import run

revision = "003"
down_revision = "002"


def upgrade() -> None:
    run("003_create_fsm_transitions")


def downgrade() -> None:
    run("003_drop_fsm_transitions")
