"""From an intent to an operation: every shape, and every refusal."""

from collections import UserDict
from datetime import datetime
from enum import Enum
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import orjson
import pytest

from omninode_bridge.contract.clock import is_uuid7
from omninode_bridge.contract.enums import EnumIntentType
from omninode_bridge.contract.intent_operation import (
    FsmTransitionIntentData,
    PersistStateData,
    PublishEventData,
    RecoverFsmStatesData,
)
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import encode
from omninode_bridge.intents.intents import INTENT, ModelIntent, intent_item, intent_type_of, listed, refused_type_text
from omninode_bridge.intents.payloads import most_common_state
from omninode_bridge.intents.plan import plan
from omninode_bridge.intents.results import result_of
from tests.intent_payloads import (
    AGGREGATION,
    AT,
    WHEN,
    WORKFLOW,
    flat_event,
    move,
    nested_event,
    operation,
    record,
    refused,
    state,
)


class Kind(Enum):
    PUBLISH_EVENT = "PublishEvent"


# ---- types and shapes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", ["PersistState", "PERSIST_STATE", "persist_state", "persist-state", " Persist State\n"]
)
def test_an_intent_type_may_be_written_in_any_form(written: str) -> None:
    assert operation(written, state()).operation_type == "persist_state"
    assert intent_type_of({"intent_type": written}) is EnumIntentType.PERSIST_STATE


@pytest.mark.parametrize("kind", [EnumIntentType.PUBLISH_EVENT, Kind.PUBLISH_EVENT])
def test_an_intent_may_be_a_dict_a_model_or_any_object_and_its_type_an_enum(kind: Any) -> None:
    fields: dict[str, Any] = {"intent_type": kind, "target": "event_bus", "payload": flat_event()}
    shapes = (fields, ModelIntent(**fields), SimpleNamespace(**fields), {**fields, "lease_id": "x", "epoch": 3})
    items = [intent_item(shape) for shape in shapes]
    assert all(isinstance(item, Operation) for item in items) and len(set(map(encode, items))) == 1


def test_a_payload_may_be_a_model_of_somebody() -> None:
    payload = ModelIntent(intent_type="x")  # any model will do to see that its fields are read
    refusal = refused("PersistState", payload)
    assert "intent_type: Extra inputs" in refusal.message


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Persist", "Persist"),
        ("PersistState2", "PersistState2"),
        ("2PersistState", "2PersistState"),
        ("EnumIntentType.PERSIST_STATE", "EnumIntentType.PERSIST_STATE"),
        ("Persist State!!", "'Persist State!!'"),
        ("PersistStateÜ", "'PersistState\\xdc'"),
        ("x" * 300, f"'{'x' * 40}...'"),
        ("PersistState\0\ud800!x", "'PersistState\\x00\\ud800!x'"),
        ("", ""),
        (None, ""),
        (5, ""),
        ({"a": "intent_type"}, ""),
    ],
)
def test_an_unknown_type_is_refused_by_name(written: Any, shown: str) -> None:
    refusal = refused(written, state())
    assert refusal.message.startswith("intent_type: ") and "RecoverFSMStates" in refusal.message
    assert refusal.refused_type == INTENT and len(refusal.message) < 200
    assert refused_type_text(refusal.payload) == refused_type_text(refusal.payload[:500]) == shown
    assert str(refusal.correlation_id) == AGGREGATION


@pytest.mark.parametrize(
    ("intent", "kept"),
    [(None, None), (5, 5), ("PersistState", "PersistState"), ([1], [1]), ({}, {}), ({"type": "x"}, {"type": "x"})],
)
def test_what_is_no_intent_at_all_is_refused_and_kept_as_it_came(intent: object, kept: object) -> None:
    item, again = intent_item(intent), intent_item(intent)
    assert isinstance(item, Refusal) and item == again and item.refused_type == INTENT
    assert is_uuid7(item.operation_id) and orjson.loads(item.payload) == kept
    assert refused_type_text(item.payload) == ""


