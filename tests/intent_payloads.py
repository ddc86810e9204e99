"""Intents as reducers emit them, and what they become; a test sets only what matters."""

from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any
from uuid import UUID

from omninode_bridge.contract.clock import parse_instant
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.intents.intents import intent_item

AT = "2026-10-23T10:00:00Z"
WHEN = parse_instant(AT)
AGGREGATION = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
WORKFLOW = "550e8400-e29b-41d4-a716-446655440000"


def item_of(intent_type: str, payload: Any, **fields: Any) -> Operation | Refusal:
    return intent_item({"intent_type": intent_type, "target": "t", "payload": payload, **fields})


def operation(intent_type: str, payload: Any, **fields: Any) -> Operation:
    item = item_of(intent_type, payload, **fields)
    assert isinstance(item, Operation), item
    return item


def refused(intent_type: str, payload: Any, **fields: Any) -> Refusal:
    item = item_of(intent_type, payload, **fields)
    assert isinstance(item, Refusal), item
    return item


def flat_event(**fields: Any) -> dict[str, Any]:
    return {"event_type": "AGGREGATION_STARTED", "aggregation_id": AGGREGATION, "batch_size": 100, "timestamp": AT} | (
        fields
    )


def nested_event(**fields: Any) -> dict[str, Any]:
    data = {"aggregation_id": AGGREGATION, "total_items": 3, "timestamp": AT, "node_id": "reducer-1"}
    return {
        "event_type": "aggregation_completed",
        "topic": "omninode.bridge.omninode_bridge.onex.evt.aggregation-completed.v1",
        "data": data,
        "correlation_id": WORKFLOW,
        "timestamp": AT,
    } | fields


def state(**fields: Any) -> dict[str, Any]:
    counts = {"total_stamps": 100, "total_size_bytes": 1024, "unique_workflows_count": 10, "file_types": ["a/b"]}
    return {
        "aggregated_data": {"omninode.services.metadata": counts},
        "fsm_states": {WORKFLOW: "completed", AGGREGATION: "Processing"},
        "aggregation_id": AGGREGATION,
        "timestamp": AT,
    } | fields


def record(**fields: Any) -> dict[str, Any]:
    return {
        "from_state": "PROCESSING",
        "to_state": "COMPLETED",
        "trigger": "aggregation_update",
        "timestamp": AT,
        "metadata": {"namespace": "ns"},
    } | fields


def move(**fields: Any) -> dict[str, Any]:
    return {
        "workflow_id": WORKFLOW,
        "current_state": "COMPLETED",
        "previous_state": "PROCESSING",
        "transition_count": 3,
        "transition_record": record(),
        "transition_history": [{"from_state": "PENDING", "to_state": "PROCESSING"}],
        "metadata": {"of": "payload"},
        "timestamp": "2026-10-23T11:00:00Z",
    } | fields


GOOD = [
    ("PublishEvent", flat_event()),
    ("PublishEvent", nested_event()),
    ("PersistState", state()),
    ("PersistFSMTransition", move()),
]


class Written(Enum):
    """Members, where an intent may hold text."""

    PERSIST_STATE = "PersistState"
    COMPLETED = "completed"


def spellings(when: datetime = WHEN) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
    """Of each intent several ways to write it, (type, payload), that mean the same; the first one is plain JSON."""
    at, east = when.isoformat(), when.astimezone(timezone(timedelta(hours=2)))
    body = {"aggregation_id": AGGREGATION, "items": [{"at": at}], "timestamp": at}
    event = {"event_type": "batch_processed", **body}
    nested = {"event_type": "batch_processed", "data": body}
    total = state(fsm_states={}, timestamp=at)
    moved = move(transition_record=record(timestamp=at), timestamp=at)
    return {
        "PublishEvent": [
            ("PublishEvent", event),
            ("publish event", event | {"event_type": "BATCH-PROCESSED", "topic": None, "data": None}),
            (
                "PUBLISH_EVENT",
                event | {"aggregation_id": UUID(AGGREGATION), "timestamp": when, "items": ({"at": east},)},
            ),
            ("PublishEvent", event | {"correlation_id": UUID(AGGREGATION).hex, "partition_key": None}),
            ("PublishEvent", event | {"correlation_id": "no UUID"}),
            ("PublishEvent", nested),
            ("PublishEvent", nested | {"timestamp": east, "metadata": {}, "session_id": "none"}),
        ],
        "PersistState": [
            ("PersistState", total),
            (Written.PERSIST_STATE, total | {"fsm_states": None, "correlation_id": None}),
            ("persist-state", {name: item for name, item in total.items() if name != "fsm_states"}),
            ("PERSIST_STATE", total | {"aggregation_id": AGGREGATION.upper(), "timestamp": when}),
            ("PersistState", total | {"aggregation_id": UUID(AGGREGATION), "timestamp": east.isoformat()}),
            ("PersistState", total | {"correlation_id": f"{{{AGGREGATION}}}"}),
        ],
        "PersistFSMTransition": [
            ("PersistFSMTransition", moved),
            ("persist_fsm_transition", moved | {"entity_type": "Workflow", "transition_history": None}),
            ("PersistFSMTransition", moved | {"workflow_id": UUID(WORKFLOW), "current_state": None}),
            ("PersistFSMTransition", moved | {"transition_count": 4, "previous_state": "pending"}),
            ("PersistFSMTransition", moved | {"transition_record": record(timestamp=east, to_state=Written.COMPLETED)}),
            ("PersistFSMTransition", moved | {"transition_record": record(timestamp=when, from_state=" processing ")}),
            (
                "PersistFSMTransition",
                moved | {"transition_record": record(timestamp=at, metadata=None), "metadata": {"namespace": "ns"}},
            ),
        ],
    }
