"""What each event becomes, in every dialect and topic form."""

from typing import Any
from uuid import UUID

import pytest

from omninode_bridge.bus.envelope import FLEET_SERVICE, ModelOnexEnvelopeV1
from omninode_bridge.contract.clock import TIMELESS, parse_instant
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.operation_types import BLOCKS
from tests.bus_records import AT, LATER, OTHER, SESSION, TOPIC, WORKFLOW, envelope, mapped, refused

TOPICS = (
    "dev.omninode_bridge.onex.evt.{slug}.v1",
    "omninode.bridge.omninode_bridge.onex.evt.{slug}.v12",
    "dev.omninode-bridge.{slug}.v1",
    "dev.omninode-bridge.orchestrator.{slug}.v1",
    "dev.omninode_bridge.onex.evt.{slug}.v1.dlq",
    "DEV.{slug}.V1.DLQ.dlq",
    "omninode_bridge.reducer.events.{slug}",
    "{slug}",
)


def told(operation: Operation) -> dict[str, Any]:
    """The fields that the operation gives, as they travel."""
    return operation.data.model_dump(mode="json", exclude_none=True)


Z = AT.replace("+00:00", "Z")
EXECUTION = {"correlation_id": WORKFLOW, "namespace": "from.envelope", "session_id": SESSION}
STAMP = {"workflow_id": WORKFLOW, "namespace": "from.envelope", "created_at": Z}
MOVED = {"entity_id": WORKFLOW, "entity_type": "workflow_execution", "from_state": "PENDING", "to_state": "PROCESSING"}
MOVE = {"workflow_id": WORKFLOW, "from_state": "pending", "to_state": "processing", "timestamp": AT}
BRIDGE = {"bridge_id": OTHER, "current_fsm_state": "idle", "total_items_aggregated": 7}
ROWS: list[tuple[tuple[str, ...], str, dict[str, Any], dict[str, Any]]] = [
    (
        ("workflow_started", "stamp_workflow_started"),
        "persist_workflow_execution",
        {"workflow_id": WORKFLOW, "timestamp": AT, "mode": "event_driven", "metadata": {"a": 1}, "node_id": "n"},
        {**EXECUTION, "current_state": "PROCESSING", "started_at": Z, "metadata": {"a": 1, "mode": "event_driven"}},
    ),
    (
        ("workflow_completed", "stamp_workflow_completed"),
        "persist_workflow_execution",
        {"workflow_id": WORKFLOW, "timestamp": AT, "processing_time_ms": 0, "stamp_id": "s", "file_hash": "ABC"},
        {
            **EXECUTION,
            "current_state": "COMPLETED",
            "completed_at": Z,
            "execution_time_ms": 0,
            "stamp_id": "s",
            "file_hash": "abc",
        },
    ),
    (
        ("workflow_failed", "stamp_workflow_failed"),
        "persist_workflow_execution",
        {"workflow_id": WORKFLOW, "timestamp": AT, "error": "no", "retry_count": 0, "error_type": "E", "mode": "x"},
        {
            **EXECUTION,
            "current_state": "FAILED",
            "completed_at": Z,
            "error_message": "no",
            "metadata": {"retry_count": 0, "error_type": "E"},
        },
    ),
    (
        ("step_completed", "workflow_step_completed"),
        "persist_workflow_step",
        {"workflow_id": WORKFLOW, "step_type": "hash", "step_id": "s-1", "timestamp": AT, "published_at": LATER},
        {
            "workflow_id": WORKFLOW,
            "step_name": "hash",
            "step_type": "hash",
            "step_order": 0,
            "status": "COMPLETED",
            "created_at": Z,
            "step_data": {"step_id": "s-1"},
        },
    ),
    (
        ("stamp_created", "metadata_stamp_created"),
        "persist_metadata_stamp",
        {"workflow_id": WORKFLOW, "stamp_id": "s", "creation_time_ms": 3, "timestamp": AT, "published_at": LATER},
        {
            **STAMP,
            "stamp_id": "s",
            "stamp_data": {"workflow_id": WORKFLOW, "stamp_id": "s", "creation_time_ms": 3, "timestamp": AT},
        },
    ),
    (("state_transition",), "persist_fsm_transition", MOVE, {**MOVED, "transition_event": "state_transition"}),
    (
        ("workflow_state_transition",),
        "persist_fsm_transition",
        {**MOVE, "trigger": "go", "metadata": {"a": 1}},
        {**MOVED, "transition_event": "go", "transition_data": {"a": 1}},
    ),
    (
        ("fsm_state_transitioned",),
        "persist_fsm_transition",
        {**MOVE, "transition_event": "e", "transition_data": {"b": 1}, "metadata": {"a": 1}},
        {**MOVED, "transition_event": "e", "transition_data": {"b": 1}, "metadata": {"a": 1}},
    ),
    (
        ("state_aggregation_completed", "aggregation_completed", "state_persisted"),
        "persist_bridge_state",
        {**BRIDGE, "timestamp": AT, "surprise": 1},
        {**BRIDGE, "current_fsm_state": "IDLE", "namespace": "from.envelope"},
    ),
    (
        ("node_heartbeat",),
        "update_node_heartbeat",
        {
            "node_type": "EFFECT",
            "health_status": "critical",
            "timestamp": AT,
            "uptime_seconds": 5,
            "metadata": {"a": 1},
        },
        {
            "node_id": "node-1",
            "node_type": "effect",
            "health_status": "UNHEALTHY",
            "last_heartbeat": Z,
            "metadata": {"a": 1},
            "namespace": "from.envelope",
        },
    ),
]
EVENTS = [(name, kind, payload, fields) for names, kind, payload, fields in ROWS for name in names]


