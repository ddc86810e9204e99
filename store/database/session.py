"""What every connection of the store is set to."""

from typing import Any

import orjson
from psycopg import Connection
from psycopg.types.json import set_json_loads

# Plans are made once per connection and kept. A table that was tiny when a statement was prepared would keep a
# sequential scan long after it has grown, so plans go by index from the start; all lookups here have one.
# A host that vanished without a word holds its locks until the server asks for it: within half a minute, not two hours.
# A unix socket has no such settings; they are ignored there.
SESSION_SETTINGS: dict[str, str] = {
    "timezone": "UTC",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
PREPARE_THRESHOLD = 1  # the statements of a batch are few and always the same: prepare them at their second use


class LimitedConnection(Connection[Any]):
    """A connection that knows how long each of its statements may take: those that want no other limit set none."""

    statement_timeout_ms: int | None = None


def read_json(conn: Connection[Any]) -> None:
    """Have a connection read JSON as orjson does: a number of more than 64 bits is a float, which it was before jsonb
    wrote out its digits. Python's own reader makes an integer of it, which nothing could send on."""
    set_json_loads(orjson.loads, conn)


def limit_of(conn: Connection[Any]) -> int | None:
    """In ms; None for a connection that does not know."""
    return conn.statement_timeout_ms if isinstance(conn, LimitedConnection) else None
