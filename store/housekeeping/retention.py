"""Removing what has been kept long enough.

    whole days   operations, workflow_steps, fsm_transitions, event_logs: a partition is dropped when all of it is old
    then rows    of their default partitions, stamps, states, workflows, letters, nodes, ticks: some hundred a portion

What is old is told by the database's clock when the run begins. Never removed: events that wait to go out, dead letters
that are open, workflows that did not end or that a kept step or stamp refers to, bridge states. See docs/schedules.md,
"Retention".
"""

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.errors import LockNotAvailable

from omninode_bridge.contract.clock import millis
from store.database.instant import instant
from store.database.statements import statements_beside
from store.housekeeping import partitions
from store.housekeeping.job import Batch, Progress
from store.housekeeping.references import with_references

statement = statements_beside(__file__)

logger = logging.getLogger(__name__)

ROWS_LIMIT = 500  # a workflow's removal looks into every day's steps; so many take a quarter of a second
SHARE = 0.2  # of the time; a portion is followed by a rest: a fifth of one connection, and of one disk
LONGEST_REST_S = 10.0  # whoever else is to work in this process waits for it
MOST_MOVED = 1000  # events that wait to go out; where a day has more, drop_partition leaves it
DROP_TRIES = 30  # with the pauses below about half a minute; then the day is left for the next run
DROP_PAUSE_S = (0.2, 1.8)

FIRST_TIMED = UUID(int=1 << 80)  # smaller ids have no time in them
_NO_ID = UUID(int=0)
_FOR_EVER = datetime(1, 1, 1, tzinfo=UTC)  # nothing is older

# In this order: a workflow goes after the stamps that held it. A state whose workflow goes now goes with the next run.
_REMOVALS: tuple[tuple[str, str], ...] = (
    ("operations", "remove_default_operations"),
    ("workflow_steps", "remove_default_steps"),
    ("fsm_transitions", "remove_default_transitions"),
    ("event_logs", "remove_default_events"),
    ("dead_letters", "remove_dead_letters"),
    ("metadata_stamps", "remove_stamps"),
    ("fsm_states", "remove_fsm_states"),
    ("workflow_executions", "lock_old_workflows"),
    ("node_registrations", "remove_nodes"),
    ("schedule_ticks", "remove_ticks"),
)


@dataclass(frozen=True, slots=True)
class KeepTimes:
    """How long the rows of each table are kept, in days; 0 is for ever."""

    operations: int = 8
    workflow_steps: int = 90
    fsm_transitions: int = 90
    event_logs: int = 30
    dead_letters: int = 90
    metadata_stamps: int = 365
    fsm_states: int = 365
    workflow_executions: int = 180
    node_registrations: int = 30
    schedule_ticks: int = 30

    @classmethod
    def tables(cls) -> tuple[str, ...]:
        return tuple(one.name for one in fields(cls))

    def begins(self, table: str, at: datetime) -> datetime:
        """What is older than this is not kept. Of a table with partitions it is the start of a day."""
        days: int = getattr(self, table)
        if not days:
            return _FOR_EVER
        begins = at.astimezone(UTC) - timedelta(days=days)
        return begins.replace(hour=0, minute=0, second=0, microsecond=0) if table in partitions.TABLES else begins


@dataclass(frozen=True, slots=True)
class DayLeft:
    """An old day that stays for now: its locks are held, its events wait, or an older day of its table stays."""

    table: str
    day: date
    why: Literal["locked", "events wait", "behind an older day"]


class Place(NamedTuple):
    """How far a table was read: the last key seen."""

    at: datetime = _FOR_EVER
    id: UUID = _NO_ID


class _Reached(NamedTuple):
    """What a run remembers from portion to portion.

    days   whether there may be days to drop; rows come afterwards
    told   what a drop did, for the next portion to tell
    tries  how often somebody was in the way of the day that is next
    table  position in _REMOVALS
    """

    days: bool = True
    told: Batch | None = None
    tries: int = 0
    table: int = 0
    place: Place = Place()


