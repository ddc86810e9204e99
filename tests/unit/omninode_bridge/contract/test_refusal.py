"""A refusal on its way: whatever its size it arrives as the refusal that it is."""

import json
from typing import Any

import pytest

from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.refusal import CUT_CHARS, MAX_PAYLOAD_BYTES, Refusal, cut_payload, is_cut
from omninode_bridge.contract.values import MAX_BATCH_BYTES, MAX_OPERATION_BYTES
from omninode_bridge.contract.wire import decode_batch, encode, encode_batch
from omninode_bridge.intents.intents import intent_item
from tests.bus_records import AT, OTHER, TOPIC, step
from worker.intake.bus_values import value_of
from worker.intake.ingest import parse_line

MEGABYTE = 1_000_000


def travelled(item: object) -> Refusal:
    assert isinstance(item, Refusal)
    text = encode_batch([encode(item)])
    assert len(text.encode()) < MAX_BATCH_BYTES * 9 // 10
    (back,) = decode_batch(text, task_id="t")
    assert isinstance(back, Refusal)
    same = ("operation_id", "refused_type", "correlation_id", "digest", "code", "message", "form", "topic")
    assert [getattr(back, name) for name in same] == [getattr(item, name) for name in same]
    return back


LARGE: dict[str, object] = {
    "no JSON": b"x" * 5 * MEGABYTE,
    "no UTF-8": b"\xff" * 2 * MEGABYTE,
    "controls": b"\x01" * MEGABYTE,
    "quotes": b'{"' + b'"' * 4 * MEGABYTE,
    "four bytes": "\U0001f600".encode() * MEGABYTE,
    "an object": json.dumps({"correlation_id": OTHER, "x": "y" * 5 * MEGABYTE}).encode(),
}


@pytest.mark.parametrize("raw", LARGE.values(), ids=list(LARGE))
def test_a_record_larger_than_a_batch_is_kept_by_its_beginning_under_its_own_id(raw: bytes) -> None:
    refusal = map_record(TOPIC, "k", value_of(raw))
    back = travelled(refusal)
    assert is_cut(back.payload) and back.topic == TOPIC and back.partition_key == "k"
    assert isinstance(refusal, Refusal) and back.payload[:CUT_CHARS] == refusal.payload[:CUT_CHARS]
    assert back.payload.endswith(f"... [cut: {len(refusal.payload.encode())} bytes in all]")
    assert travelled(back) == back


def test_records_that_differ_behind_the_cut_are_two() -> None:
    one, other = (map_record(TOPIC, "k", "x" * 4 * MEGABYTE + last) for last in "ab")
    assert travelled(one).operation_id != travelled(other).operation_id and one.digest != other.digest


def test_a_line_larger_than_a_batch_is_kept_by_its_beginning() -> None:
    assert is_cut(travelled(parse_line(b"{" * 5 * MEGABYTE)).payload)


def test_an_intent_larger_than_a_batch_says_that_it_is_too_large() -> None:
    payload = {"event_type": "done", "timestamp": AT, "data": {"correlation_id": OTHER, "x": "y" * 6 * MEGABYTE}}
    back = travelled(intent_item({"intent_type": "PublishEvent", "payload": payload}))
    assert back.message.startswith("operation: 6") and back.message.endswith("are taken")
    assert back.refused_type == "publish_event" and str(back.correlation_id) == OTHER


def test_what_fits_travels_whole() -> None:
    refusal = map_record(TOPIC, "k", "x" * 2 * MEGABYTE)
    assert travelled(refusal) == refusal and not is_cut(travelled(refusal).payload)


def test_what_was_not_sent_is_whole_however_large() -> None:
    refusal = map_record(TOPIC, "k", "x" * 5 * MEGABYTE)
    assert isinstance(refusal, Refusal) and json.loads(refusal.payload) == "x" * 5 * MEGABYTE


@pytest.mark.parametrize("end", ['"', "]", "... [cut: 5 bytes in all]", '... [cut: 5 bytes in all]"'])
def test_only_a_text_that_was_cut_is_taken_for_one(end: str) -> None:
    assert not is_cut('"' + end) and not is_cut(json.dumps("x" * CUT_CHARS + end))
    assert cut_payload("short") == "short" and is_cut(cut_payload("x" * (MAX_PAYLOAD_BYTES + 1)))


def test_an_operation_whose_event_is_too_large_is_refused_as_well() -> None:
    record: dict[str, Any] = {**step(), "noise": "x" * (MAX_OPERATION_BYTES + 1)}
    back = travelled(map_record(TOPIC, "k", record))
    assert back.message.startswith("event: 1") and back.refused_type == "persist_workflow_step"
    assert isinstance(map_record(TOPIC, "k", record | {"noise": "x" * (MAX_OPERATION_BYTES // 2)}), Operation)
