"""The stamps."""

from migrations.sql_files import run

revision = "006"
down_revision = "005"


def upgrade() -> None:
    run("006_create_metadata_stamps")


def downgrade() -> None:
    run("006_drop_metadata_stamps")
