"""Operations as they travel: nothing is lost or invented between encode and decode, and a bad one stands alone."""

import json
import math
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omninode_bridge.contract.clock import TIMELESS, derived_uuid7, parse_instant, uuid7
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.json_text import payload_text
from omninode_bridge.contract.names import NO_NAME
from omninode_bridge.contract.operation import EventData, NodeHeartbeatData, Operation, WorkflowStepData
from omninode_bridge.contract.operation_types import operation_of
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.values import MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS, MAX_OPERATION_BYTES
from omninode_bridge.contract.wire import (
    content_digest,
    decode_batch,
    decode_items,
    decode_operation,
    decode_outcomes,
    encode,
    encode_batch,
    encode_outcomes,
    operation_digest,
    refusal_of,
    summary,
)

ID = "0f4e1a52-7f7c-4c39-8c3c-000000000001"
TRACE = UUID("0f4e1a52-7f7c-4c39-8c3c-000000000002")
AT = "2026-11-20T10:00:00+00:00"
ATTACK = "'; DROP TABLE users; --"
HEARTBEAT: dict[str, Any] = {"node_id": "n", "health_status": "HEALTHY", "last_heartbeat": AT}


def heartbeat(**fields: Any) -> Operation:
    return operation_of(NodeHeartbeatData.model_validate({**HEARTBEAT, **fields}), correlation_id=TRACE)


def step() -> Operation:
    data = {"workflow_id": ID, "step_name": "ü", "step_order": 1, "status": "FAILED", "step_data": {"a": [1.5, None]}}
    return operation_of(WorkflowStepData.model_validate(data), event=EventData(event_type="e", topic="t", payload={}))


def taken(raw: object, **more: Any) -> Operation:
    item = decode_operation(raw, seed="task:0", **more)
    assert isinstance(item, Operation), item
    return item


def refused(raw: object, **more: Any) -> Refusal:
    item = decode_operation(raw, seed="task:0", **more)
    assert isinstance(item, Refusal), item
    return item


def refusal() -> Refusal:
    return refusal_of(step(), "FUTURE", "occurred_at: ahead")


def test_what_is_encoded_is_decoded_to_the_same() -> None:
    operations, late = [heartbeat(), step()], refusal()
    *decoded, last = decode_batch(encode_batch([*map(encode, operations), encode(late)]), task_id="t")
    assert [item.model_copy(update={"digest": None}) for item in decoded] == operations
    assert [item.digest for item in decoded] == [operation_digest(operation) for operation in operations]
    assert last == late


def test_a_digest_that_was_sent_is_kept() -> None:
    operation = heartbeat().model_copy(update={"digest": "0" * 32})
    (decoded,) = decode_batch(encode_batch([encode(operation)]), task_id="t")
    assert decoded == operation


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"correlation_id": str(TRACE)},
        {"correlation_id": None, "event": None},
        {"event": {"event_type": "e", "payload": {"a": 1}}},
        {"digest": None},
        {"digest": "0" * 32},
        {"occurred_at": None},
        {"operation_id": None},
        {"operation_id": ID},
        {"occurred_at": "soon"},
        {"surprise": 1},
        {"operation_type": None},
        {"operation_type": ["x"]},
        {"operation_type": "refusal"},
        {"event": {"payload": 5}},
        {"data": None},
        {"data": {**HEARTBEAT, "metadata": {"a": "\0"}}},
    ],
)
def test_an_operation_is_decoded_the_same_in_a_batch_and_alone(more: dict[str, Any]) -> None:
    plain = {"operation_id": str(uuid7()), "operation_type": "update_node_heartbeat", "occurred_at": AT}
    raw = {**plain, "data": HEARTBEAT, **more}
    alone = decode_operation(json.loads(json.dumps(raw)), seed="t:0")
    (item,) = decode_batch(orjson.dumps([raw]).decode(), task_id="t")
    (listed,) = decode_items([raw], task_id="t")
    assert item == alone == listed and item.model_fields_set == alone.model_fields_set
    assert item.model_copy(update={"digest": None}).digest is None


def test_decoding_leaves_what_a_producer_sent_as_it_was() -> None:
    plain = {"operation_id": str(uuid7()), "operation_type": "update_node_heartbeat", "occurred_at": AT}
    raw = {**plain, "event": None, "data": HEARTBEAT}
    before = json.dumps(raw)
    decode_items([raw], task_id="t")
    assert json.dumps(raw) == before


def test_the_digest_depends_on_the_content_and_not_on_the_id() -> None:
    content = {"operation_type": "update_node_heartbeat", "occurred_at": AT, "data": HEARTBEAT}
    one, other = (taken({**content, "operation_id": str(uuid7())}) for _ in range(2))
    assert one.digest == other.digest and one.operation_id != other.operation_id
    assert taken({**content, "data": {**HEARTBEAT, "node_id": "m"}}).digest != one.digest
    assert taken({**content, "event": {"event_type": "e", "payload": {}}}).digest == one.digest


