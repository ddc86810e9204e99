"""The job of each schedule, made as the settings say."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from store.database.pool import Conn
from store.housekeeping import alerts, partitions
from store.housekeeping.fsm_recovery import Recovery, policies
from store.housekeeping.job import Batch, Job
from store.housekeeping.retention import KeepTimes, Retention
from store.housekeeping.sweep import Sweep
from worker.database import thresholds
from worker.schedule.schedules import schedules
from worker.settings import Settings

logger = logging.getLogger(__name__)

RESUME_S = 600.0  # an unfinished run that is older than this is begun anew


def _sweep(settings: Settings) -> Job:
    return Sweep(thresholds(settings), environment=settings.environment)


def _recovery(settings: Settings) -> Job:
    return Recovery(
        after=timedelta(seconds=settings.fsm_recovery_after_s),
        stalled_after=timedelta(seconds=settings.stalled_after_s),
        fails=policies(settings.stall_fails),
        environment=settings.environment,
    )


class _Partitions:
    """The days first, in a transaction that waits for no client: making them holds locks that writers feel."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made = 0

    def aside(self, conn: Conn) -> None:
        self._made += partitions.ensure(
            conn, days_back=self._settings.partitions_days_back, days_ahead=self._settings.partitions_days_ahead
        )

    def __call__(self, conn: Conn) -> Batch:
        return Batch(
            rows=0, more=False, counts={"partitions_made": self._made, "alerts": _tell_alerts(conn, self._settings)}
        )


def _tell_alerts(conn: Conn, settings: Settings) -> int:
    """Logs each; one that cannot be read is told of and keeps nothing else from being done."""
    try:
        with conn.transaction():
            found = alerts.read(conn, **alert_limits(settings))
    except Exception:
        logger.exception("alerts_not_read")
        return 0
    for alert in found:
        logger.warning("alert", extra={"fields": asdict(alert)})
    return len(found)


def alert_limits(settings: Settings) -> dict[str, Any]:
    """The last of the days ahead is made in the course of its day: that one is not missed."""
    return {
        "days_ahead": settings.partitions_days_ahead - 1,
        "rows_limit": settings.default_rows_alert,
        "keep": keep_times(settings),
        "grids": [schedule.grid for schedule in schedules(settings)],
    }


_unfinished: list[tuple[float, Retention]] = []


def _retention(settings: Settings) -> Job:
    """Goes on where this process stopped lately: else a run cut into slices might never get past what it keeps."""
    now = time.monotonic()
    job = next((job for since, job in _unfinished if not job.over and now - since < RESUME_S), None)
    if job is None:
        job = Retention(keep_times(settings), share=settings.retention_percent / 100)
    _unfinished[:] = [(now, job)]
    return job


def keep_times(settings: Settings) -> KeepTimes:
    return KeepTimes(**{table: getattr(settings, f"retain_{table}_days") for table in KeepTimes.tables()})


# By the schedule's name. A run makes its own: a job may remember how far it is.
JOBS: Mapping[str, Callable[[Settings], Job]] = {
    "heartbeat-sweep": _sweep,
    "fsm-recovery": _recovery,
    "partitions": _Partitions,
    "retention": _retention,
}
