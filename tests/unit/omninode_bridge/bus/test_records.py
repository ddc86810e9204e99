"""When a record happened, which id it gets, and what a dead-letter record holds."""

import json
from typing import Any

import orjson
import pytest

from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.clock import TIMELESS, derived_uuid7, parse_instant
from omninode_bridge.contract.json_text import payload_text
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.wire import content_digest
from tests.bus_records import AT, LATER, OTHER, TOPIC, WORKFLOW, envelope, mapped, refused, step

T = [f"2026-11-20T10:00:{second:02}+00:00" for second in range(20)]
TIMES = [
    ({"timestamp": T[1], "completed_at": T[2]}, {"event_timestamp": T[9]}, T[1]),
    ({"timestamp": None, "completed_at": T[2], "started_at": T[3]}, {}, T[2]),
    ({"started_at": T[3], "created_at": T[4]}, {}, T[3]),
    ({"created_at": T[4], "last_aggregation_timestamp": T[5]}, {}, T[4]),
    ({"last_aggregation_timestamp": T[5], "last_heartbeat": T[6]}, {}, T[5]),
    ({"last_heartbeat": T[6], "transition_at": T[7]}, {}, T[6]),
    ({"transition_at": T[7]}, {"event_timestamp": T[9]}, T[7]),
    ({}, {"event_timestamp": T[9], "timestamp": T[10]}, T[9]),
    ({}, {"event_timestamp": None, "timestamp": T[10]}, T[10]),
    ({}, {"event_timestamp": None}, T[11]),
]


@pytest.mark.parametrize(("own", "around", "expected"), TIMES)
def test_the_first_time_that_is_given_counts(own: dict[str, Any], around: dict[str, Any], expected: str) -> None:
    values = [envelope("thing", own, **around), {"event_type": "thing", "event_data": own, **around}]
    if "timestamp" not in own:
        values.append({"node_heartbeat_data": {"node_id": "n", "health_status": "x", **own}, **around})
    for value in values:
        item = map_record(TOPIC, None, value, timestamp=T[11])
        assert isinstance(item, Operation) and item.occurred_at == parse_instant(expected)


def test_a_blocks_own_time_comes_before_the_time_beside_it() -> None:
    assert mapped({**step(created_at=T[1]), "timestamp": T[5]}).occurred_at == parse_instant(T[1])
    assert mapped({**step(created_at=None), "timestamp": T[5]}).occurred_at == parse_instant(T[5])
    assert mapped(envelope("x", {**step(created_at=T[1]), "timestamp": T[5]})).occurred_at == parse_instant(T[5])


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (0, TIMELESS),
        (1_795_168_800_123, parse_instant("2026-11-20T10:00:00.123Z")),
        ("2026-11-20T12:00:00+02:00", parse_instant(AT)),
        ("2026-11-20T10:00:00", parse_instant(AT)),
        (-1, TIMELESS),
        (None, TIMELESS),
    ],
)
def test_a_record_without_any_time_takes_the_buss_own(timestamp: int | str | None, expected: Any) -> None:
    item = map_record(TOPIC, None, {"event_data": {}}, timestamp=timestamp)
    assert isinstance(item, Operation) and item.occurred_at == expected


@pytest.mark.parametrize("timestamp", ["soon", 10**15, 10**30, True, 1.5])
def test_a_bus_time_that_is_none_is_refused_by_name(timestamp: Any) -> None:
    item = map_record(TOPIC, None, {"event_data": {}}, timestamp=timestamp)
    assert not isinstance(item, Operation) and item.message.startswith("timestamp: ")


def test_an_envelope_is_known_by_its_event_id_however_it_is_published_anew() -> None:
    value = envelope("workflow_started", {"workflow_id": WORKFLOW, "timestamp": AT, "published_at": AT})
    anew = {**value, "event_timestamp": T[9], "payload": {**value["payload"], "published_at": T[9]}}
    first, again = mapped(value), mapped(anew, "omninode_bridge.workflow.events.workflow_started", "another key")
    assert first.operation_id == again.operation_id == derived_uuid7(parse_instant(AT), b"event-1")
    assert (
        first.digest == again.digest == content_digest(["workflow_started", {"workflow_id": WORKFLOW, "timestamp": AT}])
    )


def test_the_same_event_id_with_another_content_has_another_digest() -> None:
    one, other = (mapped(envelope("thing", {"timestamp": AT, "n": n})) for n in (1, 2))
    assert one.operation_id == other.operation_id and one.digest != other.digest


def test_a_bare_object_is_known_by_its_type_and_content_whatever_its_topic() -> None:
    value = step()
    topics = ["dev.omninode-bridge.step-completed.v1", "a.b.step_completed", "x.step-completed.v2.dlq"]
    topics += [
        "X.STEP-COMPLETED.V1",
        "x.step-completed.v1.DLQ",
        "x.step-completed.V1.dlq.dlq.Dlq",
        "step_completed.dlq",
    ]
    ids = {mapped(value, topic).operation_id for topic in topics}
    canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    assert ids == {derived_uuid7(parse_instant(AT), b"step_completed\n" + canonical)}
    reordered = dict(reversed(list(value.items())))
    assert mapped(reordered, topics[0]).operation_id in ids
    assert mapped(value).digest == mapped(reordered).digest == content_digest(value)
    assert mapped({**value, "more": 1}, topics[0]).operation_id not in ids
    assert mapped(value, "dev.omninode-bridge.thing.v1").operation_id not in ids


