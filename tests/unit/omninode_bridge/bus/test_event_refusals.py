"""Bus records that cannot be taken: refused by the name of the field, kept whole, and never an exception."""

import math
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.operation_types import BLOCKS, OPERATION_CLASSES
from omninode_bridge.contract.values import MAX_OPERATION_BYTES
from omninode_bridge.contract.wire import decode_batch, encode, encode_batch
from tests.bus_records import AT, OTHER, TOPIC, WORKFLOW, envelope, mapped, refused, step

REFUSED: list[tuple[str, object]] = [
    ("value", "{not json"),
    ("value", [1]),
    ("value", None),
    ("value", 5),
    ("payload", {"payload": 5, "event_id": "e"}),
    ("event_data", {"event_data": "text"}),
    ("workflow_step_data", {"workflow_step_data": [1]}),
    ("workflow_step_data, metadata_stamp_data", {**step(), "metadata_stamp_data": {}}),
    ("bridge_state_data, workflow_step_data", envelope("x", {**step()}, bridge_state_data={})),
    ("step_name", step(step_name="")),
    ("step_name", step(step_name="a\0b")),
    ("step_name", step(step_name="\ud800")),
    ("step_name", step(step_name="x" * 101)),
    ("step_name", step(step_name=5)),
    ("step_order", step(step_order=2**31)),
    ("step_order", step(step_order=-1)),
    ("step_order", step(step_order=True)),
    ("step_order", step(step_order="1")),
    ("step_data", step(step_data={"a": ["\0"]})),
    ("step_data", step(step_data={"a": "\udfff"})),
    ("step_data", step(step_data={"\ud800": 1})),
    ("step_data", step(step_data={"a": math.nan})),
    ("step_data", step(step_data={"a": math.inf})),
    ("step_data", step(step_data={"a": 2**64})),
    ("step_data", step(step_data=[])),
    ("workflow_id", step(workflow_id="not-a-uuid")),
    ("created_at", step(created_at="yesterday")),
    ("created_at", step(created_at=1_700_000_000)),
    ("completed_at", step(completed_at="")),
    ("payload", {**step(), "noise": "a\0b"}),
    ("payload", {**step(), "noise": math.nan}),
    ("envelope", envelope("thing", {}, region="\0")),
    ("event_type", envelope("x" * 101, {})),
    ("timestamp", envelope("thing", {"timestamp": "soon"})),
    ("timestamp", envelope("thing", {"timestamp": ""})),
    ("timestamp", envelope("thing", {"timestamp": 0})),
    ("event_timestamp", envelope("thing", {}, event_timestamp="soon")),
    ("correlation_id", envelope("workflow_started", {"workflow_id": "not-a-uuid"})),
    ("correlation_id", envelope("workflow_started", {})),
    ("namespace", envelope("workflow_started", {"workflow_id": WORKFLOW}, metadata={"namespace": "n" * 256})),
    ("metadata", envelope("workflow_started", {"workflow_id": WORKFLOW, "metadata": "text", "mode": "m"})),
    ("file_hash", envelope("stamp_created", {"file_hash": "zz"})),
    ("stamp_data", envelope("stamp_created", {"stamp_data": "text"})),
    ("to_state", envelope("state_transition", {"workflow_id": WORKFLOW})),
    ("bridge_id", envelope("state_aggregation_completed", {"current_fsm_state": "idle"})),
    ("current_fsm_state", envelope("aggregation_completed", {"bridge_id": OTHER, "total_items_aggregated": 1})),
    ("health_status", envelope("node_heartbeat", {})),
]


@pytest.mark.parametrize(("field", "value"), REFUSED, ids=[f"{n}-{field}" for n, (field, _) in enumerate(REFUSED)])
def test_what_cannot_be_taken_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    refusal = refused(value)
    assert refusal.message.startswith(f"{field}: ")
    assert (refusal.code, refusal.form, refusal.source) == ("VALIDATION_ERROR", "record", "bus")
    assert (refusal.topic, refusal.partition_key) == (TOPIC, "k")
    (back,) = decode_batch(encode_batch([encode(refusal)]), task_id="t")
    assert back == refusal