@pytest.mark.parametrize(("event_type", "kind", "payload", "fields"), EVENTS, ids=[row[0] for row in EVENTS])
class TestEveryRowOfTheTable:
    def test_as_an_envelope(self, event_type: str, kind: str, payload: dict[str, Any], fields: dict[str, Any]) -> None:
        value = envelope(event_type, payload)
        operation = mapped(value)
        assert (operation.operation_type, told(operation)) == (kind, fields)
        assert operation.occurred_at == parse_instant(AT)
        assert operation.event is not None and operation.event.payload == payload
        assert operation.event.envelope == {name: item for name, item in value.items() if name != "payload"}
        assert str(operation.event.session_id) == SESSION

    @pytest.mark.parametrize(
        "written", [str.upper, lambda name: f" {name.replace('_', '-')} "], ids=["upper", "dashes"]
    )
    def test_however_the_type_is_written(
        self, event_type: str, kind: str, payload: dict[str, Any], fields: dict[str, Any], written: Any
    ) -> None:
        operation = mapped(envelope(written(event_type), payload))
        assert (operation.operation_type, told(operation)) == (kind, fields)
        assert operation.event is not None and operation.event.event_type == event_type

    @pytest.mark.parametrize("topic", TOPICS)
    def test_by_its_topic_alone(
        self, event_type: str, kind: str, payload: dict[str, Any], fields: dict[str, Any], topic: str
    ) -> None:
        value = envelope(event_type, payload, event_type=None)
        named = topic.format(slug=event_type.replace("_", "-"))
        operation = mapped(value, named)
        assert (operation.operation_type, told(operation)) == (kind, fields)
        assert operation.event is not None and operation.event.topic == named

    def test_as_event_data(self, event_type: str, kind: str, payload: dict[str, Any], fields: dict[str, Any]) -> None:
        own = {"namespace": "from.envelope", "session_id": SESSION, "node_id": "node-1"}
        value = {"event_type": event_type, "event_data": {**payload, **own}}
        operation = mapped(value)
        expected = {**fields}
        if kind == "persist_workflow_step":
            expected["step_data"] = {**fields["step_data"], "namespace": "from.envelope", "session_id": SESSION}
        if kind == "persist_metadata_stamp":
            expected["stamp_data"] = {**fields["stamp_data"], **own}
        assert (operation.operation_type, told(operation)) == (kind, expected)
        assert operation.event is not None and operation.event.payload == value and operation.event.envelope is None

    def test_as_a_flat_object(
        self, event_type: str, kind: str, payload: dict[str, Any], fields: dict[str, Any]
    ) -> None:
        operation = mapped({"event_type": event_type, "node_id": "node-1", "namespace": "from.envelope", **payload})
        assert operation.operation_type == kind
        kept = {name: item for name, item in fields.items() if name not in ("stamp_data", "step_data", "session_id")}
        assert kept.items() <= told(operation).items()


