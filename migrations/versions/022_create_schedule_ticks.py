"""The ticks of schedules, and what each did."""

from migrations.sql_files import run

revision = "022"
down_revision = "021"


def upgrade() -> None:
    run("022_create_schedule_ticks")


def downgrade() -> None:
    run("022_drop_schedule_ticks")
