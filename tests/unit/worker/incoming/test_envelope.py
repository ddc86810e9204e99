"""What kombu relies on in a message of a Redis-protocol broker."""

import json
from typing import Any

import pytest

from tests.living_worker import step_message
from worker.incoming.envelope import MAX_AROUND_BODY_BYTES, MAX_MESSAGE_BYTES, put_in_place, read_envelope
from worker.incoming.shapes import Unreadable


def reason_of(raw: Any) -> str:
    with pytest.raises(Unreadable) as found:
        read_envelope(raw if isinstance(raw, bytes) else json.dumps(raw).encode())
    return str(found.value)


def changed(*place: str, value: Any = None, gone: bool = False) -> dict[str, Any]:
    message: Any = step_message()
    inner = message
    for name in place[:-1]:
        inner = inner[name]
    inner.pop(place[-1], None)
    if not gone:
        inner[place[-1]] = value
    return dict(message)


def test_a_message_as_celery_writes_it_is_read_as_it_is() -> None:
    message = step_message()
    assert read_envelope(json.dumps(message).encode()) == message


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"not json at all", b"\xff\xfe", b"\x80\x04K\x05.", b"{", b"[" * 100_000, b"9" * 5000,
        b'{"__type__": "uuid", "__value__": 5}', b'{"__type__": [], "__value__": 5}', '"é'.encode("latin-1"),
    ],
)  # fmt: skip
def test_what_is_not_json_is_no_message(raw: bytes) -> None:
    assert reason_of(raw) == "not JSON in UTF-8"


@pytest.mark.parametrize("value", [5, None, "text", [], [{}], True, 1.5, {"__type__": "bytes", "__value__": "x"}])
def test_json_of_another_kind_is_no_message(value: Any) -> None:
    assert reason_of(value) == "no JSON object"


ODD: list[Any] = [None, 5, [], "", True]


@pytest.mark.parametrize(
    ("place", "values", "reason"),
    [
        (("body",), [None, 5, [], {}, "", True], "body: no text"),
        (("headers",), [None, 5, [], "x"], "headers: no object"),
        (("properties",), [None, 5, [], "x"], "properties: no object"),
        (("properties", "delivery_tag"), ["x" * 300], "properties.delivery_tag: no name"),
        (("properties", "delivery_tag"), [None, 5, [], {}, "", "\ud800", "\x00"], "delivery_tag: no name"),
        (("properties", "delivery_info"), [None, 5, [], "x"], "properties.delivery_info: no object"),
        (("properties", "delivery_info", "exchange"), [None, 5, [], {}], "are not both text"),
        (("properties", "delivery_info", "routing_key"), [None, 5, [], {}], "are not both text"),
        (("properties", "body_encoding"), [5, [], {}, "", "BASE64", "zlib", "rot13"], "body_encoding: unknown"),
        (("properties", "priority"), ["0", 1.5, -1, 10**400, True, [], {}, float("inf")], "priority: no small number"),
        (("content-type",), [5, [], {}, "", "\ud800"], "content-type: no name"),
        (("content-encoding",), [5, [], {}, "", "\ud800"], "content-encoding: no name"),
    ],
)  # fmt: skip
def test_every_part_that_kombu_uses_has_its_shape(place: tuple[str, ...], values: list[Any], reason: str) -> None:
    for value in values:
        assert reason_of(changed(*place, value=value)).endswith(reason), value
    if place[-1] not in ("body_encoding", "priority", "content-type", "content-encoding"):
        assert reason_of(changed(*place, gone=True)).endswith(reason)


def test_what_stands_around_the_body_is_bounded_in_depth_number_and_size() -> None:
    deep = json.loads("[" * 20 + "]" * 20)
    for place in (("x",), ("headers", "x"), ("properties", "x"), ("properties", "delivery_info", "x")):
        assert reason_of(changed(*place, value=deep)) == "headers, properties: nested too deep, or too many"
    assert reason_of(changed("headers", "x", value=[0] * 5000)) == "headers, properties: nested too deep, or too many"
    assert reason_of(changed("headers", "x", value="x" * MAX_AROUND_BODY_BYTES)).endswith("bytes around its body")


def test_a_message_is_bounded_before_it_is_read() -> None:
    assert reason_of(b"[" * (MAX_MESSAGE_BYTES + 1)) == f"larger than {MAX_MESSAGE_BYTES} bytes"


def test_a_message_is_noted_to_be_where_it_was_found_under_a_tag_of_its_own() -> None:
    one = step_message(queue="intents")
    two = json.loads(json.dumps(one))
    one["properties"]["delivery_info"]["redelivered"] = True
    put_in_place(one, "persist")
    put_in_place(two, "persist")
    assert one["properties"]["delivery_info"] == {"exchange": "", "routing_key": "persist", "redelivered": True}
    assert one["properties"]["delivery_tag"] != two["properties"]["delivery_tag"]
