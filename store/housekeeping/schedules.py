"""Ticks of schedules: each takes effect once, whoever sends it and however often.

    run(tick) --> the schedule's lock, which one connection at a time has   not had -> busy
       the tick is done already                                            -> known
       else, again and again, in ONE TRANSACTION each: a portion of the job, then what it did into the tick's row
          nothing is left                                                  -> done
          `late` says that others should have their turn                   -> unfinished, the row says 'running'
          it fails                                                         -> the row says 'failed', with the error

What a portion did and what the row says of it are committed together, so a row that says 'done' is the tick's effect. A
job sees in the rows what there is to do: a tick whose worker was killed is run again, and only what is left is done.
Before each portion a job may do something outside of it (store/housekeeping/job.py, Aside).
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

import psycopg
from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from store.database.errors import Fate, HeldBack, condition_of, fate_of, outage_of
from store.database.statements import statements_beside
from store.housekeeping.job import Aside, Batch, Job
from store.write.apply import again

statement = statements_beside(__file__)

logger = logging.getLogger(__name__)

LOCK_CLASS = 0x5449434B  # the class of these advisory locks; no other lock of the fleet is of it
ERROR_CHARS = 200
PORTION_IDLE_S = 3  # a worker that is frozen in a portion holds others up for so long; one at work answers at once

TickOutcome = Literal["running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Tick:
    """One moment at which a schedule is due."""

    name: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Grid:
    """When a schedule is due: every `period`, `offset` after midnight UTC."""

    name: str
    period: timedelta
    offset: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Due:
    """The newest due tick of a schedule.

    outcome    None when nobody has begun it
    next_in_s  seconds, by the database's clock, until the tick after it
    """

    tick: Tick
    outcome: TickOutcome | None
    next_in_s: float

    @property
    def is_done(self) -> bool:
        return self.outcome == "done"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run did itself; what earlier runs of its tick did is in the tick's row.

    known       the tick was done before
    busy        somebody else is at this schedule
    unfinished  it was late, and there is more to do
    """

    outcome: Literal["done", "known", "busy", "unfinished"]
    rows: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    worked_ms: int = 0


@dataclass(frozen=True, slots=True)
class Latest:
    """The last tick of a schedule; all but the name is None where there was none. `done_at`: when one was last done."""

    name: str
    due_at: datetime | None
    outcome: TickOutcome | None
    started_at: datetime | None
    ended_at: datetime | None
    runs: int | None
    worked_ms: int | None
    rows_touched: int | None
    counts: Mapping[str, int] | None
    error: str | None
    ran_by: str | None
    done_at: datetime | None


class _Known(Exception):
    """Somebody else has done the tick meanwhile: nothing of the portion may stay."""


def due(conn: Connection[Any], grids: Sequence[Grid], *, at: datetime | None = None) -> list[Due]:
    """The newest due tick of each, in the order given. `at` stands for the database's clock."""
    parameters = {
        "names": [grid.name for grid in grids],
        "periods_s": [grid.period.total_seconds() for grid in grids],
        "offsets_s": [grid.offset.total_seconds() for grid in grids],
        "at": at,
    }
    rows = conn.execute(statement("due_ticks"), parameters).fetchall()
    return [Due(Tick(name, due_at), outcome, next_in_s) for name, due_at, outcome, next_in_s in rows]


def latest(conn: Connection[Any], names: Sequence[str]) -> list[Latest]:
    """The last tick of each schedule, in the order given."""
    with conn.cursor(row_factory=class_row(Latest)) as cursor:
        return cursor.execute(statement("latest_ticks"), {"names": list(names)}).fetchall()


def undone_s(conn: Connection[Any], name: str) -> float:
    """Seconds since the last tick that was done was due, or, where none ever was, since the first; 0 for no tick."""
    row = conn.execute(statement("undone_for"), {"name": name}).fetchone()
    assert row is not None
    seconds: float = row[0]
    return seconds


def run(
    conn: Connection[Any],
    tick: Tick,
    make_job: Callable[[], Job],
    *,
    ran_by: str,
    late: Callable[[], bool] = lambda: False,
    pause: Callable[[float], None] = time.sleep,
    at: datetime | None = None,
) -> Ran:
    """Do the tick's job, unless that is done or under way; `conn` is in autocommit mode.

    make_job  called when the tick is to be done, by who is alone at its schedule then
    late      asked between two portions: whether to stop for now
    pause     waits between two tries where another transaction was in the way, and while the job rests, in seconds
    at        stands for the database's clock

    Raises ValueError for a tick ahead of that clock; Outage when the database is away, or others stay in the way;
    HeldBack for what PostgreSQL says of the job's statements; else what the job raises. The tick's row says 'failed'
    then, where it could still be written.
    """
    with _alone(conn, tick.name) as alone:
        if not alone:
            return Ran("busy")
        outcome, ahead = _read(conn, tick, at)
        if ahead:
            raise ValueError("a tick ahead of the database's clock")
        return Ran("known") if outcome == "done" else _Run(conn, tick, ran_by).to_the_end(make_job, late, pause)