@pytest.mark.parametrize(
    ("raw", "operation_type"),
    [
        ({"operation_type": "update_node_heartbeat", "data": HEARTBEAT}, None),
        ({"data": HEARTBEAT}, "update_node_heartbeat"),
        ({"node_heartbeat_data": HEARTBEAT}, None),
        (HEARTBEAT, "update_node_heartbeat"),
    ],
)
def test_three_shapes_are_taken_and_get_a_time_and_an_id(raw: dict[str, Any], operation_type: str | None) -> None:
    operation = taken({**raw, "correlation_id": str(TRACE)}, operation_type=operation_type)
    assert operation.data == heartbeat().data and operation.correlation_id == TRACE
    assert operation.occurred_at == parse_instant(AT)
    assert operation.operation_id == derived_uuid7(parse_instant(AT), b"task:0")


def test_an_execution_sent_as_bare_fields_is_known_by_its_correlation_id() -> None:
    operation = taken({"correlation_id": ID, "current_state": "pending"}, operation_type="persist_workflow_execution")
    assert str(operation.correlation_id) == ID and operation.data.model_dump()["correlation_id"] == UUID(ID)
    assert operation.occurred_at == TIMELESS


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (5, "operation"),
        ([], "operation"),
        ({}, "operation_type"),
        ({"operation_type": "drop_table", "data": {}}, "operation_type"),
        ({"operation_type": ["x"], "data": {}}, "operation_type"),
        ({"operation_type": "update_node_heartbeat"}, "node_id"),
        ({"operation_type": "update_node_heartbeat", "data": 5}, "data"),
        ({"node_heartbeat_data": {**HEARTBEAT, "surprise": 1}}, "surprise"),
        ({"node_heartbeat_data": {**HEARTBEAT, "metadata": {"a": "\0"}}}, "metadata"),
        ({"node_heartbeat_data": HEARTBEAT, "operation_id": ID}, "operation_id"),
        ({"node_heartbeat_data": HEARTBEAT, "occurred_at": "soon"}, "occurred_at"),
        ({"node_heartbeat_data": HEARTBEAT, "correlation_id": "x"}, "correlation_id"),
        ({"node_heartbeat_data": HEARTBEAT, "digest": "x"}, "digest"),
        ({"operation_type": "refusal"}, "operation_id"),
    ],
)
def test_what_does_not_parse_is_refused_by_the_name_of_its_field(raw: object, field: str) -> None:
    item = refused(raw)
    assert item.message.startswith(f"{field}: ")
    assert (item.code, item.form) == ("VALIDATION_ERROR", "operation")
    assert json.loads(item.payload) == raw
    assert refused(raw) == item


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({**HEARTBEAT, ATTACK: 1}, f"{NO_NAME}: Extra inputs are not permitted"),
        ({**HEARTBEAT, "sur-prise.1": 1}, "sur-prise.1: Extra inputs are not permitted"),
        ({**HEARTBEAT, "metadata": {ATTACK: 2**64}}, f"metadata: {NO_NAME}: integer of more than 64 bits"),
        ({**HEARTBEAT, "metadata": {7: 1}}, "metadata.7.[key]: Input should be a valid string"),
        ({**HEARTBEAT, "metadata": {(ATTACK,): 1}}, f"metadata.{NO_NAME}.[key]: Input should be a valid string"),
    ],
)
def test_what_is_no_name_is_not_repeated_in_a_refusal(block: dict[Any, Any], message: str) -> None:
    assert refused({"node_heartbeat_data": block}).message == message


def test_a_refusal_keeps_the_id_and_the_trace_where_they_are_good() -> None:
    id_ = uuid7()
    item = refused({"operation_id": str(id_), "correlation_id": str(TRACE), "node_heartbeat_data": {}})
    assert (item.operation_id, item.correlation_id, item.refused_type) == (id_, TRACE, "update_node_heartbeat")


def test_one_bad_operation_leaves_its_neighbours_alone() -> None:
    good = [encode(heartbeat()), encode(step())]
    for bad in (b"5", b'{"operation_type":"x"}', b'{"node_heartbeat_data":{"node_id":NaN}}', b'{"a":"\\ud800"}'):
        first, second, third = decode_batch(encode_batch([good[0], bad, good[1]]), task_id="t")
        assert isinstance(first, Operation) and isinstance(second, Refusal) and isinstance(third, Operation)


def test_a_message_that_is_no_json_is_one_refusal_that_keeps_it() -> None:
    (item,) = decode_batch("[{not json", task_id="t")
    assert isinstance(item, Refusal) and item.message.startswith("batch: not JSON")
    assert json.loads(item.payload) == "[{not json"


