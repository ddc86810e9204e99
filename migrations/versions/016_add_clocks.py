"""Clocks, contributions, liveness."""

from migrations.sql_files import run

revision = "016"
down_revision = "015"


def upgrade() -> None:
    run("016_add_clocks")


def downgrade() -> None:
    run("016_drop_clocks")
