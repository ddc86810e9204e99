"""What the payload of an intent means: the data of its operation, and when it happened.

A payload comes here as JSON values. What it cannot mean raises pydantic's ValidationError, or Malformed where the field
is not one of a model; both name the field as the payload does. See docs/intents.md.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from omninode_bridge.bus.records import Malformed, as_uuid, first
from omninode_bridge.contract.clock import parse_instant, state_rank
from omninode_bridge.contract.enums import EnumIntentType
from omninode_bridge.contract.intent_operation import (
    WORKFLOW_ENTITY,
    FsmTransitionIntentData,
    NamespaceContribution,
    PersistStateData,
    PublishEventData,
    RecoverFsmStatesData,
)
from omninode_bridge.contract.operation import Data
from omninode_bridge.contract.values import Count64, EntityType, Instant, Name100, Name255, State

Fields = dict[str, Any]
Meaning = tuple[Data, datetime | None]

UNKNOWN_STATE = "UNKNOWN"  # of an aggregation that tells of no workflow
UNKNOWN_TRIGGER = "unknown"

_BESIDE_A_FLAT_EVENT = frozenset({"event_type", "topic", "correlation_id", "partition_key"})


def instant(fields: Fields, path: str) -> datetime | None:
    """The `timestamp` among the fields, where there is one; `path` names it in a message."""
    if fields.get("timestamp") is None:
        return None
    try:
        return parse_instant(fields["timestamp"])
    except ValueError as error:
        raise Malformed(f"{path}: {error}") from None


def most_common_state(states: Iterable[str]) -> str:
    """The state that most workflows are in; of equally many the most final one, then the first by name."""
    counts = Counter(states)
    return min(counts, key=lambda state: (-counts[state], -state_rank(state), state), default=UNKNOWN_STATE)


def _publish_event(payload: Fields) -> Meaning:
    data = payload.get("data")
    event = data if isinstance(data, dict) else {}
    is_nested = isinstance(data, dict)
    body = event if is_nested else _flat_event(payload)

    def told(name: str) -> Any:
        return first(payload.get(name), event.get(name))

    metadata = payload.get("metadata")
    meaning = PublishEventData(
        event_type=payload.get("event_type"),
        payload=body,
        topic=payload.get("topic"),
        partition_key=payload.get("partition_key"),
        source_node_id=first(told("source_node_id"), told("node_id")),
        session_id=as_uuid(told("session_id")),
        metadata=(metadata or None) if isinstance(metadata, dict) else None,
    )
    return meaning, first(instant(payload, "timestamp"), instant(event, "data.timestamp"))


def _flat_event(payload: Fields) -> Fields:
    """What is published of a payload without `data`; null means that it was not given."""
    beside = _BESIDE_A_FLAT_EVENT if payload.get("data") is not None else _BESIDE_A_FLAT_EVENT | {"data"}
    return {name: item for name, item in payload.items() if name not in beside}


class _Payload(BaseModel):
    """The fields that a payload may have; a name it may not have is refused."""

    model_config = ConfigDict(extra="forbid")

    timestamp: Instant | None = None
    correlation_id: Any = None


class _Namespace(BaseModel):
    """What is counted of a namespace; the rest of what is told goes along."""

    total_stamps: Count64 | None = None
    unique_workflows_count: Count64 | None = None
    total_size_bytes: Count64 | None = None


class _StatePayload(_Payload):
    aggregation_id: UUID
    aggregated_data: dict[Name255, _Namespace]
    fsm_states: dict[str, State] | None = None


def _persist_state(payload: Fields) -> Meaning:
    told = _StatePayload.model_validate(payload)
    if len(told.aggregated_data) < len(payload["aggregated_data"]):
        raise Malformed("aggregated_data: a namespace stands there twice")
    namespaces = {
        name: NamespaceContribution(
            total_workflows=counts.unique_workflows_count or 0,
            total_items=counts.total_stamps or 0,
            total_size_bytes=counts.total_size_bytes or 0,
            metadata=as_given,
        )
        for (name, counts), as_given in zip(
            told.aggregated_data.items(), payload["aggregated_data"].values(), strict=True
        )
    }
    state = most_common_state((told.fsm_states or {}).values())
    meaning = PersistStateData(aggregation_id=told.aggregation_id, current_fsm_state=state, namespaces=namespaces)
    return meaning, told.timestamp


class _TransitionRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    from_state: State | None = None
    to_state: State
    trigger: Name100 | None = None
    timestamp: Instant | None = None
    metadata: dict[str, Any] | None = None


class _TransitionPayload(_Payload):
    workflow_id: UUID
    entity_type: EntityType | None = None
    current_state: State | None = None
    previous_state: State | None = None
    transition_count: Count64 | None = None
    transition_record: _TransitionRecord | None = None
    metadata: dict[str, Any] | None = None


def _persist_fsm_transition(payload: Fields) -> Meaning:
    told = _TransitionPayload.model_validate(payload)
    record = told.transition_record
    if record is None:
        if told.current_state is None:
            raise Malformed("transition_record: missing, and no current_state either")
        record = _TransitionRecord(to_state=told.current_state)
    at = record.timestamp or told.timestamp
    metadata = record.metadata or told.metadata or None
    meaning = FsmTransitionIntentData(
        entity_id=told.workflow_id,
        entity_type=told.entity_type or WORKFLOW_ENTITY,
        from_state=record.from_state if "from_state" in record.model_fields_set else told.previous_state,
        to_state=record.to_state,
        transition_event=record.trigger or UNKNOWN_TRIGGER,
        transition_data=_transition_data(metadata, at),
        metadata=metadata,
    )
    return meaning, at


def _transition_data(metadata: Fields | None, at: datetime | None) -> Fields | None:
    """What the platform's own store keeps beside a move. Nothing where there is no metadata: a state whose transition
    has none takes this in its place."""
    if metadata is None:
        return None
    return {"metadata": metadata} | ({} if at is None else {"timestamp": at.isoformat()})


class _RecoverPayload(_Payload):
    recovery_id: UUID | None = None
    request_all_workflows: bool | None = None
    within_days: Any = None
    limit: Any = None
    page: Any = None


def _recover_fsm_states(payload: Fields) -> Meaning:
    told = _RecoverPayload.model_validate(payload)
    meaning = RecoverFsmStatesData(
        recovery_id=told.recovery_id, within_days=told.within_days, limit=told.limit, page=told.page
    )
    return meaning, told.timestamp


MEANINGS: dict[EnumIntentType, Callable[[Fields], Meaning]] = {
    EnumIntentType.PUBLISH_EVENT: _publish_event,
    EnumIntentType.PERSIST_STATE: _persist_state,
    EnumIntentType.PERSIST_FSM_TRANSITION: _persist_fsm_transition,
    EnumIntentType.RECOVER_FSM_STATES: _recover_fsm_states,
}
