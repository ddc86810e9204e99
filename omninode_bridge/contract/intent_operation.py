"""The operations that intents become: their effect is announced on the bus, or they ask where workflows stand."""

from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from omninode_bridge.contract.operation import Data, FsmTransitionData, Operation
from omninode_bridge.contract.values import Count64, EventName, JsonObject, Name255, State, Topic

WORKFLOW_ENTITY = "workflow_execution"
# From which state to which a workflow may move; None is the first move of all.
WORKFLOW_MOVES: dict[str | None, tuple[str, ...]] = {
    None: ("PENDING", "PROCESSING", "FAILED"),
    "PENDING": ("PROCESSING", "FAILED"),
    "PROCESSING": ("COMPLETED", "FAILED"),
}


class PublishEventData(Data):
    """An event to publish; `topic` None is the one that its type has.

    `payload` travels as it is; the envelope around it is the fleet's, with the operation's id as event id.
    """

    OPERATION_TYPE: ClassVar[str] = "publish_event"

    event_type: EventName
    payload: JsonObject
    topic: Topic | None = None
    partition_key: Name255 | None = None
    source_node_id: Name255 | None = None
    session_id: UUID | None = None
    metadata: JsonObject | None = None


class NamespaceContribution(BaseModel):
    """What one aggregation adds to a namespace: totals to be summed, and the rest of what it knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    total_workflows: Count64 = 0
    total_items: Count64 = 0
    total_size_bytes: Count64 = 0
    metadata: JsonObject = Field(default_factory=dict)


class PersistStateData(Data):
    """A contribution: what one aggregation adds to each of its namespaces. All of it counts, once, or none."""

    OPERATION_TYPE: ClassVar[str] = "persist_state"

    aggregation_id: UUID
    current_fsm_state: State
    namespaces: dict[Name255, NamespaceContribution]


class FsmTransitionIntentData(FsmTransitionData):
    """One move of a state machine, which for a workflow must be one of `WORKFLOW_MOVES`; announced on the bus."""

    OPERATION_TYPE: ClassVar[str] = "persist_fsm_transition_intent"

    @model_validator(mode="after")
    def _is_a_move(self) -> Self:
        if self.entity_type == WORKFLOW_ENTITY and self.to_state not in WORKFLOW_MOVES.get(self.from_state, ()):
            raise ValueError(f"to_state: {self.from_state} -> {self.to_state} is no move of a workflow")
        return self


class RecoverFsmStatesData(Data):
    """A question: where do the workflows stand that moved lately? Answered, never written anywhere.

    within_days, limit  how far back, and how many at most; the fleet's own bounds when not given
    page                where the last answer said that the next one begins
    """

    OPERATION_TYPE: ClassVar[str] = "recover_fsm_states"

    recovery_id: UUID | None = None
    within_days: Annotated[int, Field(strict=True, ge=1, le=3650)] | None = None
    limit: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    page: Name255 | None = None


class PublishEvent(Operation):
    """An intent: let the bus have this event."""

    operation_type: Literal["publish_event"] = "publish_event"
    data: PublishEventData


class PersistState(Operation):
    """An intent: add what an aggregation counted, and announce it."""

    operation_type: Literal["persist_state"] = "persist_state"
    data: PersistStateData


class PersistFsmTransitionIntent(Operation):
    """An intent: keep a state machine's move, if it is one, and announce it."""

    operation_type: Literal["persist_fsm_transition_intent"] = "persist_fsm_transition_intent"
    data: FsmTransitionIntentData


class RecoverFsmStates(Operation):
    """An intent: tell where the workflows stand. It changes nothing and is not in the ledger."""

    operation_type: Literal["recover_fsm_states"] = "recover_fsm_states"
    data: RecoverFsmStatesData
