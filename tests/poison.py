"""Rows that PostgreSQL cannot take: what a test makes of a database to have some."""

from typing import Any

import psycopg

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
