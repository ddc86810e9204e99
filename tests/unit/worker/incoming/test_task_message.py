"""What of a message makes it a task of the fleet, and what else there may be in its place."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery.app.task import Context
from kombu.message import Message

from tests.living_worker import STEP, TASK
from worker.incoming import task_message
from worker.incoming.shapes import Unreadable
from worker.incoming.task_message import MAX_BODY_BYTES, check_task

KNOWN = {TASK}
OPTIONS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
SIGNATURE = {"task": TASK, "args": [], "kwargs": {}, "options": {"queue": "elsewhere"}}


def message(*, parts: Any = None, body: bytes | None = None, asked: Any = None, **headers: Any) -> Message:
    content = {"content_type": "application/json", "content_encoding": "utf-8"}
    return Message(
        body=json.dumps([[STEP], {}, OPTIONS] if parts is None else parts).encode() if body is None else body,
        headers={"task": TASK, "id": str(uuid4()), **headers},
        properties={"correlation_id": str(uuid4()), "reply_to": ""} if asked is None else asked,
        accept={"application/json"},
        **content,
    )


def reason_of(bad: Message) -> str:
    with pytest.raises(Unreadable) as found:
        check_task(bad, KNOWN)
    return str(found.value)


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_task_as_celery_writes_it_is_taken_and_its_body_decoded_once() -> None:
    good = message(
        lang="py",
        shadow=None,
        eta=None,
        expires=in_seconds(60),
        group=str(uuid4()),
        group_index=None,
        retries=0,
        timelimit=[None, 30],
        root_id=str(uuid4()),
        parent_id=None,
        argsrepr="1 operations: 1 workflow_step",
        kwargsrepr="{}",
        origin="gen1@host",
        ignore_result=False,
        replaced_task_nesting=0,
        stamped_headers=None,
        stamps={},
        traceparent={"of": ["somebody", 1]},
        callbacks=[],
    )
    check_task(good, KNOWN)
    good.body = b"not read again"
    assert good.payload[0] == [STEP]


def test_a_uuid_as_celery_s_json_carries_it_is_an_id() -> None:
    check_task(message(id=uuid4(), root_id=uuid4(), asked={"correlation_id": uuid4()}), KNOWN)


def test_the_shortest_message_that_is_a_task_is_taken() -> None:
    check_task(message(parts=[[], {}, None], asked={}), KNOWN)


ODD: list[Any] = [5, 1.5, True, "", [], {}, [1], {"a": 1}, "\x00", "\ud800", "x" * 300, -1, 2**70, 10**400]


@pytest.mark.parametrize("name", ["task", "id", "root_id", "parent_id", "group", "origin", "lang", "shadow"])
@pytest.mark.parametrize("value", ODD)
def test_a_name_is_short_printable_text(name: str, value: Any) -> None:
    assert reason_of(message(**{name: value})) == f"headers.{name}: not what a task has there"


@pytest.mark.parametrize("name", ["task", "id"])
def test_task_and_id_are_needed(name: str) -> None:
    assert reason_of(message(**{name: None})) == f"headers.{name}: missing"


ODD_HEADERS: dict[str, list[Any]] = {
    "retries": ["1", 1.5, -1, True, 2**31, [], {}],
    "group_index": ["1", 1.5, -1],
    "replaced_task_nesting": ["1", {}],
    "timelimit": [5, "55", [1], [1, 2, 3], ["1", None], [True, None], [-1, None], {}, [1e400, 1]],
    "expires": [5, "soon", "", [], "2026-13-45", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
    "eta": [5, 1e18, "soon", {}, "0001-01-01T00:00:00+14:00", "9999-01-01"],
    "argsrepr": [5, [], {}],
    "kwargsrepr": [5, [], {}],
    "ignore_result": [0, "no", []],
    "stamped_headers": ["x", [5], [["x"]], {}],
    "stamps": ["x", [5], 5],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, odd in ODD_HEADERS.items() for value in odd])
def test_a_header_that_celery_reads_has_its_shape(name: str, value: Any) -> None:
    assert reason_of(message(**{name: value})) == f"headers.{name}: not what a task has there"


@pytest.mark.parametrize("seconds", [-3600, 10])
def test_a_task_for_now_or_soon_is_taken(seconds: float) -> None:
    check_task(message(eta=in_seconds(seconds)), KNOWN)


def test_a_task_for_later_is_refused() -> None:
    assert reason_of(message(eta=in_seconds(3600))) == "headers.eta: not what a task has there"


@pytest.mark.parametrize("name", sorted(task_message._RESERVED))
@pytest.mark.parametrize("value", [5, 0, False, "x", [SIGNATURE], {"a": 1}])
def test_no_header_becomes_an_attribute_of_celery_s_own(name: str, value: Any) -> None:
    assert "chain" in task_message._RESERVED
    assert reason_of(message(**{name: value})) == "headers: one of Celery's own, which is not taken from a message"


def test_a_header_that_hides_a_method_is_refused_also_when_it_is_null() -> None:
    methods = [name for name in task_message._RESERVED if callable(getattr(Context, name))]
    assert {"get", "update"} <= set(methods)
    for name in methods:
        assert reason_of(message(**{name: None})).startswith("headers: ")


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize("value", [[SIGNATURE], SIGNATURE, "x", 1])
def test_no_option_makes_the_worker_send_something(name: str, value: Any) -> None:
    assert reason_of(message(parts=[[STEP], {}, {**OPTIONS, name: value}])).startswith("body: options that")


@pytest.mark.parametrize("options", [{"get": None}, {"id": "another"}, {"is_eager": True}])
def test_no_option_becomes_an_attribute_of_celery_s_own(options: Any) -> None:
    assert reason_of(message(parts=[[STEP], {}, options])).startswith("body: options that")


@pytest.mark.parametrize("parts", [5, "x", {}, {"args": []}, [], [[]], [[], {}], [[], {}, {}, {}], "abc", True])
def test_a_body_is_a_list_of_three(parts: Any) -> None:
    assert reason_of(message(parts=parts)) == "body: not a list of arguments, keyword arguments and options"


@pytest.mark.parametrize("parts", [[{}, {}, {}], ["x", {}, {}], [[], [], {}], [[], None, {}], [None, {}, {}]])
def test_arguments_are_a_list_and_an_object(parts: Any) -> None:
    assert reason_of(message(parts=parts)) == "body: arguments are no list, or keyword arguments no object"


@pytest.mark.parametrize("options", [5, [], "x"])
def test_options_are_an_object(options: Any) -> None:
    assert reason_of(message(parts=[[], {}, options])) == "body: options are no object"


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"\xff\xfe",
        b"[" * 100_000,
        b'[[], {}, {"x": {"__type__": "uuid", "__value__": 5}}]',
        b'[[{"__type__": "decimal", "__value__": "x"}], {}, {}]',
        b"[[" + b"9" * 5000 + b"], {}, {}]",
    ],
)
def test_a_body_is_json(body: bytes) -> None:
    assert reason_of(message(body=body)) == "body: not JSON"


def test_a_body_is_bounded_before_it_is_read() -> None:
    assert reason_of(message(body=b"[" + b" " * MAX_BODY_BYTES)) == f"body: larger than {MAX_BODY_BYTES} bytes"


@pytest.mark.parametrize(
    "value", [None, "", "application/x-python-serialize", "application/data", "text/plain", "APPLICATION/JSON", 5]
)
def test_another_content_type_is_not_read(value: Any) -> None:
    bad = message()
    bad.content_type = value
    assert reason_of(bad) == "content type: not application/json"


@pytest.mark.parametrize("value", ["utf-16", "zlib_codec", "rot13", "punycode", "binary", "nothing", 5, ["utf-8"]])
def test_another_content_encoding_is_not_read(value: Any) -> None:
    bad = message()
    bad.content_encoding = value
    assert reason_of(bad) == "content encoding: not utf-8"


@pytest.mark.parametrize("name", ["correlation_id", "reply_to"])
@pytest.mark.parametrize("value", [5, [], {"a": 1}, "x" * 300, "\ud800", True])
def test_properties_that_celery_reads_are_names(name: str, value: Any) -> None:
    assert reason_of(message(asked={name: value})) == f"properties.{name}: no name"


def test_headers_are_bounded_in_depth_and_number() -> None:
    deep: Any = "x"
    for _ in range(20):
        deep = [deep]
    assert reason_of(message(x=deep)) == "headers, properties: nested too deep, or too many"
    assert reason_of(message(x=list(range(3000)))) == "headers, properties: nested too deep, or too many"
    assert reason_of(message(asked={"x": deep})) == "headers, properties: nested too deep, or too many"


def test_an_unknown_task_is_told_last() -> None:
    assert reason_of(message(task="omninode.unknown")) == task_message.UNREGISTERED
    assert reason_of(message(task="omninode.unknown", retries="x")).startswith("headers.retries")
