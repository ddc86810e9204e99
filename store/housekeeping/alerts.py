"""What wants somebody: partitions that are not there, that fill or that nobody removes, and schedules that are late."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg import Connection

from store.database.instant import instant
from store.database.statements import statements_beside
from store.housekeeping import partitions
from store.housekeeping.retention import KeepTimes, old_days
from store.housekeeping.schedules import Grid

statement = statements_beside(__file__)

Metric = Literal["partitions_missing", "default_partition_rows", "retention_days_left", "schedule_late"]
GRACE = timedelta(days=2)  # retention runs once a day: a day that was due for so long was left more than once


@dataclass(frozen=True, slots=True)
class Alert:
    """A metric of a table or of a schedule that is not as it should be; what to do stands in docs/operations.md."""

    metric: Metric
    about: str
    value: int
    message: str


def read(
    conn: Connection[Any],
    *,
    days_ahead: int,
    rows_limit: int,
    keep: KeepTimes,
    grids: Sequence[Grid],
    at: datetime | None = None,
) -> list[Alert]:
    """The alerts of this moment; none when all is well.

    days_ahead  days after today that must have a partition
    rows_limit  rows in a default partition from which they are too many
    grids       the schedules that must not be late
    at          stands for the database's clock
    """
    at = at or instant(conn)
    return [
        *_missing(conn, days_ahead, at),
        *_filling(conn, rows_limit),
        *_left(conn, keep, at),
        *_late(conn, grids, at),
    ]


def _missing(conn: Connection[Any], days_ahead: int, at: datetime) -> list[Alert]:
    parameters = {"parents": list(partitions.TABLES), "days_ahead": days_ahead, "at": at}
    there = partitions.defaults(conn)
    defaults = [
        Alert("partitions_missing", table, 1, "the default partition is missing")
        for table in partitions.TABLES
        if table not in there
    ]
    days = [
        Alert("partitions_missing", table, count, f"{count} days have no partition, the first is {first}")
        for table, count, first in conn.execute(statement("missing_days"), parameters)
    ]
    return [*defaults, *days]


def _filling(conn: Connection[Any], rows_limit: int) -> list[Alert]:
    return [
        Alert("default_partition_rows", table, count, f"{count} or more rows lie outside every day's partition")
        for table, count in partitions.default_rows(conn, rows_limit=rows_limit).items()
        if count >= rows_limit
    ]


def _left(conn: Connection[Any], keep: KeepTimes, at: datetime) -> list[Alert]:
    overdue = Counter(day.table for day in old_days(conn, keep, at - GRACE))
    return [
        Alert("retention_days_left", table, count, f"{count} days are older than their keep-time and still there")
        for table, count in overdue.items()
    ]


def _late(conn: Connection[Any], grids: Sequence[Grid], at: datetime) -> list[Alert]:
    parameters = {
        "names": [grid.name for grid in grids],
        "periods_s": [grid.period.total_seconds() for grid in grids],
        "at": at,
    }
    return [
        Alert("schedule_late", name, late_s, f"a tick has been due for {late_s:,} s" + _since(done_at))
        for name, late_s, done_at in conn.execute(statement("late_schedules"), parameters)
    ]


def _since(done_at: datetime | None) -> str:
    return (
        ", none was ever done"
        if done_at is None
        else f", the last that was done was due at {done_at:%Y-%m-%d %H:%M:%S%z}"
    )
