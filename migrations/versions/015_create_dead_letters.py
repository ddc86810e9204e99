"""What was refused."""

from migrations.sql_files import run

revision = "015"
down_revision = "014"


def upgrade() -> None:
    run("015_create_dead_letters")


def downgrade() -> None:
    run("015_drop_dead_letters")