def test_each_thing_that_is_no_intent_has_a_letter_of_its_own() -> None:
    items = [intent_item(one) for one in (None, 5, 6, "x", "", "null", [], {}, {"type": "x"}, object())]
    assert len({(item.operation_id, item.digest) for item in items}) == len(items)


class Raising:
    """An object whose named field cannot be read."""

    def __init__(self, name: str) -> None:
        self.__dict__ = {"intent_type": "RecoverFSMStates", "payload": {}} | {"raising": name}
        self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name) if name == self.__dict__["raising"] else AttributeError(name)


class Closed(UserDict[str, Any]):
    """A mapping that shows nothing of what it holds."""

    def items(self) -> Any:
        raise RuntimeError("items")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Unlowered(str):
    def lower(self) -> str:
        raise RuntimeError("lower")


@pytest.mark.parametrize(
    ("intent", "message"),
    [
        (Raising("intent_type"), "intent_type: '<cannot be read>' is none of"),
        (Raising("payload"), "payload: not an object"),
        (Raising("priority"), "priority: "),
        (Raising("intent_id"), "intent_id: '<cannot be read>' is not a UUID"),
        ({"intent_type": "PublishEvent", "payload": Closed(flat_event())}, "payload: not an object"),
        ({"intent_type": "PublishEvent", "payload": flat_event(x=Closed())}, "intent: RuntimeError while it was read"),
        ({"intent_type": "PublishEvent", "payload": {"data": Closed()}}, "intent: RuntimeError while it was read"),
        ({"intent_type": Closed(), "payload": {}}, "intent: RuntimeError while it was read"),
        ({"intent_type": Unlowered("Nothing"), "payload": {}}, "intent_type: 'Nothing' is none of"),
        ({"intent_type": "Nothing", "intent_id": Closed()}, "intent_type: 'Nothing' is none of"),
        ({"intent_type": "RecoverFSMStates", "intent_id": Closed()}, "intent: RuntimeError while it was read"),
    ],
)
def test_an_intent_whose_own_code_fails_is_refused(intent: object, message: str) -> None:
    item = intent_item(intent)
    assert isinstance(item, Refusal) and item.message.startswith(message), item
    encode(item)
    assert (plan([intent]), result_of(intent, item, None, 0.0).success) == ([[0]], False)


def test_a_list_of_intents_is_anything_to_go_through_but_an_intent() -> None:
    one = {"intent_type": "RecoverFSMStates"}
    for many in ([one, 5], (one, 5), iter([one, 5])):
        assert listed(many) == [one, 5]

    class Row(NamedTuple):
        intent_type: str
        payload: Any

    for alone in (
        one,
        ModelIntent(intent_type="x"),
        UserDict(one),
        Row("PublishEvent", {}),
        "PublishEvent",
        b"x",
        None,
        5,
    ):
        assert listed(alone) == [alone]
    assert listed([]) == []


@pytest.mark.parametrize("priority", [-1, "high", 1.5, True])
def test_a_priority_that_is_none_is_refused(priority: Any) -> None:
    assert refused("PersistState", state(), priority=priority).message.startswith("priority: ")


# ---- PublishEvent -------------------------------------------------------------------------------------------------


def test_a_flat_event_is_published_without_what_stands_beside_it() -> None:
    session = str(uuid4())
    beside = {"topic": "a.topic", "correlation_id": WORKFLOW, "partition_key": "k"}
    one = operation("PublishEvent", flat_event(session_id=session, node_id="n", metadata={"m": 1}, **beside))
    assert isinstance(one.data, PublishEventData)
    assert one.data.event_type == "aggregation_started"
    assert one.data.payload == {
        "aggregation_id": AGGREGATION,
        "batch_size": 100,
        "timestamp": AT,
        "session_id": session,
        "node_id": "n",
        "metadata": {"m": 1},
    }
    assert (one.data.topic, one.data.partition_key, one.data.source_node_id) == ("a.topic", "k", "n")
    assert (str(one.data.session_id), one.data.metadata) == (session, {"m": 1})
    assert (str(one.correlation_id), one.occurred_at) == (WORKFLOW, WHEN)