BLOCK_ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "workflow_execution_data": (
        {"current_state": "processing", "started_at": AT, "namespace": None, "surprise": 1},
        {"correlation_id": WORKFLOW, "current_state": "PROCESSING", "started_at": Z},
    ),
    "workflow_step_data": (
        {"step_name": "a", "step_order": 1, "status": "failed", "created_at": AT},
        {"workflow_id": WORKFLOW, "step_name": "a", "step_order": 1, "status": "FAILED", "created_at": Z},
    ),
    "bridge_state_data": (
        {**BRIDGE, "last_aggregation_timestamp": AT},
        {**BRIDGE, "current_fsm_state": "IDLE", "namespace": "unknown", "last_aggregation_timestamp": Z},
    ),
    "fsm_transition_data": (
        {"to_state": "a", "transition_event": "go", "transition_at": AT},
        {"entity_id": WORKFLOW, "entity_type": "workflow_execution", "to_state": "A", "transition_event": "go"},
    ),
    "metadata_stamp_data": (
        {"stamp_data": {"v": 1}, "created_at": AT},
        {"stamp_data": {"v": 1}, "created_at": Z},
    ),
    "node_heartbeat_data": (
        {"node_id": "n", "health_status": "offline", "last_heartbeat": AT},
        {"node_id": "n", "health_status": "OFFLINE", "last_heartbeat": Z},
    ),
}


@pytest.mark.parametrize("place", ["top", "payload", "event_data"])
@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_a_block_decides_the_operation_wherever_it_stands_and_whatever_the_topic_says(block: str, place: str) -> None:
    data, fields = BLOCK_ROWS[block]
    value: dict[str, Any] = {"correlation_id": WORKFLOW, block: data}
    if place == "payload":
        value = envelope("thing", value, metadata={})
    elif place == "event_data":
        value = {"event_type": "thing", "event_data": value}
    operation = mapped(value, "dev.omninode-bridge.node-heartbeat.v1")
    assert (operation.operation_type, told(operation)) == (BLOCKS[block], fields)
    assert operation.occurred_at == parse_instant(AT)


@pytest.mark.parametrize(
    ("own", "around", "namespace"),
    [({"namespace": "own"}, {"namespace": "around"}, "own"), ({}, {"namespace": "around"}, "around"), ({}, {}, None)],
)
def test_a_heartbeats_namespace_is_its_own_or_the_envelopes_and_never_made_up(
    own: dict[str, Any], around: dict[str, Any], namespace: str | None
) -> None:
    beat = {"node_id": "n", "health_status": "healthy", **own}
    for value in (
        envelope("node_heartbeat", beat, metadata=around),
        envelope("thing", {"node_heartbeat_data": beat}, metadata=around),
    ):
        assert told(mapped(value)).get("namespace") == namespace


