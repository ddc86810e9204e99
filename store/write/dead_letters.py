"""dead_letters: what was refused, kept until somebody retries or discards it."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection

from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import Item, content_digest
from store.database.rows import rows
from store.database.statements import statements_beside

statement = statements_beside(__file__)


def rows_of(refused: Sequence[Refusal]) -> str | None:
    """The rows of `keep_dead_letters`."""
    return rows(_row(refusal) for refusal in refused) if refused else None


def _row(refusal: Refusal) -> dict[str, Any]:
    return {
        "id": refusal.operation_id,
        "digest": refusal.digest,
        "operation_type": refusal.refused_type,
        "correlation_id": refusal.correlation_id,
        "code": refusal.code,
        "message": refusal.message,
        "payload": refusal.payload,
        "form": refusal.form,
        "source": refusal.source,
        "topic": refusal.topic,
        "partition_key": refusal.partition_key,
    }


def keep(conn: Connection[Any], refusal: Refusal) -> None:
    """Keep one by itself, in a transaction of its own, where it cannot be kept together with what it belongs to."""
    conn.execute(statement("keep_dead_letters"), {"rows": rows_of([refusal])})


def in_ascii(refusal: Refusal) -> Refusal:
    """The same where the database's encoding cannot hold its text: JSON's own escapes say the same."""
    return refusal.model_copy(
        update={"payload": _escaped(refusal.payload), "message": _escaped(refusal.message)}
        | {name: _escaped(text) for name in ("source", "topic", "partition_key") if (text := getattr(refusal, name))}
    )


def without_payload(refusal: Refusal) -> Refusal:
    """What is left where even that cannot be kept."""
    nothing = {"payload": "null", "topic": None, "partition_key": None, "source": None}
    return refusal.model_copy(
        update=nothing | {"message": f"{_escaped(refusal.message)} (its payload could not be kept)"}
    )


def unreadable(item: Item, code: str, message: str) -> Refusal:
    """The refusal of an operation that cannot be written as UTF-8; JSON's escapes hold it."""
    payload = json.dumps(item.model_dump(exclude_none=True), default=_plain)
    return Refusal(
        operation_id=item.operation_id,
        refused_type=item.operation_type,
        correlation_id=item.correlation_id,
        digest=content_digest(payload),
        code=code,
        message=message,
        payload=payload,
        form="operation",
    )


def _escaped(text: str) -> str:
    """Every character beyond ASCII, and NUL, as JSON escapes it; in JSON such characters stand within strings only."""
    return "".join(one if one.isascii() and one != "\0" else json.dumps(one)[1:-1] for one in text)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
