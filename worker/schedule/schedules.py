"""What the fleet does by itself, and when: a Celery task for each schedule, sent by beats (worker/schedule/beat.py).

Ticks lie on a grid of the database's clock, so every beat means the same ones. See docs/schedules.md.
"""

from dataclasses import dataclass
from datetime import timedelta

from omninode_bridge.client.broker import (
    ENFORCE_RETENTION_TASK,
    ENSURE_PARTITIONS_TASK,
    RECOVER_WORKFLOWS_TASK,
    SWEEP_HEARTBEATS_TASK,
)
from store.housekeeping.schedules import Grid
from worker.settings import Settings

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
LONGEST_RESEND_S = 60.0
SHORTEST_RESEND_S = 1.0
SHORTEST_EXPIRY_S = 60.0  # the clocks of beat and worker judge it together, and may differ


@dataclass(frozen=True, slots=True)
class Schedule:
    """name      as `fleet schedule` and the ticks have it
    task      the Celery task that runs its ticks
    period_s  from one tick to the next
    offset_s  of the first after midnight UTC
    """

    name: str
    task: str
    period_s: float
    offset_s: float = 0.0

    @property
    def grid(self) -> Grid:
        return Grid(self.name, timedelta(seconds=self.period_s), timedelta(seconds=self.offset_s))

    @property
    def resend_s(self) -> float:
        """After this time a beat sends a tick again that is not done: its message may be lost, or the run failed. Then
        after twice that, and so on (plan.py)."""
        return min(max(self.period_s / 3, SHORTEST_RESEND_S), LONGEST_RESEND_S)

    @property
    def expires_s(self) -> float:
        """A message that has waited for so long is dropped; by then another has been sent."""
        return max(min(self.period_s, HOUR_S), SHORTEST_EXPIRY_S)


def schedules(settings: Settings) -> tuple[Schedule, ...]:
    """Every schedule, as the settings say."""
    return (
        Schedule("heartbeat-sweep", SWEEP_HEARTBEATS_TASK, settings.heartbeat_sweep_s),
        Schedule("fsm-recovery", RECOVER_WORKFLOWS_TASK, settings.fsm_recovery_s),
        Schedule("partitions", ENSURE_PARTITIONS_TASK, HOUR_S),
        Schedule("retention", ENFORCE_RETENTION_TASK, DAY_S, offset_s=_seconds_of(settings.retention_at)),
    )


def _seconds_of(time_of_day: str) -> float:
    """Seconds from midnight to HH:MM."""
    hours, minutes = time_of_day.split(":")
    return int(hours) * HOUR_S + int(minutes) * 60
