"""Queries over the bus: what a record that asks becomes, and by what its asker knows the answer."""

import math
from typing import Any
from uuid import UUID

import pytest

from omninode_bridge.bus.envelope import announcement_id
from omninode_bridge.bus.queries import consumed_item, told_asker
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.query_operation import AnswerQueryData
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import refusal_of
from store.outbox.announcements import Announcement, AnsweredQueryData, of_operation, of_refusal
from tests.bus_records import OTHER, TOPIC, WORKFLOW, envelope, step

ASKED = "dev.omninode_bridge.onex.evt.query-requested.v1"
QUERY = {"entity_type": "workflow_execution", "limit": 1}


def requested(payload: Any = QUERY, **fields: Any) -> dict[str, Any]:
    return envelope("QUERY_REQUESTED", payload, **{"correlation_id": OTHER} | fields)


def query(value: object, key: str | None = "k", topic: str = ASKED) -> Operation:
    item = consumed_item(topic, key, value)
    assert isinstance(item, Operation) and isinstance(item.data, AnswerQueryData), item
    return item


@pytest.mark.parametrize(
    "value", [requested(), QUERY | {"correlation_id": OTHER}, {"event_data": QUERY, "correlation_id": OTHER}]
)
def test_a_record_that_asks_becomes_its_query_under_the_events_id(value: dict[str, Any]) -> None:
    item = query(value)
    assert {name: item.data.query[name] for name in QUERY} == QUERY  # type: ignore[attr-defined]  # checked above
    assert item.correlation_id == UUID(OTHER) and item.event is not None and item.event.topic == ASKED
    again = query(value)
    assert (again.operation_id, again.digest) == (item.operation_id, item.digest)


UNREADABLE: list[object] = [
    requested(payload="text"),
    requested(payload={"filters": {"namespace": "a\0"}}),
    requested(payload={"timestamp": "x"}),
    requested(payload={"filters": {"n": math.nan}}),
    requested(payload={"filters": {"n": 2**70}}),
    requested(payload={"filters": {"a": "x" * 2_000_000}}),
    {**QUERY, "correlation_id": OTHER, "payload": 5},
]


@pytest.mark.parametrize("value", UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_query_that_cannot_be_read_is_refused_as_a_query(value: object) -> None:
    for topic, delivered in ((ASKED, value), (f"{ASKED}.DLQ", {"original_topic": ASKED, "original_message": value})):
        item = consumed_item(topic, "k", delivered)
        assert isinstance(item, Refusal) and item.refused_type == "answer_query" and item.correlation_id == UUID(OTHER)


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        (TOPIC, {"payload": 5}),
        (ASKED, step(step_name="")),
        (f"{ASKED}.dlq", {"original_topic": 5, "original_message": QUERY}),
    ],
)
def test_no_other_refusal_is_a_querys(topic: str, value: object) -> None:
    item = consumed_item(topic, "k", value)
    assert isinstance(item, Refusal) and item.refused_type != "answer_query"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (requested(), OTHER),
        (requested(correlation_id=OTHER.upper()), OTHER),
        (requested(correlation_id="me"), "me"),
        (requested({**QUERY, "correlation_id": "me"}, correlation_id=None), "me"),
        (QUERY | {"correlation_id": "me"}, "me"),
        ({"event_data": QUERY | {"correlation_id": "me"}}, "me"),
        (requested(correlation_id="me " * 200), "k"),
        (requested(correlation_id=" "), "k"),
        (requested(correlation_id=5), "k"),
        (requested(correlation_id=None), "k"),
    ],
)
def test_an_asker_is_told_by_what_it_gave_or_else_by_its_records_key(value: dict[str, Any], told: str) -> None:
    assert told_asker(query(value)) == told
    answer = announced(query(value))
    assert answer.payload["correlation_id"] == answer.partition_key == told


def test_an_asker_that_gave_nothing_is_answered_all_the_same() -> None:
    answer = announced(query(requested(correlation_id=None), key=None))
    assert answer.payload["correlation_id"] is None and answer.partition_key


def announced(asked: Operation) -> Announcement:
    data = AnsweredQueryData(query={}, succeeded=True, answer={"success": True, "rows": []})
    one = of_operation(asked.model_copy(update={"data": data}), "development")
    assert one is not None and one.id == announcement_id(asked.operation_id)
    return one


@pytest.mark.parametrize(("trace", "key", "told"), [(OTHER, "k", OTHER), ("me", "k", "k"), (None, None, None)])
def test_a_refused_query_is_answered_as_one_that_failed(trace: str | None, key: str | None, told: str | None) -> None:
    refusals = [
        consumed_item(ASKED, key, requested(payload="text", correlation_id=trace)),
        refusal_of(query(requested(correlation_id=trace), key), "FUTURE", "occurred_at: ahead"),
    ]
    for refusal in refusals:
        assert isinstance(refusal, Refusal)
        one, again = of_refusal(refusal, "development"), of_refusal(refusal, "development")
        assert one is not None and again is not None and one.id == again.id
        assert one.topic == "dev.omninode-bridge.database.query-failed.v1" and one.envelope is None
        assert one.payload.pop("timestamp")
        error = f"{refusal.code}: {refusal.message}"
        assert one.payload == {"correlation_id": told, "success": False, "error": error}
        assert one.partition_key == (told or str(one.id)) and one.event_type == "query_failed"


def test_a_refused_event_that_only_looks_like_a_query_is_not_answered() -> None:
    item = consumed_item(ASKED, "k", {**step(step_name=""), "event_type": "query_requested"})
    assert isinstance(item, Refusal) and of_refusal(item, "development") is None
    assert of_refusal(item.model_copy(update={"refused_type": "record_event"}), "development") is None
    assert WORKFLOW in item.payload
