"""What cannot become an operation, on its way to be kept as a dead letter.

Nodes have no database, so a refusal travels to the fleet like an operation does, is claimed in the ledger under its id,
and is answered `refused` however often it arrives.
"""

import json
from typing import Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict

from omninode_bridge.values import Digest, OperationId


class Refusal(BaseModel):
    """An operation or bus record that is refused.

    payload  its JSON as text, since jsonb could not hold all of it
    form     what the payload is: a wire operation, or the value of a bus record
    refused_type  the operation type that it would have been, where known
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    operation_id: OperationId
    operation_type: Literal["refusal"] = "refusal"
    refused_type: str | None = None
    correlation_id: UUID | None = None
    digest: Digest
    code: str
    message: str
    payload: str
    form: Literal["operation", "record"]
    source: str | None = None
    topic: str | None = None
    partition_key: str | None = None


def payload_text(value: object) -> str:
    """JSON text of anything at all that a text column can hold: odd values are escaped or turned into text."""
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError, RecursionError):
        try:
            return json.dumps(value, default=str)
        except (TypeError, ValueError, RecursionError):
            return json.dumps(repr(value))
    return text if "null" not in text else _keeping_nan(value, text)


def _keeping_nan(value: object, text: str) -> str:
    """orjson writes NaN as null; a dead letter keeps what was sent."""
    try:
        exact = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        return text
    return exact if "NaN" in exact or "Infinity" in exact else text
