"""What cannot become an operation, on its way to be kept as a dead letter.

Nodes have no database, so a refusal travels to the fleet like an operation does, is claimed in the ledger under its id,
and is answered `refused` however often it arrives.
"""

from typing import Literal
from uuid import UUID

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
