"""dead_letters: what was refused, kept until somebody retries or discards it."""

from collections.abc import Sequence
from typing import Any

from omninode_bridge.contract.refusal import Refusal
from store.database.rows import rows


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
