"""An index for failed workflows."""

from migrations.sql_files import run

revision = "008"
down_revision = "007"


def upgrade() -> None:
    run("008_add_composite_indexes")


def downgrade() -> None:
    run("008_drop_composite_indexes")
