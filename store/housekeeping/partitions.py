"""The partitions by day of the tables that grow: operations, workflow_steps, fsm_transitions, event_logs.

A row's day (UTC) is in its UUIDv7 key. Rows whose day has no partition lie in the table's default partition.
"""

from typing import Any

from psycopg import Connection, sql

from store.database.statements import statements_beside

statement = statements_beside(__file__)

TABLES = ("operations", "workflow_steps", "fsm_transitions", "event_logs")
DEFAULT_ROWS_LIMIT = 1000  # "that many or more" says enough


def ensure(conn: Connection[Any], *, days_back: int, days_ahead: int) -> int:
    """Make the partitions that are missing from `days_back` before today to `days_ahead` after; returns how many.

    In one transaction of its own: writers may have to wait until that ends, so `conn` should be in autocommit mode.
    Raises what psycopg raises: LockNotAvailable when somebody holds a table for more than half a second; nothing is
    made then, and the next try may succeed.
    """
    row = conn.execute(statement("ensure_partitions"), {"days_back": days_back, "days_ahead": days_ahead}).fetchone()
    return int(row[0]) if row else 0


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
