"""What a worker's stored result says about a batch."""

from collections.abc import Sequence
from uuid import UUID

import orjson

from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.wire import decode_outcomes

UNFINISHED = ("PENDING", "RECEIVED", "STARTED", "RETRY")


class OddAnswerError(Exception):
    """An answer that says neither that the batch is done nor that it is not. The message holds no payload."""


def read_confirmation(raw: bytes, operation_ids: Sequence[UUID]) -> list[Outcome] | None:
    """One outcome per operation from what Celery stored; None while the task is not finished.

    Raises OddAnswerError for a failed task, and for what is no answer about so many operations: no confirmation, so the
    batch is to be sent again.
    """
    try:
        answer = orjson.loads(raw)
        status, result = answer["status"], answer["result"]
    except (ValueError, TypeError, KeyError):
        raise OddAnswerError("a result that is not Celery's JSON") from None
    if status in UNFINISHED:
        return None
    if status != "SUCCESS":
        kind = result.get("exc_type") if isinstance(result, dict) else None
        raise OddAnswerError(f"the task ended as {str(status)[:20]}" + (f" ({str(kind)[:60]})" if kind else ""))
    try:
        return decode_outcomes(result, operation_ids)
    except (OnexError, AttributeError, ValueError, TypeError, KeyError, IndexError) as error:
        raise OddAnswerError(f"the task's result is not about its {len(operation_ids)} operations") from error