def test_a_refusal_has_the_id_that_the_operation_would_have_had() -> None:
    bad = step(step_name="")
    assert refused(bad).operation_id == derived_uuid7(
        parse_instant(AT), b"thing\n" + orjson.dumps(bad, option=orjson.OPT_SORT_KEYS)
    )
    assert refused(bad).digest == content_digest(bad)
    late = envelope("thing", {"timestamp": "soon"})
    assert refused(late).operation_id == derived_uuid7(TIMELESS, b"event-1")


def test_what_is_no_json_is_known_by_its_bytes() -> None:
    refusal = refused("{not json \ud800")
    assert refusal.operation_id == derived_uuid7(TIMELESS, "{not json \ud800".encode(errors="surrogatepass"))
    assert json.loads(refusal.payload) == "{not json \ud800"


def adapter_shape(topic: str, message: object) -> dict[str, Any]:
    context = {"correlation_id": OTHER, "operation_type": "event_routing", "retry_count": 0}
    failed = {"error_type": "E", "error_message": "m", "error_context": context, "failed_at": LATER, "retry_count": 0}
    where = {"original_partition": 1, "original_offset": 2, "original_timestamp": 5}
    return {"original_message": message, "original_topic": topic, **where, **failed}


def producer_shape(topic: str, message: object) -> dict[str, Any]:
    failed = {"failure_reason": "r", "failure_timestamp": LATER, "retry_attempts": 3}
    return {"original_topic": topic, "original_key": "k", "original_data": message, **failed}


def successor_shape(topic: str, message: object) -> dict[str, Any]:
    original = {"key": "k", "value": json.dumps(message), "offset": "3", "partition": 0}
    failed = {"failure_reason": "r", "failure_timestamp": LATER, "correlation_id": OTHER, "retry_count": 1}
    return {"original_topic": topic, "original_message": original, **failed, "error_type": "E"}


SHAPES = [adapter_shape, producer_shape, successor_shape]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wrapped", [lambda value: value, json.dumps], ids=["object", "text"])
@pytest.mark.parametrize("value", [envelope("step_completed", {**step()}), step()], ids=["envelope", "bare"])
def test_a_dead_letter_is_read_as_the_message_that_it_holds(shape: Any, wrapped: Any, value: dict[str, Any]) -> None:
    topic = "dev.omninode-bridge.step-completed.v1"
    if shape is successor_shape and wrapped is json.dumps:
        wrapped = dict
    letter = shape(topic, wrapped(value))
    for suffix in (".dlq", ".DLQ"):
        assert mapped(letter, topic + suffix, key="k") == mapped(value, topic, key="k")


def test_a_dead_letter_of_a_dead_letter_is_read_up_to_three_deep() -> None:
    topic, letter = "a.b.step-completed.v1", step()
    direct = mapped(letter, topic)
    for _ in range(3):
        letter, topic = adapter_shape(topic, letter), f"{topic}.dlq"
        assert mapped(letter, topic) == direct
    letter, topic = adapter_shape(topic, letter), f"{topic}.dlq"
    refusal = refused(letter, topic)
    assert refusal.message.startswith("original_message: ")
    assert (refusal.topic, json.loads(refusal.payload)) == (topic, letter)


def test_a_dead_letters_shape_on_another_topic_is_an_event_like_any_other() -> None:
    operation = mapped(adapter_shape("a.b.step-completed.v1", step()), "a.b.letters.v1")
    assert operation.operation_type == "record_event"


def test_a_record_on_a_dead_letter_topic_without_that_shape_is_read_as_it_is() -> None:
    assert mapped(step(), "a.b.step-completed.v1.dlq").operation_type == "persist_workflow_step"


def test_a_dead_letter_that_holds_no_json_is_refused_as_the_message_was() -> None:
    topic = "a.b.step-completed.v1"
    letter = adapter_shape(topic, "{not json")
    refusal = refused(letter, f"{topic}.dlq")
    assert refusal.operation_id == refused("{not json", topic).operation_id
    assert (refusal.message, refusal.topic) == ("value: not JSON", f"{topic}.dlq")
    assert json.loads(refusal.payload) == letter


def test_a_dead_letter_without_a_time_takes_its_originals() -> None:
    letter = adapter_shape("a.b.thing.v1", {"event_data": {}})
    assert mapped(letter, "a.b.thing.v1.dlq").occurred_at == parse_instant("1970-01-01T00:00:00.005Z")


def test_a_dead_letter_must_name_its_topic_by_text_or_not_at_all() -> None:
    letter = adapter_shape("", step())
    assert refused({**letter, "original_topic": 5}, "a.step-completed.dlq").message == "original_topic: not text"
    operation = mapped({**letter, "original_topic": None}, "a.step-completed.Dlq")
    assert operation.event is not None and operation.event.topic == "a.step-completed"


@pytest.mark.parametrize("value", [{}, [], {"a": []}, {"a": [1, {"b": None}, "c\n", 1.5, True]}, [[], {}, [[]]]])
def test_text_of_a_deep_value_is_the_json_of_that_value(value: Any) -> None:
    deep: Any = value
    for _ in range(2000):
        deep = [0, {"x": deep, "y": 1}]
    text = payload_text(deep)
    opening, closing = '[0,{"x":' * 2000, ',"y":1}]' * 2000
    assert text.startswith(opening) and text.endswith(closing)
    assert json.loads(text[len(opening) : -len(closing)]) == value
