"""Under which id an intent counts once, and what is copied of it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omninode_bridge.contract.clock import derived_uuid7, is_uuid7, uuid7, uuid7_millis
from omninode_bridge.contract.intent_operation import PublishEventData
from omninode_bridge.contract.wire import Item, decode_batch, encode, encode_batch
from tests.intent_payloads import (
    AGGREGATION,
    AT,
    GOOD,
    WHEN,
    WORKFLOW,
    flat_event,
    move,
    operation,
    record,
    refused,
    spellings,
    state,
)


@pytest.mark.parametrize(("kind", "payload"), GOOD)
def test_the_same_intent_gets_the_same_id_and_digest(kind: str, payload: dict[str, Any]) -> None:
    one, again = operation(kind, payload), operation(kind.upper(), orjson.loads(orjson.dumps(payload)), priority=3)
    assert one == again
    assert is_uuid7(one.operation_id) and uuid7_millis(one.operation_id) == int(one.occurred_at.timestamp() * 1000)


@pytest.mark.parametrize("kind", spellings())
def test_what_means_the_same_has_one_id_and_digest_however_it_is_written(kind: str) -> None:
    written = [operation(named, payload, priority=n) for n, (named, payload) in enumerate(spellings()[kind])]
    assert len({(one.operation_id, one.digest) for one in written}) == 1
    assert len({(one.occurred_at, one.correlation_id) for one in written}) == 1


@given(st.data())
def test_nulls_and_the_order_of_keys_are_no_part_of_what_an_intent_means(data: st.DataObject) -> None:
    kind, payload = data.draw(st.sampled_from([written[0] for written in spellings().values()]))
    beside = {"PublishEvent": ["topic", "partition_key", "correlation_id", "data"]}
    unsaid = data.draw(st.sets(st.sampled_from(beside.get(kind, ["correlation_id"]))))
    members = data.draw(st.permutations([*payload.items(), *((name, None) for name in unsaid)]))
    one, other = operation(kind, payload), operation(kind, dict(members))
    assert (one.operation_id, one.digest) == (other.operation_id, other.digest)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("PublishEvent", flat_event(), flat_event(batch_size=101)),
        ("PublishEvent", flat_event(), flat_event(timestamp="2026-10-23T10:00:00.001Z")),
        ("PublishEvent", flat_event(), flat_event(correlation_id=WORKFLOW)),
        ("PublishEvent", flat_event(), flat_event(topic="another")),
        ("PublishEvent", flat_event(), flat_event(batch_size=None)),
        ("PersistState", state(), state(fsm_states={WORKFLOW: "failed"})),
        ("PersistState", state(), state(aggregated_data={"ns": {}})),
        ("PersistFSMTransition", move(), move(transition_record=record(trigger="other"))),
        ("PersistFSMTransition", move(), move(transition_record=record(metadata={"namespace": "NS"}))),
    ],
)
def test_another_meaning_has_another_id(kind: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert operation(kind, one).operation_id != operation(kind, other).operation_id


def test_under_an_id_of_its_own_an_intent_is_known_by_its_content_as_sent() -> None:
    id_ = uuid7()
    digests = {operation(kind, payload, intent_id=id_).digest for kind, payload in spellings()["PersistState"]}
    assert len(digests) > 1
    assert operation("PersistState", state(), intent_id=id_) == operation("PersistState", state(), intent_id=str(id_))


def test_an_instant_and_its_text_make_the_same_operation_id() -> None:
    def told(at: Any) -> tuple[UUID, str | None, UUID, str | None]:
        event = operation("PublishEvent", flat_event(timestamp=at, window={"ends": [at]}))
        moved = operation("PersistFSMTransition", move(transition_record=record(timestamp=at), timestamp=at))
        return event.operation_id, event.digest, moved.operation_id, moved.digest

    east = timezone(timedelta(hours=2))
    assert told(WHEN) == told(AT) == told("2026-10-23T10:00:00+00:00") == told("2026-10-23 10:00:00")
    assert told(WHEN) == told(WHEN.astimezone(east)) == told("2026-10-23T12:00:00.000+02:00")


def test_the_history_is_no_part_of_the_identity() -> None:
    live: list[Any] = [{"at": datetime(2026, 1, 1)}, object()]  # noqa: DTZ001  # nobody looks at it
    one = operation("PersistFSMTransition", move(transition_history=live))
    assert one == operation("PersistFSMTransition", move())


def test_the_payload_is_copied_at_once() -> None:
    payload = state()
    one = operation("PersistState", payload)
    text = encode(one)
    payload["aggregated_data"]["omninode.services.metadata"]["file_types"].append("c/d")
    assert encode(one) == text


def test_sets_tuples_and_uuids_become_json() -> None:
    one = operation("PublishEvent", flat_event(aggregation_id=UUID(AGGREGATION), types={"b", "a"}, pair=(1, 2)))
    assert isinstance(one.data, PublishEventData)
    assert (one.data.payload["types"], one.data.payload["pair"]) == (["a", "b"], [1, 2])
    assert one.data.payload["aggregation_id"] == AGGREGATION


def test_a_given_id_is_the_operations_and_tells_the_time_where_nothing_else_does() -> None:
    id_ = derived_uuid7(WHEN, b"x")
    for written in (id_, str(id_), str(id_).upper()):
        one = operation("PersistState", state(timestamp=None), intent_id=written)
        assert (one.operation_id, one.occurred_at) == (id_, WHEN)
    later = operation("PersistState", state(timestamp="2026-10-24T10:00:00Z"), intent_id=id_)
    assert later.occurred_at == WHEN + timedelta(days=1)


@pytest.mark.parametrize("id_", [uuid4(), str(uuid4()), "5", 5, "", UUID(int=(1 << 128) - 1)])
def test_an_id_of_another_kind_is_refused_by_name(id_: Any) -> None:
    refusal = refused("PersistState", state(), intent_id=id_)
    assert refusal.message.startswith("intent_id: ") and is_uuid7(refusal.operation_id)


def test_an_id_whose_time_is_beyond_the_calendar_is_refused_by_name() -> None:
    id_ = UUID(int=uuid7().int | (((1 << 48) - 1) << 80))
    assert refused("PersistState", state(timestamp=None), intent_id=id_).message.startswith("intent_id: its time")


@pytest.mark.parametrize(
    ("kind", "payload", "missing"),
    [
        ("PersistState", state(timestamp=None), "timestamp"),
        ("PersistFSMTransition", move(timestamp=None, transition_record=record(timestamp=None)), "timestamp"),
        ("PublishEvent", flat_event(timestamp=None), "timestamp"),
        ("PublishEvent", flat_event(aggregation_id=None), "aggregation_id"),
    ],
)
def test_what_no_id_can_be_derived_from_is_refused(kind: str, payload: dict[str, Any], missing: str) -> None:
    message = refused(kind, payload).message
    assert message.startswith("intent_id: missing, and without") and missing in message


def test_a_refusal_keeps_the_intent_under_its_own_id_or_one_of_its_content() -> None:
    id_ = uuid7()
    refusal = refused("PersistState", state(x=1), intent_id=id_, priority=1)
    assert refusal.operation_id == id_
    kept = orjson.loads(refusal.payload)
    assert kept == {
        "intent_type": "PersistState",
        "target": "t",
        "payload": orjson.loads(orjson.dumps(kept["payload"])),
        "priority": 1,
        "intent_id": str(id_),
    }
    anonymous = [refused("PersistState", state(x=n, fsm_states={})) for n in (1, 1, 2)]
    assert anonymous[0] == anonymous[1] != anonymous[2]
    assert uuid7_millis(anonymous[0].operation_id) == int(WHEN.timestamp() * 1000)


def test_a_naive_time_is_refused_and_naive_text_is_utc() -> None:
    naive = datetime(2026, 10, 23, 10)  # noqa: DTZ001  # the very fault
    assert refused("PersistState", state(timestamp=naive)).message.startswith("timestamp: a datetime without time zone")
    assert operation("PersistState", state(timestamp="2026-10-23T10:00:00")).occurred_at == WHEN.astimezone(UTC)


def test_an_intent_of_more_than_a_mebibyte_is_refused() -> None:
    assert "at most 1048576" in refused("PublishEvent", flat_event(x="x" * 1_048_576)).message
    many: dict[str, Any] = {
        f"n{number:05}": {} for number in range(14_000)
    }  # small as an intent, large as an operation
    assert "at most 1048576" in refused("PersistState", state(aggregated_data=many)).message


def test_a_payload_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    refusal = refused("PublishEvent", flat_event(x=loop))
    assert "nested more than 100 deep" in refusal.message


@pytest.mark.parametrize(("kind", "payload"), GOOD)
def test_the_wire_carries_an_intents_operation_unchanged(kind: str, payload: dict[str, Any]) -> None:
    items: list[Item] = [operation(kind, payload), refused(kind, {**payload, "event_type": 5, "unknown": 1})]
    assert decode_batch(encode_batch([encode(item) for item in items]), task_id="t") == items