def test_of_a_flat_event_a_null_in_place_of_data_is_not_published() -> None:
    one = operation("PublishEvent", flat_event(data=None, topic=None))
    assert one.data == operation("PublishEvent", flat_event()).data
    listed_data = operation("PublishEvent", flat_event(data=[1])).data
    assert isinstance(listed_data, PublishEventData) and listed_data.payload["data"] == [1]


def test_of_a_nested_event_the_data_is_published() -> None:
    given = nested_event()
    one = operation("PublishEvent", given)
    assert isinstance(one.data, PublishEventData)
    assert one.data.payload == given["data"] and one.data.topic == given["topic"]
    assert one.data.source_node_id == "reducer-1" and str(one.correlation_id) == WORKFLOW


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (flat_event(), AGGREGATION),
        (flat_event(correlation_id="no-uuid"), AGGREGATION),
        (nested_event(correlation_id=None), AGGREGATION),
        (nested_event(correlation_id=None, data={"correlation_id": WORKFLOW, "aggregation_id": AGGREGATION}), WORKFLOW),
        (flat_event(aggregation_id="agg-1"), None),
    ],
)
def test_an_event_is_traced_by_the_first_id_that_is_a_uuid(payload: dict[str, Any], expected: str | None) -> None:
    found = operation("PublishEvent", payload).correlation_id
    assert (found and str(found)) == expected


def test_the_time_of_an_event_may_stand_in_its_data() -> None:
    assert operation("PublishEvent", nested_event(timestamp=None)).occurred_at == WHEN


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"event_type": None}, "event_type"),
        ({"event_type": "two words"}, "event_type"),
        ({"event_type": 5}, "event_type"),
        ({"topic": "with blank"}, "topic"),
        ({"topic": ".."}, "topic"),
        ({"topic": "x" * 250}, "topic"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"timestamp": 5}, "timestamp"),
        ({"data": {"timestamp": "soon"}, "timestamp": None}, "data.timestamp"),
        ({"partition_key": 5}, "partition_key"),
        ({"node_id": 5}, "source_node_id"),
        ({"x": {"y": ["\0"]}}, "x.y[0]"),
        ({"x": float("nan")}, "x"),
        ({"x": 2**70}, "x"),
        ({"x": {1: 2}}, "x"),
        ({"x": object()}, "x"),
        ({"x\ud800": 1}, "payload"),
        ({"window": {"start": datetime(2026, 1, 1)}}, "window.start"),  # noqa: DTZ001  # the very fault
    ],
)
def test_a_bad_event_is_refused_by_field_name(changes: dict[str, Any], field: str) -> None:
    refusal = refused("PublishEvent", flat_event(**changes))
    assert refusal.message.startswith(f"{field}: "), refusal.message
    assert (refusal.refused_type, refusal.form, refusal.code) == ("publish_event", "operation", "VALIDATION_ERROR")
    assert orjson.loads(encode(refusal))["payload"] == refusal.payload


# ---- PersistState -------------------------------------------------------------------------------------------------