def test_a_batch_is_bounded() -> None:
    (item,) = decode_batch(" " * (MAX_BATCH_BYTES + 1), task_id="t")
    assert isinstance(item, Refusal) and item.message == f"batch: more than {MAX_BATCH_BYTES} bytes"
    (item,) = decode_items([HEARTBEAT] * (MAX_BATCH_OPERATIONS + 1), task_id="t")
    assert isinstance(item, Refusal) and item.message.startswith("batch: 1001 operations")
    kind = "update_node_heartbeat"
    assert (
        len(decode_items([HEARTBEAT] * MAX_BATCH_OPERATIONS, task_id="t", operation_type=kind)) == MAX_BATCH_OPERATIONS
    )


def test_an_operation_is_bounded_at_both_ends() -> None:
    large = heartbeat(metadata={"a": "x" * MAX_OPERATION_BYTES})
    with pytest.raises(OnexError, match=r"operation: .* bytes, at most"):
        encode(large)
    text = encode_batch([orjson.dumps(large.model_dump(mode="json")), encode(heartbeat())])
    first, second = decode_batch(text, task_id="t")
    assert isinstance(first, Refusal) and first.message.startswith("operation: ")
    assert isinstance(second, Operation)


def test_operations_of_one_task_get_ids_of_their_own() -> None:
    kind = "update_node_heartbeat"
    ids = [item.operation_id for item in decode_items([HEARTBEAT, HEARTBEAT], task_id="t", operation_type=kind)]
    again = [item.operation_id for item in decode_items([HEARTBEAT, HEARTBEAT], task_id="t", operation_type=kind)]
    assert ids == again and len(set(ids)) == 2
    assert [item.operation_id for item in decode_items(HEARTBEAT, task_id="t", operation_type=kind)] == ids[:1]


def test_an_item_that_is_refused_later_keeps_its_id_content_and_origin() -> None:
    operation = step()
    item = refusal_of(operation, "FUTURE", "occurred_at: ahead")
    assert (item.operation_id, item.digest) == (operation.operation_id, operation_digest(operation))
    assert (item.refused_type, item.topic, item.code) == ("persist_workflow_step", "t", "FUTURE")
    again = decode_operation(json.loads(item.payload), seed="x")
    assert isinstance(again, Operation) and again.model_copy(update={"digest": None}) == operation
    assert refusal_of(item, "CONFLICT", "m").model_dump() == {**item.model_dump(), "code": "CONFLICT", "message": "m"}


def test_a_content_digest_depends_on_content_alone() -> None:
    assert content_digest({"a": 1, "b": [1]}) == content_digest({"b": [1], "a": 1})
    assert content_digest({"a": 1}) != content_digest({"a": "1"})
    assert len({content_digest(value) for value in ("\ud800", "\udfff", 2**70, {"a": "\ud800"})}) == 4


STATUSES = st.sampled_from(["applied", "duplicate", "refused"])


@given(statuses=st.lists(STATUSES, max_size=20))
def test_outcomes_come_back_in_order(statuses: list[Any]) -> None:
    why = {"refused": ("CONFLICT", "operation_id: used")}
    outcomes = [Outcome(uuid7(), status, *why.get(status, ())) for status in statuses]
    result = json.loads(json.dumps(encode_outcomes(outcomes)))
    assert decode_outcomes(result, [outcome.operation_id for outcome in outcomes]) == outcomes
    assert result["applied"] == statuses.count("applied")
    assert [outcome.committed for outcome in outcomes] == [status != "refused" for status in statuses]


def test_an_answer_about_another_batch_is_refused() -> None:
    with pytest.raises(OnexError, match="operations: "):
        decode_outcomes({"operations": 2, "applied": 2, "rest": []}, [uuid7()])


def test_the_summary_counts_and_shows_no_payload() -> None:
    assert summary([heartbeat(), step(), heartbeat()]) == "3 operations: 2 node_heartbeat, 1 workflow_step"
    assert summary([refusal()]) == "1 operation: 1 refusal"
    assert summary([]) == "0 operations"


@pytest.mark.parametrize("value", [{"a": None}, "null", ["\ud800", "\0"], {"n": 2**80}, {"a": 1.5}, "ü"])
def test_payload_text_is_json_that_a_text_column_holds(value: object) -> None:
    text = payload_text(value)
    assert "\0" not in text and json.loads(text.encode()) == value


def test_payload_text_keeps_nan_and_turns_other_objects_to_text() -> None:
    assert payload_text({"a": math.nan, "b": None}) == '{"a": NaN, "b": null}'
    assert json.loads(payload_text({"a": {1}})) == {"a": "{1}"}
    assert json.loads(payload_text({(1, 2): 3})) == "{(1, 2): 3}"
