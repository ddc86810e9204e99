"""The aggregates of bridges."""

from migrations.sql_files import run

revision = "004"
down_revision = "003"


def upgrade() -> None:
    run("004_create_bridge_states")


def downgrade() -> None:
    run("004_drop_bridge_states")
