"""Functions that several statements share."""

from migrations.sql_files import run

revision = "028"
down_revision = "027"


def upgrade() -> None:
    run("028_create_shared_functions")


def downgrade() -> None:
    run("028_drop_shared_functions")