@pytest.mark.parametrize(
    ("block", "own", "field", "expected"),
    [
        ("workflow_execution_data", {"correlation_id": OTHER, "workflow_id": SESSION}, "correlation_id", OTHER),
        ("workflow_execution_data", {"workflow_id": OTHER}, "correlation_id", OTHER),
        ("workflow_execution_data", {"workflow_id": OTHER}, "workflow_id", None),
        ("workflow_step_data", {"correlation_id": OTHER}, "workflow_id", OTHER),
        ("workflow_step_data", {"workflow_id": OTHER, "correlation_id": SESSION}, "workflow_id", OTHER),
        ("metadata_stamp_data", {"workflow_id": OTHER}, "workflow_id", OTHER),
        ("metadata_stamp_data", {}, "workflow_id", None),
        ("fsm_transition_data", {"entity_id": OTHER, "entity_type": "Workflow"}, "entity_id", OTHER),
        ("fsm_transition_data", {"entity_type": "Workflow"}, "entity_id", WORKFLOW),
        ("fsm_transition_data", {"workflow_id": OTHER}, "entity_id", OTHER),
    ],
)
def test_a_block_names_its_workflow_itself_or_takes_the_one_around_it(
    block: str, own: dict[str, Any], field: str, expected: str | None
) -> None:
    operation = mapped({"correlation_id": WORKFLOW, block: {**BLOCK_ROWS[block][0], **own}})
    assert told(operation).get(field) == expected


def test_an_entity_that_is_no_workflow_needs_an_id_of_its_own() -> None:
    block = {"to_state": "a", "transition_event": "go", "entity_type": "reducer"}
    assert refused({"correlation_id": WORKFLOW, "fsm_transition_data": block}).message == "entity_id: Field required"


@pytest.mark.parametrize(
    ("event_type", "state"),
    [("workflow-started", "PROCESSING"), ("stamp-workflow-completed", "COMPLETED"), ("workflow-failed", "FAILED")],
)
def test_a_block_without_state_takes_the_state_that_the_event_tells(event_type: str, state: str) -> None:
    value = {"workflow_execution_data": {"correlation_id": WORKFLOW}}
    assert told(mapped(value, f"dev.omninode-bridge.{event_type}.v1"))["current_state"] == state
    assert refused(value, "dev.omninode-bridge.step-completed.v1").message == "current_state: Field required"


@pytest.mark.parametrize("event_type", ["aggregation_completed", "state_persisted"])
@pytest.mark.parametrize("payload", [{"total_items_aggregated": 5}, {"bridge_id": OTHER}])
def test_a_reducers_own_counts_are_only_recorded(event_type: str, payload: dict[str, Any]) -> None:
    assert mapped(envelope(event_type, payload)).operation_type == "record_event"


@pytest.mark.parametrize("event_type", ["query_requested", "blake3_hash_generated", "never heard of"])
def test_an_event_of_no_table_is_only_recorded(event_type: str) -> None:
    value = envelope(event_type, {"timestamp": AT}, correlation_id=WORKFLOW)
    operation = mapped(value, key="key")
    assert operation.operation_type == "record_event" and operation.event is None
    assert operation.correlation_id == UUID(WORKFLOW)
    assert told(operation) == {
        "event_type": event_type,
        "topic": TOPIC,
        "partition_key": "key",
        "session_id": SESSION,
        "payload": {"timestamp": AT},
        "envelope": {name: item for name, item in value.items() if name != "payload"},
    }


@pytest.mark.parametrize("payload", [{"workflow_id": WORKFLOW}, {"workflow_step_data": "text"}])
def test_what_the_fleet_itself_emitted_is_only_recorded(payload: dict[str, Any]) -> None:
    event = ModelOnexEnvelopeV1(
        event_type="workflow_started", source_node_id="f", source_service=FLEET_SERVICE, payload=payload
    )
    assert mapped(event.as_dict()).operation_type == "record_event"


def test_a_null_field_is_a_field_not_given() -> None:
    payload = {"workflow_id": None, "correlation_id": WORKFLOW, "timestamp": None, "mode": None, "metadata": None}
    operation = mapped(envelope("workflow_started", payload, metadata=None))
    assert told(operation) == {
        "correlation_id": WORKFLOW,
        "current_state": "PROCESSING",
        "started_at": LATER.replace("+00:00", "Z"),
    }