class _Run:
    """One run of a tick, by whoever holds the schedule's lock."""

    def __init__(self, conn: Connection[Any], tick: Tick, ran_by: str) -> None:
        self._conn = conn
        self._key = {"name": tick.name, "due_at": tick.due_at, "ran_by": ran_by[:200]}
        self._portions = 0
        self._rows = 0
        self._counts: dict[str, int] = {}
        self._worked_ms = 0

    def to_the_end(self, make_job: Callable[[], Job], late: Callable[[], bool], pause: Callable[[float], None]) -> Ran:
        try:
            for batch in self._portions_of(make_job(), late, pause):
                if batch.more and late():
                    return self._ran("unfinished")
                if batch.more and batch.rest_s:
                    pause(batch.rest_s)
        except _Known:
            return Ran("known")
        except Exception as error:
            self._note_failure(error)
            if fate_of(error) in (Fate.OUTAGE, Fate.LOST, Fate.RUN_AGAIN):
                raise outage_of(error) from error
            if fate_of(error) is Fate.SUSPECT:  # a row that it cannot work at must not keep others from their work
                raise HeldBack(f"the job fails: {condition_of(error)}", original_error=error) from error
            raise
        return self._ran("done")

    def _portions_of(self, job: Job, late: Callable[[], bool], pause: Callable[[float], None]) -> Iterator[Batch]:
        """Do the job, portion by portion, to its end."""
        aside = job.aside if isinstance(job, Aside) else None
        more = True
        while more:
            if aside is not None:
                again(partial(aside, self._conn), pause, give_up=late)
            batch = again(partial(self._portion, job), pause, give_up=late)
            yield batch
            more = batch.more

    def _portion(self, job: Job) -> Batch:
        began = time.monotonic()
        with self._conn.transaction():
            self._conn.execute(statement("limit_idleness"), {"idle_s": PORTION_IDLE_S})
            batch = job(self._conn)
            worked_ms = round((time.monotonic() - began) * 1000)
            self._note(batch, worked_ms)
        self._portions += 1
        self._rows += batch.rows
        self._worked_ms += worked_ms
        for kind, count in batch.counts.items():
            self._counts[kind] = self._counts.get(kind, 0) + count
        return batch

    def _note(self, batch: Batch, worked_ms: int) -> None:
        noted = self._conn.execute(
            statement("note_tick"),
            self._key
            | {
                "outcome": "running" if batch.more else "done",
                "begun": self._begun(),
                "worked_ms": worked_ms,
                "rows": batch.rows,
                "counts": Jsonb(dict(batch.counts)),
            },
        )
        if noted.fetchone() is None:
            raise _Known

    def _note_failure(self, error: Exception) -> None:
        """Whatever keeps it from being written is what has failed the run already."""
        if self._conn.closed:
            return
        try:
            self._conn.execute(statement("fail_tick"), self._key | {"begun": self._begun(), "error": _short(error)})
        except psycopg.Error as failure:
            logger.debug("failure_not_noted", extra={"fields": {"reason": type(failure).__name__}})

    def _begun(self) -> int:
        return 0 if self._portions else 1

    def _ran(self, outcome: Literal["done", "unfinished"]) -> Ran:
        return Ran(outcome, self._rows, self._counts, self._worked_ms)


def _read(conn: Connection[Any], tick: Tick, at: datetime | None) -> tuple[TickOutcome | None, bool]:
    row = conn.execute(statement("read_tick"), {"name": tick.name, "due_at": tick.due_at, "at": at}).fetchone()
    assert row is not None
    return row[0], row[1]


@contextmanager
def _alone(conn: Connection[Any], name: str) -> Iterator[bool]:
    """Hold the schedule's lock for the block; it belongs to the session, and goes when that does."""
    key = {"class": LOCK_CLASS, "key": _key(name)}
    row = conn.execute(statement("lock_schedule"), key).fetchone()
    if row is None or not row[0]:
        yield False
        return
    try:
        yield True
    finally:
        _let_go(conn, key)


def _let_go(conn: Connection[Any], key: Mapping[str, int]) -> None:
    """A connection that cannot give the lock back must not live on with it."""
    if conn.closed:
        return
    try:
        conn.execute(statement("unlock_schedule"), key)
    except psycopg.Error:
        conn.close()


def _short(error: Exception) -> str:
    """What failed, in one line that PostgreSQL can store."""
    lines = str(error).splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:ERROR_CHARS]


def _key(name: str) -> int:
    """31 bits of the name: what the second half of an advisory lock's key holds."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) >> 1
