"""How often an operation was tried in vain."""

from migrations.sql_files import run

revision = "029"
down_revision = "028"


def upgrade() -> None:
    run("029_create_operation_attempts")


def downgrade() -> None:
    run("029_drop_operation_attempts")