def test_a_state_becomes_a_contribution_to_each_namespace() -> None:
    aggregated = {"a": {"total_stamps": 1, "unique_workflows_count": 2, "total_size_bytes": 3, "extra": [1]}, " b ": {}}
    one = operation("PersistState", state(aggregated_data=aggregated))
    assert isinstance(one.data, PersistStateData)
    a, b = one.data.namespaces["a"], one.data.namespaces["b"]
    assert (a.total_items, a.total_workflows, a.total_size_bytes, a.metadata) == (1, 2, 3, aggregated["a"])
    assert (b.total_items, b.total_workflows, b.total_size_bytes, b.metadata) == (0, 0, 0, {})
    assert str(one.data.aggregation_id) == AGGREGATION == str(one.correlation_id)
    assert one.data.current_fsm_state == "COMPLETED" and one.occurred_at == WHEN


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], "UNKNOWN"),
        (["PENDING", "PROCESSING", "PROCESSING"], "PROCESSING"),
        (["PENDING", "COMPLETED"], "COMPLETED"),
        (["PENDING", "WAITING"], "WAITING"),
        (["FAILED", "COMPLETED"], "COMPLETED"),
        (["FAILED", "COMPLETED", "FAILED", "PENDING", "PENDING", "PENDING"], "PENDING"),
    ],
)
def test_the_state_is_the_most_common_one_then_the_most_final_then_the_first_by_name(
    states: list[str], expected: str
) -> None:
    assert most_common_state(states) == most_common_state(states[::-1]) == expected
    given = {str(n): name.lower() for n, name in enumerate(states)}
    data = operation("PersistState", state(fsm_states=given)).data
    assert isinstance(data, PersistStateData) and data.current_fsm_state == expected


@pytest.mark.parametrize("states", [None, {}])
def test_a_state_may_tell_of_no_workflow(states: Any) -> None:
    data = operation("PersistState", state(fsm_states=states)).data
    assert isinstance(data, PersistStateData) and data.current_fsm_state == "UNKNOWN"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregated_data": {"ns": {"total_stamps": -1}}}, "aggregated_data.ns.total_stamps: "),
        ({"aggregated_data": {"ns": {"total_stamps": "5"}}}, "aggregated_data.ns.total_stamps: "),
        ({"aggregated_data": {"ns": {"total_size_bytes": 2**63}}}, "aggregated_data.ns.total_size_bytes: "),
        ({"aggregated_data": {"ns": {"unique_workflows_count": True}}}, "aggregated_data.ns.unique_workflows_count: "),
        ({"aggregated_data": {"ns": None}}, "aggregated_data.ns: "),
        ({"aggregated_data": {"": {}}}, "aggregated_data."),
        ({"aggregated_data": {"ns": {}, " ns": {}}}, "aggregated_data: a namespace stands there twice"),
        ({"aggregated_data": {"x" * 256: {}}}, "aggregated_data."),
        ({"aggregated_data": None}, "aggregated_data: "),
        ({"aggregated_data": {"ns": {"files": ["\0"]}}}, "aggregated_data.ns.files[0]: text with NUL"),
        ({"aggregation_id": "agg-1"}, "aggregation_id: "),
        ({"aggregation_id": None}, "aggregation_id: "),
        ({"fsm_states": {"w": 5}}, "fsm_states.w: "),
        ({"fsm_states": ["COMPLETED"]}, "fsm_states: "),
        ({"agregated": {}}, "agregated: Extra inputs are not permitted"),
        ({"timestamp": "yesterday"}, "timestamp: "),
    ],
)
def test_a_bad_state_is_refused_by_field_name(changes: dict[str, Any], message: str) -> None:
    refusal = refused("PersistState", state(**changes))
    assert refusal.message.startswith(message), refusal.message
    assert refusal.refused_type == "persist_state"


# ---- PersistFSMTransition -----------------------------------------------------------------------------------------


def test_a_move_is_what_its_record_says() -> None:
    one = operation("PersistFSMTransition", move())
    data = one.data
    assert isinstance(data, FsmTransitionIntentData)
    assert (str(data.entity_id), data.entity_type) == (WORKFLOW, "workflow_execution")
    assert (data.from_state, data.to_state) == ("PROCESSING", "COMPLETED")
    assert (data.transition_event, data.metadata) == ("aggregation_update", {"namespace": "ns"})
    assert data.transition_data == {"metadata": {"namespace": "ns"}, "timestamp": WHEN.isoformat()}
    assert (one.occurred_at, str(one.correlation_id)) == (WHEN, WORKFLOW)
    assert b"PENDING" not in encode(one), "the history is not kept"


