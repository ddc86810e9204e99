"""The partitions by day of the tables that grow: operations, workflow_steps, fsm_transitions, event_logs.

A row's day (UTC) is in its UUIDv7 key. Rows whose day has no partition lie in the table's default partition.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from store.database.statements import statements_beside

statement = statements_beside(__file__)

TABLES = ("operations", "workflow_steps", "fsm_transitions", "event_logs")
PORTION_DAYS = 14  # made at once: each is a lock on some thirty tables and indexes, until its transaction ends
MOST_DAYS = 366  # in either direction; more the database refuses
DEFAULT_ROWS_LIMIT = 1000  # "that many or more" says enough


def ensure(conn: Connection[Any], *, days_back: int, days_ahead: int) -> int:
    """Make the partitions that are missing from `days_back` before today to `days_ahead` after; returns how many.

    In portions, those around today first, each in a transaction of its own: writers may have to wait until that ends,
    so `conn` is in autocommit mode. Raises what psycopg raises: LockNotAvailable when somebody holds a table for more
    than half a second; nothing of that portion is made then, and the next try may succeed.
    """
    made = 0
    for back, ahead in portions(days_back, days_ahead):
        row = conn.execute(statement("ensure_partitions"), {"days_back": back, "days_ahead": ahead}).fetchone()
        made += int(row[0]) if row else 0
    return made


@dataclass(frozen=True, slots=True)
class LockRoom:
    """Locks that a server has room for, all its connections together, and what one statement over all days takes.

    a_day        table -> locks on one of its days: itself and its indexes
    days         table -> its days now
    connections  that share the room
    """

    room: int
    connections: int
    a_day: Mapping[str, int]
    days: Mapping[str, int]

    def taken(self, kept_days: Mapping[str, int]) -> dict[str, int]:
        """table -> locks of a statement that reads as many days as will be kept; 0 kept days: those there are now."""
        return {table: each * (kept_days.get(table, 0) or self.days[table]) for table, each in self.a_day.items()}

    def setting_for(self, locks: int) -> int:
        """The max_locks_per_transaction with which the server has room for so many, rounded up to a power of two."""
        return 1 << max(6, math.ceil(math.log2(locks / self.connections)))


def lock_room(conn: Connection[Any]) -> LockRoom:
    rows = conn.execute(statement("locks_by_day"), {"parents": list(TABLES)}).fetchall()
    ((room, connections),) = {row[3:] for row in rows}
    return LockRoom(
        room, connections, {table: each for table, each, *_ in rows}, {table: days for table, _, days, *_ in rows}
    )


def portions(days_back: int, days_ahead: int) -> list[tuple[int, int]]:
    """Ranges of days around today, each with those before it and at most PORTION_DAYS more on either side.

    What the database makes nothing of stays as it is, for the database to refuse.
    """
    if not all(isinstance(days, int) and 0 <= days <= MOST_DAYS for days in (days_back, days_ahead)):
        return [(days_back, days_ahead)]
    steps = max(1, math.ceil(max(days_back, days_ahead) / PORTION_DAYS))
    return [(min(days_back, n * PORTION_DAYS), min(days_ahead, n * PORTION_DAYS)) for n in range(1, steps + 1)]


def defaults(conn: Connection[Any]) -> list[str]:
    """The tables whose default partition is there. All of them, unless somebody has removed one."""
    return [row[0] for row in conn.execute(statement("default_partitions"), {"parents": list(TABLES)})]


def default_rows(conn: Connection[Any], *, rows_limit: int = DEFAULT_ROWS_LIMIT) -> dict[str, int]:
    """The number of rows in each default partition that is there, by its table, counted up to `rows_limit`."""
    query = sql.SQL("select count(*) from (select from {} limit {}) as counted")
    counts: dict[str, int] = {}
    for table in defaults(conn):
        counted = query.format(sql.Identifier(f"{table}_default"), sql.Literal(rows_limit))
        row = conn.execute(counted).fetchone()
        counts[table] = int(row[0]) if row else 0
    return counts
