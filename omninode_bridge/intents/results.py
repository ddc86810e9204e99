"""What the store effect answers: one result per intent."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from omninode_bridge.bus.envelope import reducer_topic_name
from omninode_bridge.contract.clock import now
from omninode_bridge.contract.enums import EnumIntentType
from omninode_bridge.contract.intent_operation import FsmTransitionIntentData, PersistStateData, PublishEventData
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.values import Instant
from omninode_bridge.contract.wire import Item
from omninode_bridge.intents.intents import event_type_text, intent_type_of, intent_type_text

SKIPPED = "skipped"  # the error of an intent that was not carried out because one before it failed


class ModelIntentResult(BaseModel):
    """What became of an intent; of one of an unknown type this is all there is.

    success    its effect is committed, now or before
    error      "CODE: message" of a refusal; why it is not known or was not tried otherwise
    intent_id  the id of its operation, and of its dead letter where it was refused
    """

    model_config = ConfigDict(frozen=True)

    success: bool
    intent_type: str
    error: str | None = None
    execution_time_ms: float
    timestamp: Instant = Field(default_factory=now)
    intent_id: UUID | None = None


class ModelPublishResult(ModelIntentResult):
    """event_published  the bus has it; False where it still waits in the outbox, which loses nothing
    dlq_fallback  always False: what a bus does not take for good is found in `<topic>.dlq` and as a dead letter"""

    event_type: str = ""
    topic: str | None = None
    event_id: str | None = None
    event_published: bool = False
    dlq_fallback: bool = False


class ModelPersistStateResult(ModelIntentResult):
    """The totals are what this intent adds to all of its namespaces together."""

    namespaces_persisted: list[str] = Field(default_factory=list)
    total_workflows: int = 0
    total_items: int = 0
    aggregation_id: str | None = None


class ModelFSMResult(ModelIntentResult):
    """Of a transition, the fields up to `event_published`; of a recovery those after it.

    recovered_states  by workflow id: current_state, previous_state, transition_count, metadata, last_transition_at
    partial           the time did not suffice for all of them
    next_page         what to ask for the rest with; None where there is none
    """

    workflow_id: str | None = None
    transition_id: str | None = None
    from_state: str | None = None
    to_state: str | None = None
    event_published: bool = False
    recovered_states: dict[str, Any] = Field(default_factory=dict)
    total_recovered: int = 0
    failed: int = 0
    partial: bool = False
    next_page: str | None = None


RESULT_CLASSES: dict[EnumIntentType, type[ModelIntentResult]] = {
    EnumIntentType.PUBLISH_EVENT: ModelPublishResult,
    EnumIntentType.PERSIST_STATE: ModelPersistStateResult,
    EnumIntentType.PERSIST_FSM_TRANSITION: ModelFSMResult,
    EnumIntentType.RECOVER_FSM_STATES: ModelFSMResult,
}


def result_of(
    intent: object, item: Item, outcome: Outcome | None, execution_time_ms: float, *, error: str = SKIPPED
) -> ModelIntentResult:
    """The result of an intent, from the item that `intent_item` made of it and that item's outcome.

    outcome None  it has none: the result is no success, for the reason `error`
    """
    kind = intent_type_of(intent)
    succeeded = outcome is not None and outcome.committed
    fields: dict[str, Any] = {
        "success": succeeded,
        "intent_type": intent_type_text(intent),
        "error": None if succeeded else error_of(outcome, error),
        "execution_time_ms": execution_time_ms,
        "intent_id": item.operation_id,
    }
    if kind is EnumIntentType.PUBLISH_EVENT:
        fields["event_type"] = event_type_text(intent)
    if isinstance(item, Operation):
        fields |= _told(item, succeeded)
    if succeeded and outcome is not None:
        fields |= outcome.detail or {}
    return (RESULT_CLASSES[kind] if kind is not None else ModelIntentResult).model_validate(fields)


def error_of(outcome: Outcome | None, otherwise: str) -> str:
    return otherwise if outcome is None else f"{outcome.code}: {outcome.message}"


def _told(operation: Operation, succeeded: bool) -> dict[str, Any]:
    """What a result says of the intent itself."""
    data = operation.data
    if isinstance(data, PublishEventData):
        topic = data.topic or reducer_topic_name(data.event_type)
        return {"topic": topic, "event_id": str(operation.operation_id)}
    if isinstance(data, PersistStateData):
        return {"aggregation_id": str(data.aggregation_id), **(_totals(data) if succeeded else {})}
    if isinstance(data, FsmTransitionIntentData):
        states = {"from_state": data.from_state, "to_state": data.to_state}
        return {"workflow_id": str(data.entity_id), "transition_id": str(operation.operation_id), **states}
    return {}


def _totals(data: PersistStateData) -> dict[str, Any]:
    return {
        "namespaces_persisted": list(data.namespaces),
        "total_workflows": sum(one.total_workflows for one in data.namespaces.values()),
        "total_items": sum(one.total_items for one in data.namespaces.values()),
    }
