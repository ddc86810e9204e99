"""Announcements: what the bus is to know of an intent, made in the transaction that makes its effect.

Only the intents with an effect announce, the refusal of any intent, and the answers to queries that came over the bus;
the six persist operations never do. An announcement's id is the event's: derived from what it announces, so that
nothing is announced twice. See docs/outbox.md.

Envelopes are constructed without validation: whatever goes in was validated with its operation.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from omninode_bridge.bus.envelope import FLEET_SERVICE, ModelOnexEnvelopeV1, announcement_id, reducer_topic_name
from omninode_bridge.bus.queries import told_asker
from omninode_bridge.contract.clock import now, sibling_uuid7, uuid7
from omninode_bridge.contract.enums import EnumFleetEvent, EnumReducerEvent
from omninode_bridge.contract.intent_operation import FsmTransitionIntentData, PersistStateData, PublishEventData
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.query_operation import AnswerQueryData
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.values import INT64_MAX, JsonObject
from omninode_bridge.contract.wire import Item
from omninode_bridge.intents.intents import INTENT, OPERATION_TYPE_OF, refused_type_text

OPERATION_FAILED = "operation_failed"
_INTENT_TYPES = {name: str(kind) for kind, name in OPERATION_TYPE_OF.items()}
_SHORT_ENVIRONMENT = {"development": "dev"}


class Announcement(NamedTuple):
    """An event on its way into the outbox.

    partition_key  what the bus partitions by; never empty
    envelope       all of its fields but the payload; None where the record is to be the payload alone
    """

    id: UUID
    event_type: str
    topic: str
    partition_key: str
    correlation_id: UUID | None
    session_id: UUID | None
    payload: dict[str, Any]
    envelope: dict[str, Any] | None


class AnsweredQueryData(AnswerQueryData):
    """A query with its answer, on its way to the outbox; never on the wire."""

    succeeded: bool
    answer: JsonObject


def of_batch(
    batch: Sequence[Item], *, fresh: Sequence[Item], refused: Sequence[Refusal], environment: str
) -> list[Announcement]:
    """What a batch says to the bus, in the order of its items; what the claim itself refused comes last.

    fresh    those of the items that were claimed now, in any order
    refused  what the claim refused
    """
    speaking = {id(item) for item in fresh if item.operation_type in _SPEAKING}
    if not speaking and not refused:
        return []
    items = [*(item for item in batch if id(item) in speaking), *refused]
    said = [
        of_refusal(item, environment) if isinstance(item, Refusal) else of_operation(item, environment)
        for item in items
    ]
    return [one for one in said if one is not None]


def of_operation(operation: Operation, environment: str) -> Announcement | None:
    """What an operation that was applied says to the bus; None for one that says nothing."""
    make = _MAKERS.get(operation.operation_type)
    return make(operation, operation.data, environment) if make is not None else None


def of_refusal(refusal: Refusal, environment: str) -> Announcement | None:
    """What the refusal of an intent or a query says to the bus, the same event however often it is refused."""
    if refusal.refused_type == AnsweredQueryData.OPERATION_TYPE:
        return _query_refused(refusal, environment)
    intent_type = _refused_intent_type(refusal)
    if intent_type is None:
        return None
    id_ = _refusal_id(refusal)
    refused_at = now()
    payload = {
        "intent_type": intent_type,
        "error_code": refusal.code,
        "error_message": refusal.message,
        "operation_id": str(refusal.operation_id),
        "timestamp": refused_at.isoformat(),
    }
    return of_envelope(
        id_,
        ModelOnexEnvelopeV1.model_construct(
            event_id=str(id_),
            event_type=OPERATION_FAILED,
            event_timestamp=refused_at,
            source_node_id=FLEET_SERVICE,
            source_service=FLEET_SERVICE,
            correlation_id=refusal.correlation_id,
            causation_id=str(refusal.operation_id),
            environment=environment,
            payload=payload,
        ),
    )


def _refused_intent_type(refusal: Refusal) -> str | None:
    """The type of the intent that was refused, where there is none such as it was given; None of what was no intent."""
    if refusal.refused_type == INTENT:
        return refused_type_text(refusal.payload)
    return _INTENT_TYPES.get(refusal.refused_type or "")


def of_findings(
    event: EnumFleetEvent, found: Iterable[tuple[UUID | str, dict[str, Any]]], *, at: datetime, environment: str
) -> list[Announcement]:
    """What the fleet found out by itself; made in the transaction that makes it so, hence with ids of their own.

    found  of each what it is about, a workflow (its correlation id) or a node (its id), whose events keep their order;
           and the payload
    at     when it was found, by the database's clock
    """
    alike = ModelOnexEnvelopeV1.model_construct(
        event_type=str(event),
        event_timestamp=at,
        source_node_id=FLEET_SERVICE,
        source_service=FLEET_SERVICE,
        environment=environment,
        payload={"timestamp": at.isoformat()},
        metadata={},
    )
    # By the hundred thousand where a whole fleet of nodes falls silent: one envelope is made, the others are copies.
    like = of_envelope(uuid7(), alike)
    return [_about(like, about, payload) for about, payload in found]


def _about(like: Announcement, about: UUID | str, payload: dict[str, Any]) -> Announcement:
    id_, key = uuid7(), str(about)
    trace = about if isinstance(about, UUID) else None
    own = {"event_id": str(id_), "correlation_id": None if trace is None else key, "partition_key": key}
    return like._replace(
        id=id_,
        partition_key=key,
        correlation_id=trace,
        payload=payload | like.payload,
        envelope=(like.envelope or {}) | own,
    )


def of_envelope(
    id_: UUID, envelope: ModelOnexEnvelopeV1, *, topic: str | None = None, session_id: UUID | None = None
) -> Announcement:
    """An envelope on its way out; `topic` None is the one that its event type has."""
    fields = envelope.as_dict()
    payload = fields.pop("payload")
    return Announcement(
        id=id_,
        event_type=envelope.event_type,
        topic=topic or reducer_topic_name(envelope.event_type),
        partition_key=envelope.message_key(),
        correlation_id=envelope.correlation_id,
        session_id=session_id,
        payload=payload,
        envelope=fields,
    )


def _published(operation: Operation, data: PublishEventData, environment: str) -> Announcement:
    envelope = ModelOnexEnvelopeV1.model_construct(
        event_id=str(operation.operation_id),
        event_type=data.event_type,
        event_timestamp=operation.occurred_at,
        source_node_id=data.source_node_id or FLEET_SERVICE,
        source_service=FLEET_SERVICE,
        correlation_id=operation.correlation_id,
        environment=environment,
        partition_key=data.partition_key,
        payload=data.payload,
        metadata=data.metadata or {},
    )
    return of_envelope(operation.operation_id, envelope, topic=data.topic, session_id=data.session_id)


def _state_persisted(operation: Operation, data: PersistStateData, environment: str) -> Announcement:
    contributions = data.namespaces.values()
    totals = {
        "aggregation_id": str(data.aggregation_id),
        "namespaces_count": len(contributions),
        "workflows_count": _total(one.total_workflows for one in contributions),
        "total_items_persisted": _total(one.total_items for one in contributions),
    }
    return _effect(operation, environment, EnumReducerEvent.STATE_PERSISTED, of=data.aggregation_id, says=totals)


def _state_transitioned(operation: Operation, data: FsmTransitionIntentData, environment: str) -> Announcement:
    move = {
        "workflow_id": str(data.entity_id),
        "entity_type": data.entity_type,
        "from_state": data.from_state,
        "to_state": data.to_state,
        "transition_id": str(operation.operation_id),
    }
    return _effect(operation, environment, EnumReducerEvent.FSM_STATE_TRANSITIONED, of=data.entity_id, says=move)


def _effect(
    operation: Operation, environment: str, event: EnumReducerEvent, *, of: UUID, says: dict[str, Any]
) -> Announcement:
    """The event that an intent's effect is announced by; the events of one aggregate keep their order."""
    id_ = announcement_id(operation.operation_id)
    envelope = ModelOnexEnvelopeV1.model_construct(
        event_id=str(id_),
        event_type=str(event),
        event_timestamp=operation.occurred_at,
        source_node_id=FLEET_SERVICE,
        source_service=FLEET_SERVICE,
        correlation_id=operation.correlation_id or of,
        causation_id=str(operation.operation_id),
        environment=environment,
        partition_key=str(of),
        payload=says | {"timestamp": operation.occurred_at.isoformat()},
    )
    return of_envelope(id_, envelope)