class Retention:
    """A job (job.py) for one run. Days are dropped aside, one before each portion until none is left to drop.

    over  nothing is left to do
    left  the old days that stay for this run
    """

    def __init__(
        self,
        keep: KeepTimes,
        *,
        at: datetime | None = None,
        share: float = SHARE,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """
        at     stands for the database's clock
        share  of the time that this works, above 0 to 1; it rests for the others
        draw   a random number between two, for pauses
        """
        self.over = False
        self.left: list[DayLeft] = []
        self._keep = keep
        self._at = at
        self._rests = 1 / share - 1
        self._draw = draw
        self._progress = Progress(_Reached())

    def aside(self, conn: Connection[Any]) -> None:
        """Drop the next old day, in autocommit mode: writers wait for the server alone, never for this process."""
        self._progress.settle(conn)
        if not self._progress.reached.days or self._progress.reached.told is not None:
            return
        began = time.monotonic()
        at = self._at = self._at or instant(conn)
        left = {day.table for day in self.left}
        days = [day for day in old_days(conn, self._keep, at) if day.table not in left]
        if not days:
            self._progress.reached = self._progress.reached._replace(days=False)
            return
        batch = self._drop_first(conn, days)
        self._progress.reached = self._progress.reached._replace(told=self._rested(batch, began))

    def __call__(self, conn: Connection[Any]) -> Batch:
        began = time.monotonic()
        at = self._progress.begin(conn, self._at)
        batch = self._progress.reached.told
        if batch is None:
            self._at = at
            batch = self._rested(self._remove_rows(conn, at), began)
        else:
            self._progress.reached = self._progress.reached._replace(told=None)
        self.over = not batch.more
        return batch

    def _rested(self, batch: Batch, began: float) -> Batch:
        return replace(batch, rest_s=batch.rest_s or min(self._rests * (time.monotonic() - began), LONGEST_REST_S))

    def _drop_first(self, conn: Connection[Any], days: Sequence["OldDay"]) -> Batch:
        table = days[0].table
        try:
            row = conn.execute(statement("drop_partition"), {"parent": table, "day": days[0].day}).fetchone()
        except LockNotAvailable:
            return self._blocked(days)
        assert row is not None
        did = row[0]
        self._progress.reached = self._progress.reached._replace(tries=0)
        if not did["dropped"]:
            return self._leave(left_days(days, table, "events wait")) if did["pending"] else Batch(0, True)
        counts = {f"{table}.days": 1, f"{table}.bytes": did["bytes"], f"{table}.moved": did["moved"]}
        return Batch(did["moved"], True, {name: count for name, count in counts.items() if count})

    def _blocked(self, days: Sequence["OldDay"]) -> Batch:
        tries = self._progress.reached.tries + 1
        if tries >= DROP_TRIES:
            self._progress.reached = self._progress.reached._replace(tries=0)
            return self._leave(left_days(days, days[0].table, "locked"))
        self._progress.reached = self._progress.reached._replace(tries=tries)
        return Batch(0, True, rest_s=self._draw(*DROP_PAUSE_S))

    def _leave(self, days: Sequence[DayLeft]) -> Batch:
        self.left += days
        for left in days:
            fields = {"table": left.table, "day": left.day.isoformat(), "why": left.why}
            logger.warning("day_left", extra={"fields": fields})
        return Batch(0, True, {f"{days[0].table}.left": len(days)})

    def _remove_rows(self, conn: Connection[Any], at: datetime) -> Batch:
        table, name = _REMOVALS[self._progress.reached.table]
        parameters = {
            "cut": self._keep.begins(table, at),
            "first_kept": first_id(self._keep.begins(table, at)),
            "after_at": self._progress.reached.place.at,
            "after": self._progress.reached.place.id,
            "rows_limit": ROWS_LIMIT,
        } | bounds(self._keep, at)
        row = conn.execute(with_references(statement(name)), parameters).fetchone()
        assert row is not None
        found, scanned, last_at, last_id = row
        if name == "lock_old_workflows":
            removal = with_references(statement("remove_workflows"))
            found = conn.execute(removal, parameters | {"ids": found}).rowcount if found else 0
        over = scanned < ROWS_LIMIT
        following = self._progress.reached.table + 1
        if over:
            self._progress.reached = self._progress.reached._replace(table=following, place=Place())
        else:
            self._progress.reached = self._progress.reached._replace(
                place=Place(last_at or _FOR_EVER, last_id or _NO_ID)
            )
        return Batch(found, not over or following < len(_REMOVALS), {f"{table}.rows": found} if found else {})


class OldDay(NamedTuple):
    table: str
    day: date
    size_bytes: int


def old_days(conn: Connection[Any], keep: KeepTimes, at: datetime) -> list[OldDay]:
    """The days of partitioned tables that nobody has to keep any more."""
    first_days = [keep.begins(table, at).date() for table in partitions.TABLES]
    rows = conn.execute(statement("old_days"), {"parents": list(partitions.TABLES), "first_days": first_days})
    return [OldDay(*row) for row in rows]


def left_days(days: Sequence[OldDay], table: str, why: Literal["locked", "events wait"]) -> list[DayLeft]:
    """A table's days when its first stays: days go from the oldest on, so that those after one that went are whole."""
    first, *others = [day.day for day in days if day.table == table]
    return [DayLeft(table, first, why), *(DayLeft(table, day, "behind an older day") for day in others)]


def first_id(at: datetime) -> UUID:
    """The smallest operation id of that instant."""
    return UUID(int=max(0, millis(at)) << 80)


def bounds(keep: KeepTimes, at: datetime) -> dict[str, Any]:
    """What the statements ask of other tables than their own."""
    begins = {table: keep.begins(table, at) for table in KeepTimes.tables()}
    return {
        **{f"{table}_cut": instant for table, instant in begins.items()},
        **{f"{table}_first_kept": first_id(instant) for table, instant in begins.items()},
        "first_timed": FIRST_TIMED,
    }
