"""The database's clock: the only one by which anything is judged."""

from datetime import datetime
from typing import Any

from psycopg import Connection

from store.database.statements import statements_beside

statement = statements_beside(__file__)


def instant(conn: Connection[Any]) -> datetime:
    """Now, and not when the transaction began."""
    row = conn.execute(statement("read_instant")).fetchone()
    assert row is not None
    at: datetime = row[0]
    return at
