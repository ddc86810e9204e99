"""JSON is read as exactly as it was written, in records, dead letters, lines of a file and arguments of tasks."""

import json
import math
from typing import Any

import pytest

from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.json_text import exact_json
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.refusal import Refusal
from tasks.persist import decode
from tests.bus_records import TOPIC
from worker.intake.bus_values import value_of
from worker.intake.ingest import parse_line

TOO_LARGE = ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890", "1" * 400]


@pytest.mark.parametrize("digits", TOO_LARGE)
def test_integers_beyond_64_bits_are_read_as_they_are(digits: str) -> None:
    for text in (digits, f'{{"a":[{digits}, "x"]}}', f'{{"a":"é",{json.dumps("b")}:{digits}}}'):
        assert exact_json(text) == exact_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("digits", TOO_LARGE)
def test_they_are_refused_by_name_and_never_taken_for_another_one(digits: str) -> None:
    items = []
    for last in (digits, digits[:-1] + str((int(digits[-1]) + 1) % 10)):
        value = f'{{"event_type":"counted","payload_version":1,"n":{last}}}'
        letter = f'{{"original_topic":"{TOPIC}","original_message":{value}}}'
        for item in (
            map_record(TOPIC, None, value_of(value.encode())),
            map_record(TOPIC + ".dlq", None, value_of(letter.encode())),
            parse_line(f'{{"topic":"{TOPIC}","value":{value}}}'.encode()),
        ):
            if len(last.lstrip("-")) > 19 or int(last) < -(2**63):
                assert isinstance(item, Refusal) and item.message == "payload: n: integer of more than 64 bits", last
                assert last in item.payload
            items.append(item)
    assert len({item.operation_id for item in items}) == len({item.digest for item in items}) == 2


@pytest.mark.parametrize(
    "value", [2**64 - 1, -(2**63), 10**18, 0.1234567890123456789, 1e25, "1" * 30, {"1" * 25: None}, [1.5] * 20]
)
def test_what_only_looks_long_is_what_it_was(value: Any) -> None:
    text = json.dumps(value)
    assert exact_json(text) == exact_json(text.encode()) == value


def test_nan_and_lone_surrogates_are_read_to_be_refused_by_name() -> None:
    read = exact_json('{"a":NaN,"b":"\\ud800"}')
    assert isinstance(read, dict) and math.isnan(read["a"]) and read["b"] == "\ud800"


@pytest.mark.parametrize(
    "text", ["", "{", "text", b"\xff", b"\xff\xfe{\0}\0", "[" * 100_000, "1" * 5000, "\ufeff\ufeff1"]
)
def test_what_is_no_json_is_none(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        exact_json(text)


def test_a_byte_order_mark_is_passed_over() -> None:
    raw = b'{"event_type":"counted","n":1}'
    marked = b"\xef\xbb\xbf" + raw
    assert map_record(TOPIC, None, value_of(marked)) == map_record(TOPIC, None, value_of(raw))
    item = parse_line(b'\xef\xbb\xbf{"topic":"a.counted","value":{"n":1}}')
    assert isinstance(item, Operation) and item.operation_type == "record_event"


def test_a_tasks_argument_is_the_same_as_text_and_as_what_celery_reads() -> None:
    for n in (2**64, 2**64 + 1, float("nan"), 1):
        argument = {"node_id": "n", "health_status": "HEALTHY", "metadata": {"n": n}}
        (as_object,) = decode(argument, task_id="t", operation_type="update_node_heartbeat")
        for text in (json.dumps(argument), "\ufeff" + json.dumps([argument])):
            assert decode(text, task_id="t", operation_type="update_node_heartbeat") == [as_object]
        assert isinstance(as_object, Operation) == (n == 1)
