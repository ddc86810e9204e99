"""Rows that PostgreSQL cannot take: what a test makes of a database to have some."""

from typing import Any
from uuid import UUID

import psycopg

from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.outcome import Outcome
from store.write.apply import apply

Conn = psycopg.Connection[Any]

MARK = "poison"
RAISE_INTERNAL_ERROR = "raise exception using errcode = 'XX000', message = 'secret of ' || mark"
RAISE_ANYTHING = "raise exception 'secret of %', mark"
HANG = "perform pg_sleep(600)"
END_BACKEND = "perform pg_terminate_backend(pg_backend_pid())"


def spoil(conn: Conn, table: str, what: str, *, column: str, always: bool = False) -> None:
    """Have a statement be run for each row of `table` whose `column` says so; or for every row."""
    condition = "true" if always else f"new.{column}::text like '%{MARK}%'"
    conn.execute(
        f"create or replace function spoil_{table}() returns trigger language plpgsql as $$ declare mark text := "
        f"new.{column}::text; begin if {condition} then {what}; end if; return new; end $$"
    )
    conn.execute(
        f"create trigger spoil before insert or update on {table} for each row execute function spoil_{table}()"
    )


def heal(conn: Conn, table: str) -> None:
    conn.execute(f"drop trigger spoil on {table}")


def apply_patiently(conn: Conn, batch: list[Any]) -> tuple[list[Outcome], list[float]]:
    """The outcomes, and how long was waited between tries; nothing is waited for here."""
    waited: list[float] = []
    return apply(conn, batch, pause=waited.append), waited


def poison_of(conn: Conn) -> list[tuple[UUID, str]]:
    return conn.execute("select id, message from dead_letters where code = 'POISON' order by id").fetchall()


def attempts_of(conn: Conn, operation: Operation) -> int:
    row = conn.execute(
        "select attempts from operation_attempts where operation_id = %s", (operation.operation_id,)
    ).fetchone()
    return row[0] if row else 0
