"""Who relays: each relay holds a lock that all of them share, so that they can be counted and one can be looked for.

A lock belongs to its connection: a relay that is killed is gone from the count when PostgreSQL notices.
"""

import hashlib
from typing import Any

from psycopg import Connection

from store.database.statements import statements_beside

statement = statements_beside(__file__)

PRESENCE = 0x52454C59  # the class of these advisory locks; no other lock of the fleet is of it


def join(conn: Connection[Any], name: str) -> None:
    """Be one of the relays for as long as the connection lives."""
    conn.execute(statement("join_relays"), {"class": PRESENCE, "name": _key(name)})


def alive(conn: Connection[Any]) -> int:
    """How many relays there are, this one included."""
    return _count(conn, name=None)


def is_alive(conn: Connection[Any], name: str) -> bool:
    """Whether a relay of that name has joined."""
    return _count(conn, name=_key(name)) > 0


def _count(conn: Connection[Any], *, name: int | None) -> int:
    row = conn.execute(statement("count_relays"), {"class": PRESENCE, "name": name}).fetchone()
    assert row is not None
    return int(row[0])


def _key(name: str) -> int:
    """31 bits of the name: what the second half of an advisory lock's key holds."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) >> 1
