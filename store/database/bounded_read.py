"""Reads that are bounded in time and see one moment, and what is said where PostgreSQL does not answer them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection
from psycopg.errors import DataError, QueryCanceled

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid
from store.database.statements import statements_beside

statement = statements_beside(__file__)


@contextmanager
def reading(conn: Connection[Any], *, timeout_ms: int, field: str, name: str = "query") -> Iterator[None]:
    """A transaction that sees one moment, changes nothing, and takes at most `timeout_ms` for each statement.

    field  where values came from, if only PostgreSQL finds one wrong
    name   what is asked, for the message of a timeout
    Raises OnexError TIMEOUT and VALIDATION_ERROR. `conn` is in autocommit mode.
    """
    with told(timeout_ms=timeout_ms, field=field, name=name):
        try:
            with conn.pipeline():
                conn.execute("begin isolation level repeatable read read only")
                conn.execute("select set_config('statement_timeout', %s, true)", (str(timeout_ms),))
                yield
                conn.execute("commit")
        except BaseException:
            if not conn.closed:
                conn.rollback()
            raise


@contextmanager
def told(*, timeout_ms: int, field: str, name: str = "query") -> Iterator[None]:
    """What PostgreSQL says of somebody's question, in the words of `reading`."""
    try:
        yield
    except QueryCanceled as error:
        raise OnexError(EnumCoreErrorCode.TIMEOUT, f"{name}: took longer than {timeout_ms} ms") from error
    except DataError as error:
        raise invalid(f"{field}: holds a value that the database refuses ({error.sqlstate})") from error


def walk_in_order(conn: Connection[Any]) -> None:
    """For the rest of the transaction: read along an index, so that the first rows cost what they are."""
    conn.execute(statement("walk_in_order"))