def test_a_timeless_event_has_no_times_in_its_fields() -> None:
    step = mapped({"event_type": "step_completed", "event_data": {"workflow_id": WORKFLOW, "step_id": "s"}})
    assert step.occurred_at == TIMELESS and "created_at" not in told(step)
    start = mapped({"event_type": "workflow_started", "event_data": {"workflow_id": WORKFLOW}})
    assert start.occurred_at == TIMELESS and "started_at" not in told(start)


def test_a_step_keeps_its_own_data_beside_the_rest_of_its_payload() -> None:
    payload = {
        "workflow_id": WORKFLOW,
        "step_name": "n",
        "step_type": "t",
        "step_order": 4,
        "status": "skipped",
        "error": "e",
        "step_data": {"a": 1},
        "b": [2],
        "c": None,
        "node_id": "n",
    }
    assert told(mapped(envelope("step_completed", payload, event_timestamp=None))) == {
        "workflow_id": WORKFLOW,
        "step_name": "n",
        "step_type": "t",
        "step_order": 4,
        "status": "SKIPPED",
        "error_message": "e",
        "step_data": {"a": 1, "b": [2]},
    }


def test_a_stamps_own_data_is_taken_where_it_is_given() -> None:
    payload = {"stamp_data": {"v": 1}, "workflow_id": WORKFLOW, "namespace": "own"}
    assert told(mapped(envelope("stamp_created", payload, event_timestamp=None))) == {
        "stamp_data": {"v": 1},
        "workflow_id": WORKFLOW,
        "namespace": "own",
    }


@pytest.mark.parametrize("session", ["not a uuid", 5, None])
def test_a_malformed_session_in_the_envelope_is_left_out(session: object) -> None:
    value = envelope("workflow_started", {"workflow_id": WORKFLOW}, metadata={"session_id": session})
    operation = mapped(value)
    assert "session_id" not in told(operation)
    assert operation.event is not None and operation.event.session_id is None
    value["payload"]["session_id"] = "not a uuid"
    assert refused(value).message.startswith("session_id: ")


@pytest.mark.parametrize("key", [None, "", "  ", 5, {}])
def test_a_key_that_is_no_text_is_no_key(key: Any) -> None:
    operation = mapped(envelope("thing", {}), key=key)
    assert told(operation).get("partition_key") is None


THIRD = "0f4e1a52-7f7c-4c39-8c3c-000000000009"
AROUND = {"workflow_id": WORKFLOW, "correlation_id": OTHER}


@pytest.mark.parametrize(
    ("own", "around", "workflow"),
    [
        ({"workflow_id": SESSION, "correlation_id": THIRD}, AROUND, SESSION),
        ({"correlation_id": THIRD}, AROUND, THIRD),
        ({}, AROUND, WORKFLOW),
        ({}, {"correlation_id": OTHER}, OTHER),
        ({"workflow_id": None}, {"workflow_id": None, "correlation_id": OTHER}, OTHER),
    ],
)
def test_the_workflow_is_the_nearest_that_is_named(own: dict[str, Any], around: dict[str, Any], workflow: str) -> None:
    fields = {"step_id": "s", "timestamp": AT, **own}
    for value in (envelope("step_completed", fields, **around), {"event_data": fields, **around}):
        assert told(mapped(value, "a.step-completed.v1"))["workflow_id"] == workflow


@pytest.mark.parametrize(
    ("own", "around", "trace"),
    [
        ({"workflow_id": THIRD, "correlation_id": SESSION}, AROUND, OTHER),
        ({"correlation_id": SESSION}, {"workflow_id": WORKFLOW}, SESSION),
        ({"workflow_id": THIRD}, {"workflow_id": WORKFLOW}, THIRD),
        ({}, {"workflow_id": WORKFLOW, "correlation_id": "none"}, WORKFLOW),
        ({}, {}, None),
    ],
)
def test_an_event_is_traced_by_a_workflow_named_beside_its_fields_too(
    own: dict[str, Any], around: dict[str, Any], trace: str | None
) -> None:
    for value in (envelope("thing", own, **around), {"event_data": own, **around}):
        assert mapped(value).correlation_id == (None if trace is None else UUID(trace))