@pytest.mark.parametrize(
    ("field", "topic", "key"),
    [
        ("topic", "t" * 256 + ".thing", None),
        ("topic", "a\0b.thing", None),
        ("topic", "\ud800.thing", None),
        ("partition_key", "t", "k" * 256),
        ("partition_key", "t", "a\0b"),
        ("partition_key", "t", "\udfff"),
        ("event_type", "", None),
        ("event_type", "thing.v1.", "k"),
    ],
)
def test_a_topic_or_key_that_no_column_holds_is_refused_and_kept_storable(
    field: str, topic: str, key: str | None
) -> None:
    refusal = refused({"event_data": {}}, topic, key)
    assert refusal.message.startswith(f"{field}: ")
    for kept in (refusal.topic, refusal.partition_key or "", refusal.message):
        assert kept is not None and "\0" not in kept.encode().decode()
    assert len(refusal.partition_key or "") <= 255


def test_a_refusal_says_what_it_would_have_been_and_keeps_the_trace_and_the_value() -> None:
    refusal = refused(step(step_name=""))
    assert refusal.refused_type == "persist_workflow_step"
    assert refusal.correlation_id == UUID(OTHER)
    assert '"step_name":""' in refusal.payload
    assert refused({"correlation_id": OTHER, "payload": 5}).correlation_id == UUID(OTHER)


def test_a_record_that_makes_too_large_an_operation_is_refused() -> None:
    fits, too_large = "x" * (MAX_OPERATION_BYTES // 4), "x" * MAX_OPERATION_BYTES
    encode(mapped(step(step_data={"a": fits})))
    assert refused(step(step_data={"a": too_large})).message.startswith("operation: ")


def test_a_value_nested_deeper_than_python_goes_is_refused_and_kept() -> None:
    deep: Any = "leaf"
    for _ in range(3000):
        deep = [deep, {'quoted " name': [1, None]}]
    refusal = refused({"event_data": {"deep": deep}})
    assert refusal.message.startswith("payload: ")
    assert refusal.payload.count("quoted") == 3000 and refusal.payload.startswith('{"event_data":{"deep":[[')


DATA_CLASSES: list[Any] = [cls.model_fields["data"].annotation for cls in OPERATION_CLASSES.values()]
TEXT = st.text(st.characters(codec=None), max_size=6) | st.sampled_from([AT, WORKFLOW, "\0", "\ud800", "x" * 300])
NAMES = st.sampled_from(
    sorted(
        {name for data in DATA_CLASSES for name in data.model_fields}
        | set(BLOCKS)
        | {"payload", "event_data", "event_id", "event_type", "envelope_version", "source_node_id", "source_service"}
        | {"original_topic", "original_message", "original_data", "value", "key", "event_timestamp", "session_id"}
    )
)
TYPES = st.sampled_from(
    ["workflow_started", "stamp-workflow-failed", "step_completed", "stamp_created", "state_transition"],
) | st.sampled_from(["state_aggregation_completed", "state_persisted", "node_heartbeat", "anything"])
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT | TYPES
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXT, inner, max_size=8), max_leaves=25
)
RECORD = JSON | st.builds(envelope, TYPES, st.dictionaries(NAMES, JSON, max_size=6))
ANY_TOPIC = TEXT | TYPES | st.builds("{}.{}.v1.dlq".format, TEXT, TYPES)


@settings(max_examples=400, deadline=None)
@given(topic=ANY_TOPIC, key=st.none() | TEXT, value=RECORD, timestamp=st.none() | st.integers() | TEXT)
def test_whatever_the_bus_delivers_becomes_an_item_that_survives_the_wire(
    topic: str, key: str | None, value: object, timestamp: int | str | None
) -> None:
    item = map_record(topic, key, value, timestamp=timestamp)
    (back,) = decode_batch(encode_batch([encode(item)]), task_id="t")
    same = ("operation_id", "operation_type", "digest")
    assert [getattr(back, name) for name in same] == [getattr(item, name) for name in same]
    assert map_record(topic, key, value, timestamp=timestamp) == item
