"""Liveness of nodes: when heartbeats came, what was announced, namespace, deregistration."""

from migrations.sql_files import run

revision = "023"
down_revision = "022"


def upgrade() -> None:
    run("023_add_node_liveness")


def downgrade() -> None:
    run("023_drop_node_liveness")
