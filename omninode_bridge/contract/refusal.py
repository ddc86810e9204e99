"""What cannot become an operation, on its way to be kept as a dead letter.

Nodes have no database, so a refusal travels to the fleet like an operation does, is claimed in the ledger under its id,
and is answered `refused` however often it arrives.
"""

import json
import re
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, PlainSerializer

from omninode_bridge.contract.values import MAX_BATCH_BYTES, Digest, OperationId

# Of a payload as it travels, quoted as JSON once more: there is room for any operation with the event it was made of.
MAX_PAYLOAD_BYTES = MAX_BATCH_BYTES * 3 // 4
CUT_CHARS = 64 * 1024  # what is left of a larger one: enough to know it by
_QUOTED_BYTES = 6  # of one character, at most
_CUT = re.compile(r"\.\.\. \[cut: [0-9]+ bytes in all\]\Z")


def cut_payload(payload: str) -> str:
    """A payload that is too large to travel without its end, and with how large it was; any other as it is."""
    if len(payload) <= MAX_PAYLOAD_BYTES // _QUOTED_BYTES:
        return payload
    if len(json.dumps(payload, ensure_ascii=False).encode()) <= MAX_PAYLOAD_BYTES:
        return payload
    return f"{payload[:CUT_CHARS]}... [cut: {len(payload.encode())} bytes in all]"


def is_cut(payload: str) -> bool:
    """Whether that was done to it: then it is no JSON any more, and nothing can be made of it."""
    return len(payload) <= CUT_CHARS + 100 and _CUT.search(payload, CUT_CHARS) is not None


class Refusal(BaseModel):
    """An operation or bus record that is refused.

    payload  its JSON as text, since jsonb could not hold all of it; of a large one only the beginning travels
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
    payload: Annotated[str, PlainSerializer(cut_payload, when_used="json")]
    form: Literal["operation", "record"]
    source: str | None = None
    topic: str | None = None
    partition_key: str | None = None
