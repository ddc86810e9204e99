"""dead_letters: what was refused, kept until somebody retries or discards it."""

from collections.abc import Sequence
from typing import Any

from psycopg import Cursor

from omninode_bridge.refusal import Refusal
from store.rows import rows
from store.statements import statement


def keep(cursor: Cursor[Any], refused: Sequence[Refusal]) -> None:
    if refused:
        cursor.execute(statement("keep_dead_letters"), {"rows": rows(_row(refusal) for refusal in refused)})


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