def test_a_move_without_record_is_what_the_payload_says() -> None:
    one = operation("persist_fsm_transition", move(transition_record=None, timestamp=AT))
    data = one.data
    assert isinstance(data, FsmTransitionIntentData)
    assert (data.from_state, data.to_state, data.transition_event) == ("PROCESSING", "COMPLETED", "unknown")
    assert (data.metadata, one.occurred_at) == ({"of": "payload"}, WHEN)


def test_what_a_record_leaves_out_the_payload_tells() -> None:
    one = operation("PersistFSMTransition", move(transition_record={"to_state": "completed"}, timestamp=AT))
    data = one.data
    assert isinstance(data, FsmTransitionIntentData)
    assert (data.from_state, data.to_state, data.metadata) == ("PROCESSING", "COMPLETED", {"of": "payload"})
    assert (one.occurred_at, data.transition_event) == (WHEN, "unknown")


@pytest.mark.parametrize("metadata", [None, {}])
def test_a_move_without_metadata_has_nothing_in_their_place(metadata: Any) -> None:
    data = operation("PersistFSMTransition", move(transition_record=record(metadata=metadata), metadata=metadata)).data
    assert isinstance(data, FsmTransitionIntentData)
    assert (data.metadata, data.transition_data) == (None, None)


def test_a_machine_of_its_own_kind_moves_as_it_likes() -> None:
    one = operation(
        "PersistFSMTransition",
        move(entity_type="Bridge_Reducer", transition_record=record(from_state="idle", to_state="active")),
    )
    assert isinstance(one.data, FsmTransitionIntentData)
    assert (one.data.entity_type, one.data.to_state) == ("bridge_reducer", "ACTIVE")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"transition_record": record(from_state="COMPLETED", to_state="pending")},
            "to_state: COMPLETED -> PENDING is no move of a workflow",
        ),
        ({"transition_record": record(from_state=None)}, "to_state: None -> COMPLETED is no move of a workflow"),
        ({"transition_record": {"from_state": "PENDING"}}, "transition_record.to_state: "),
        ({"transition_record": record(timestamp="soon")}, "transition_record.timestamp: "),
        ({"transition_record": record(why="x")}, "transition_record.why: "),
        ({"transition_record": None, "current_state": None}, "transition_record: missing"),
        ({"transition_record": "x"}, "transition_record: "),
        ({"workflow_id": "w"}, "workflow_id: "),
        ({"transition_count": -1}, "transition_count: "),
        ({"state": "COMPLETED"}, "state: Extra inputs are not permitted"),
    ],
)
def test_a_bad_move_is_refused_by_field_name(changes: dict[str, Any], message: str) -> None:
    refusal = refused("PersistFSMTransition", move(**changes))
    assert refusal.message.startswith(message), refusal.message
    assert refusal.refused_type == "persist_fsm_transition_intent"
    assert str(refusal.correlation_id) == WORKFLOW or "workflow_id" in changes
    assert "transition_history" not in refusal.payload


# ---- RecoverFSMStates ---------------------------------------------------------------------------------------------


def test_a_recovery_needs_no_id_and_may_be_bounded() -> None:
    payload = {"recovery_id": WORKFLOW, "timestamp": AT, "request_all_workflows": True, "within_days": 3, "limit": 10}
    one = operation("RecoverFSMStates", payload, priority=2)
    assert one.data == RecoverFsmStatesData(recovery_id=UUID(WORKFLOW), within_days=3, limit=10)
    assert isinstance(operation("RecoverFSMStates", None).data, RecoverFsmStatesData)


@pytest.mark.parametrize("changes", [{"limit": 0}, {"limit": 10_001}, {"within_days": "7"}, {"days": 7}, {"page": 5}])
def test_a_bad_recovery_is_refused_by_field_name(changes: dict[str, Any]) -> None:
    assert refused("RecoverFSMStates", changes).message.startswith(f"{next(iter(changes))}: ")
