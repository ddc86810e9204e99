"""What stands at the other end of a new connection: a database that the fleet can work with, or the reason why not.

A pooler gives itself away: the process that it names at the beginning is not the one that answers. One that keeps a
server for each client (PgBouncer's session mode) does no harm. One that gives a server to whoever has a transaction
does: settings, prepared statements and session locks of one client would stay for another.
"""

from typing import Any

import psycopg
from psycopg import Connection

from store.database.errors import Unfit

ENCODING = "UTF8"
# Over PGCLIENTENCODING, over what a URL says and over what a role or a database is set to.
CLIENT: dict[str, Any] = {"client_encoding": ENCODING}
_ROUNDS = 3  # of asking who serves whom: others may come between
_PID = "select pg_backend_pid()"

NO_SESSION = (
    "a pooler in transaction mode stands before PostgreSQL, and the fleet needs sessions of its own: "
    "use the pooler's session mode, or PostgreSQL's own address"
)


def require_fit(conn: Connection[Any], conninfo: str) -> None:
    """To be called before anything is set on a connection, which is in autocommit mode; changes nothing.

    conninfo  that the connection was made with, to make another one beside it where a pooler stands between
    Raises Unfit; what psycopg raises.
    """
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        raise Unfit(
            f"the database's encoding is {encoding}, and the fleet needs {ENCODING}: "
            "create database ... encoding 'UTF8' template template0"
        )
    if _pid(conn) != conn.info.backend_pid and _shares_sessions(conn, conninfo):
        raise Unfit(NO_SESSION)


def _shares_sessions(conn: Connection[Any], conninfo: str) -> bool:
    """Whether two clients that both stay are served by one process, or one client by two."""
    with psycopg.connect(conninfo, autocommit=True, **CLIENT) as other:
        for _ in range(_ROUNDS):
            ours, others = {_pid(conn), _pid(conn)}, {_pid(other), _pid(other)}
            ours.add(_pid(conn))
            if len(ours) > 1 or len(others) > 1 or ours & others:
                return True
    return False


def _pid(conn: Connection[Any]) -> int:
    row = conn.execute(_PID, prepare=False).fetchone()
    assert row is not None
    return int(row[0])
