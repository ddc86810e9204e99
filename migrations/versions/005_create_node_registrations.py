"""The nodes."""

from migrations.sql_files import run

revision = "005"
down_revision = "004"


def upgrade() -> None:
    run("005_create_node_registrations")


def downgrade() -> None:
    run("005_drop_node_registrations")
