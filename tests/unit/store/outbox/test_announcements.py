"""What an intent says to the bus: its event, its topic, its key, and an id that it always has."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
import pytest

from omninode_bridge.bus.envelope import FLEET_SERVICE, ModelOnexEnvelopeV1, announcement_id
from omninode_bridge.contract.clock import uuid7, uuid7_millis
from omninode_bridge.contract.intent_operation import RecoverFsmStatesData
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.operation_types import operation_of
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.values import INT64_MAX
from omninode_bridge.contract.wire import refusal_of
from omninode_bridge.intents.intents import INTENT, intent_item
from store.outbox.announcements import Announcement, of_batch, of_operation, of_refusal
from store.outbox.outbox import SHARDS, PendingEvent, shard_of
from tests import factories

WHEN = datetime(2025, 10, 23, 10, tzinfo=UTC)
TRACE = UUID("550e8400-e29b-41d4-a716-446655440000")
ENVELOPE_FIELDS = list(ModelOnexEnvelopeV1.model_fields)


def announced(operation: Operation) -> Announcement:
    one = of_operation(operation, "staging")
    assert one is not None
    return one


def traced(operation: Operation, correlation_id: UUID | None = TRACE) -> Operation:
    return operation.model_copy(update={"correlation_id": correlation_id})


def record(announcement: Announcement) -> PendingEvent:
    """The announcement as a relay reads it."""
    fields = announcement._asdict()
    kept = {name: fields[name] for name in ("id", "event_type", "topic", "partition_key", "payload", "envelope")}
    return PendingEvent(seq=1, attempts=0, created_at=WHEN, **kept)


def test_an_event_travels_in_an_envelope_of_the_fleet_under_its_operations_id() -> None:
    data = {"payload": {"aggregation_id": str(TRACE), "n": 1}, "metadata": {"namespace": "dev"}, "session_id": uuid4()}
    operation = traced(factories.publish_event("Batch-Processed", occurred_at=WHEN, **data))
    one = announced(operation)
    assert (one.id, one.event_type) == (operation.operation_id, "batch_processed")
    assert one.topic == "omninode_bridge.reducer.events.batch_processed"
    assert (one.correlation_id, one.session_id) == (TRACE, data["session_id"])
    envelope = orjson.loads(record(one).value())
    assert list(envelope) == ENVELOPE_FIELDS
    assert envelope["event_id"] == str(operation.operation_id)
    assert envelope["event_timestamp"] == WHEN.isoformat() and envelope["environment"] == "staging"
    assert envelope["source_service"] == envelope["source_node_id"] == FLEET_SERVICE
    assert (envelope["payload"], envelope["metadata"]) == (data["payload"], {"namespace": "dev"})


def test_an_event_goes_where_its_intent_says() -> None:
    one = announced(factories.publish_event(topic="other.topic", source_node_id="reducer-1"))
    assert one.topic == "other.topic"
    assert one.envelope is not None and one.envelope["source_node_id"] == "reducer-1"


@pytest.mark.parametrize(
    ("given", "correlation_id", "key"),
    [
        ({"partition_key": "k", "source_node_id": "n"}, TRACE, "k"),
        ({"source_node_id": "n"}, TRACE, str(TRACE)),
        ({"source_node_id": "n"}, None, "n"),
        ({}, None, FLEET_SERVICE),
    ],
)
def test_the_key_is_the_first_of_partition_key_correlation_and_node(
    given: dict[str, str], correlation_id: UUID | None, key: str
) -> None:
    one = announced(traced(factories.publish_event(**given), correlation_id))
    assert one.partition_key == key
    assert one.envelope is not None and one.envelope["partition_key"] == given.get("partition_key")


def test_a_contribution_is_announced_with_its_totals_under_the_aggregates_key() -> None:
    totals = {"a": {"total_workflows": 2, "total_items": 30}, "b": {"total_items": 4}}
    operation = factories.contribution(TRACE, namespaces=totals, occurred_at=WHEN)
    one = announced(operation)
    assert one.payload == {
        "aggregation_id": str(TRACE),
        "namespaces_count": 2,
        "workflows_count": 2,
        "total_items_persisted": 34,
        "timestamp": WHEN.isoformat(),
    }
    assert one.id == announcement_id(operation.operation_id) != operation.operation_id
    assert one.topic == "omninode_bridge.reducer.events.state_persisted"
    assert (one.partition_key, one.correlation_id) == (str(TRACE), TRACE)
    assert one.envelope is not None and one.envelope["causation_id"] == str(operation.operation_id)


def test_totals_beyond_what_a_record_can_hold_are_written_as_the_largest() -> None:
    largest = {"total_items": INT64_MAX}
    one = announced(factories.contribution(TRACE, namespaces={"a": largest, "b": largest, "c": largest}))
    assert one.payload["total_items_persisted"] == INT64_MAX
    record(one).value()


def test_a_move_is_announced_with_both_states_under_the_entitys_key() -> None:
    operation = factories.transition_intent(TRACE, from_state="PENDING", to_state="PROCESSING", occurred_at=WHEN)
    one = announced(operation)
    assert one.payload == {
        "workflow_id": str(TRACE),
        "entity_type": "workflow_execution",
        "from_state": "PENDING",
        "to_state": "PROCESSING",
        "transition_id": str(operation.operation_id),
        "timestamp": WHEN.isoformat(),
    }
    assert (one.event_type, one.correlation_id, one.partition_key) == ("fsm_state_transitioned", TRACE, str(TRACE))
    assert one.id == announcement_id(operation.operation_id)


@pytest.mark.parametrize("make", [factories.contribution, factories.transition_intent])
def test_an_effect_is_traced_as_its_intent_was_and_keeps_the_order_of_its_aggregate(
    make: Callable[[UUID], Operation],
) -> None:
    other = uuid4()
    one = announced(traced(make(TRACE), other))
    assert (one.correlation_id, one.partition_key) == (other, str(TRACE))
    assert one.envelope is not None
    assert (one.envelope["correlation_id"], one.envelope["partition_key"]) == (str(other), str(TRACE))
    untraced = announced(traced(make(TRACE), None))
    assert (untraced.correlation_id, untraced.partition_key) == (TRACE, str(TRACE))


def refused(operation: Operation) -> Refusal:
    return refusal_of(operation, "VALIDATION_ERROR", "payload: no")


@pytest.mark.parametrize(
    ("operation", "intent_type"),
    [
        (factories.publish_event(), "PublishEvent"),
        (factories.contribution(), "PersistState"),
        (factories.transition_intent(), "PersistFSMTransition"),
        (operation_of(RecoverFsmStatesData()), "RecoverFSMStates"),
    ],
)
def test_a_refused_intent_is_announced_with_its_reason(operation: Operation, intent_type: str) -> None:
    refusal = refused(traced(operation))
    one = of_refusal(refusal, "staging")
    assert one is not None
    timestamp = one.payload["timestamp"]
    assert one.payload == {
        "intent_type": intent_type,
        "error_code": "VALIDATION_ERROR",
        "error_message": "payload: no",
        "operation_id": str(operation.operation_id),
        "timestamp": timestamp,
    }
    assert one.topic == "omninode_bridge.reducer.events.operation_failed"
    assert (one.correlation_id, one.partition_key) == (TRACE, str(TRACE))


def test_each_dead_letter_has_one_announcement() -> None:
    operation = factories.publish_event()
    letter = refused(operation)
    other = letter.model_copy(update={"digest": "0" * 32})
    ids = [one.id for one in (of_refusal(each, "staging") for each in (letter, letter, other)) if one is not None]
    assert len(ids) == 3 and len(set(ids)) == 2
    assert {uuid7_millis(id_) for id_ in ids} == {uuid7_millis(operation.operation_id)}
    assert announcement_id(operation.operation_id) not in ids


def test_a_refusal_whose_id_lies_beyond_all_calendars_is_announced() -> None:
    far = UUID(int=(((1 << 48) - 1) << 80) | (uuid7().int & ((1 << 80) - 1)))
    one = of_refusal(refused(factories.publish_event(operation_id=far)), "staging")
    assert one is not None and uuid7_millis(one.id) == (1 << 48) - 1


@pytest.mark.parametrize(
    "operation",
    [
        factories.execution(),
        factories.step(),
        factories.transition(),
        factories.stamp(),
        factories.bridge_state(),
        factories.heartbeat(),
    ],
)
def test_the_six_persist_operations_and_their_refusals_say_nothing(operation: Operation) -> None:
    assert of_operation(operation, "staging") is None
    assert of_refusal(refused(operation), "staging") is None


@pytest.mark.parametrize(
    ("intent", "shown"),
    [({"intent_type": "Foo"}, "Foo"), ({"intent_type": "<b>"}, "'<b>'"), ({"intent_type": 5}, ""), (None, "")],
)
def test_a_refused_intent_of_no_known_type_is_announced_by_the_type_it_was_given(intent: object, shown: str) -> None:
    refusal = intent_item(intent)
    assert isinstance(refusal, Refusal) and refusal.refused_type == INTENT
    one = of_refusal(refusal, "staging")
    assert one is not None
    assert (one.payload["intent_type"], one.payload["error_message"]) == (shown, refusal.message)
    record(one).value()


def test_what_was_never_an_operation_says_nothing() -> None:
    assert of_refusal(refused(factories.publish_event()).model_copy(update={"refused_type": None}), "staging") is None


def said(batch: Sequence[Operation], **given: Sequence[Operation]) -> list[UUID]:
    one = of_batch(batch, fresh=given["fresh"], refused=[], environment="staging")
    return [announcement.id for announcement in one]


def test_a_batch_is_announced_in_the_order_in_which_it_was_submitted() -> None:
    batch = [factories.publish_event() for _ in range(20)]
    by_id = sorted(batch, key=lambda operation: operation.operation_id.int, reverse=True)
    assert said(batch, fresh=by_id) == [operation.operation_id for operation in batch]


def test_only_what_was_claimed_now_is_announced() -> None:
    batch = [factories.publish_event(), factories.heartbeat(), factories.publish_event()]
    assert said(batch, fresh=batch[1:]) == [batch[2].operation_id]


def test_a_key_has_the_same_shard_in_every_process() -> None:
    assert [shard_of(key) for key in ("", "a", str(TRACE), "ключ")] == [2, 18, 45, 50]
    assert {shard_of(str(n)) for n in range(2000)} == set(range(SHARDS))


def test_a_bare_record_is_its_payload_alone() -> None:
    bare = announced(factories.publish_event())._replace(envelope=None, payload={"success": True})
    assert record(bare).value() == b'{"success":true}'
    assert record(bare).headers() == {"event_id": str(bare.id), "event_type": bare.event_type}