def _answered(operation: Operation, data: AnsweredQueryData, environment: str) -> Announcement:
    id_ = announcement_id(operation.operation_id)
    return _answer(id_, data.answer, operation.correlation_id, told_asker(operation), environment)


def _query_refused(refusal: Refusal, environment: str) -> Announcement:
    answer = {"success": False, "error": f"{refusal.code}: {refusal.message}"}
    trace = refusal.correlation_id
    told = refusal.partition_key if trace is None else str(trace)
    return _answer(_refusal_id(refusal), answer, trace, told, environment)


def _refusal_id(refusal: Refusal) -> UUID:
    return sibling_uuid7(refusal.operation_id, f"{refusal.operation_id}:{refusal.digest}".encode())


def _answer(id_: UUID, answer: dict[str, Any], trace: UUID | None, told: str | None, environment: str) -> Announcement:
    """A query's answer travels without an envelope, under the key that its asker waits for: `told`, if there is one."""
    ending = "completed" if answer["success"] else "failed"
    return Announcement(
        id=id_,
        event_type=f"query_{ending}",
        topic=f"{_SHORT_ENVIRONMENT.get(environment, environment)}.omninode-bridge.database.query-{ending}.v1",
        partition_key=told or str(id_),
        correlation_id=trace,
        session_id=None,
        payload={"correlation_id": told, **answer, "timestamp": now().isoformat()},
        envelope=None,
    )


def _total(counts: Iterable[int]) -> int:
    """Their sum, as far as a number on the bus goes: 64 bits."""
    return min(sum(counts), INT64_MAX)


_MAKERS: dict[str, Callable[[Operation, Any, str], Announcement]] = {
    PublishEventData.OPERATION_TYPE: _published,
    PersistStateData.OPERATION_TYPE: _state_persisted,
    FsmTransitionIntentData.OPERATION_TYPE: _state_transitioned,
    AnsweredQueryData.OPERATION_TYPE: _answered,
}
_SPEAKING = frozenset({*_MAKERS, "refusal"})
