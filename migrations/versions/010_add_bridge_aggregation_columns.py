"""What a reducer tells of an aggregation."""

from migrations.sql_files import run

revision = "010"
down_revision = "009"


def upgrade() -> None:
    run("010_add_bridge_aggregation_columns")


def downgrade() -> None:
    run("010_drop_bridge_aggregation_columns")
