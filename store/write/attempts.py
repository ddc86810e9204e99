"""Operations that failed alone while PostgreSQL took others: how often, in the database, whichever worker tried."""

from collections.abc import Collection, Iterable
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg import Connection

from store.database.rows import rows
from store.database.statements import statements_beside

statement = statements_beside(__file__)

Scope = Literal["row", "table", "lock"]


class Failure(NamedTuple):
    """An operation that failed alone.

    scope   row: its table takes others; table: that takes none, but other tables do; lock: somebody was in the way
    reason  what PostgreSQL said, without values
    """

    operation_id: UUID
    operation_type: str
    scope: Scope
    reason: str


class Noted(NamedTuple):
    """How often an operation has failed by now, and for how many seconds: it, or its table."""

    attempts: int
    age_s: float


def note(conn: Connection[Any], failures: Iterable[Failure]) -> dict[UUID, Noted]:
    """Count one more attempt of each, in a transaction of its own."""
    given = [
        {"id": each.operation_id, "operation_type": each.operation_type, "scope": each.scope, "reason": each.reason}
        for each in failures
    ]
    found = conn.execute(statement("note_attempts"), {"rows": rows(given)}).fetchall()
    return {id_: Noted(attempts, age_s) for id_, attempts, age_s in found}


def known(conn: Connection[Any], operation_ids: Collection[UUID]) -> set[UUID]:
    """Those that have failed alone before."""
    found = conn.execute(statement("known_attempts"), {"ids": list(operation_ids)}).fetchall()
    return {id_ for (id_,) in found}


def forget(conn: Connection[Any], operation_ids: Collection[UUID]) -> None:
    """They need no more tries, or begin anew."""
    conn.execute(statement("forget_attempts"), {"ids": list(operation_ids)})
