"""Reports as tests ask for them, and the events that no operation keeps."""

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from omninode_bridge.contract.clock import uuid7
from store.reports.reports import ask

Conn = psycopg.Connection[Any]


def asked(conn: Conn, name: str, **parameters: Any) -> dict[str, Any]:
    return ask(conn, name, parameters, timeout_ms=5000)


def items(conn: Conn, name: str, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asked(conn, name, **parameters)["items"]
    return found


def keep_event(conn: Conn, event_type: str = "made", **columns: Any) -> None:
    fields = {"id": uuid7(), "event_type": event_type, "payload": Jsonb({}), **columns}
    marks = ", ".join(["%s"] * len(fields))
    conn.execute(f"insert into event_logs ({', '.join(fields)}) values ({marks})".encode(), list(fields.values()))
