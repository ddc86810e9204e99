"""One connection, for a command that asks or changes something by hand; workers have their pool."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from store.database.errors import Outage
from store.database.server import CLIENT, require_fit
from store.database.session import read_json

CONNECT_TIMEOUT_S = 5


@contextmanager
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit mode, in UTC, for the block.

    Raises Outage, with the server's first line and without the URL, when the database is away or goes away; Unfit.
    """
    try:
        with psycopg.connect(database_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, **CLIENT) as conn:
            require_fit(conn, database_url)
            read_json(conn)
            conn.execute("set timezone to 'UTC'")
            yield conn
    except psycopg.Error as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise Outage(f"database: {first_line[:200]}", original_error=error) from error
