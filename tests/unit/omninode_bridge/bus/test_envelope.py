"""OnexEnvelopeV1 as it travels, its key and its topics."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from pydantic import ValidationError

from omninode_bridge.bus.envelope import ModelOnexEnvelopeV1, checked_topic, reducer_topic_name, topic_name
from omninode_bridge.contract.errors import OnexError

TRACE = "550e8400-e29b-41d4-a716-446655440000"
PUBLISHED: dict[str, Any] = {
    "envelope_version": "1.0",
    "event_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "event_type": "aggregation_completed",
    "event_version": "1.0",
    "event_timestamp": "2025-10-23T10:00:00+00:00",
    "source_node_id": "reducer-1",
    "source_service": "omninode-bridge",
    "source_version": "1.0.0",
    "source_instance": None,
    "correlation_id": TRACE,
    "causation_id": None,
    "environment": "development",
    "region": None,
    "partition_key": None,
    "payload": {"aggregation_id": TRACE, "total_items": 100},
    "metadata": {"event_category": "metadata_aggregation", "node_type": "reducer", "namespace": "dev"},
}


def read(**fields: Any) -> ModelOnexEnvelopeV1:
    return ModelOnexEnvelopeV1.model_validate({**PUBLISHED, **fields})


def test_a_published_envelope_is_written_as_it_was_read() -> None:
    assert orjson.loads(read().to_bytes()) == PUBLISHED
    assert list(orjson.loads(read().to_bytes())) == list(PUBLISHED)


def test_a_short_envelope_of_version_v1_gets_the_defaults() -> None:
    short = {
        "envelope_version": "v1",
        "event_id": "e",
        "event_type": "thing",
        "timestamp": "2025-10-23T10:00:00",
        "source_node_id": "n",
        "payload": {},
        "surprise": 1,
    }
    envelope = ModelOnexEnvelopeV1.model_validate(short)
    assert envelope.envelope_version == "1.0"
    assert envelope.event_timestamp == datetime(2025, 10, 23, 10, tzinfo=UTC)
    written = orjson.loads(envelope.to_bytes())
    assert set(written) == set(PUBLISHED) and written["environment"] == "development" and written["metadata"] == {}


def test_every_new_envelope_has_an_id_and_a_time_of_its_own() -> None:
    one, other = (ModelOnexEnvelopeV1(event_type="t", source_node_id="n", payload={}) for _ in range(2))
    assert UUID(one.event_id).version == 4 and one.event_id != other.event_id
    assert one.event_timestamp.tzinfo is UTC


@pytest.mark.parametrize("version", ["2.0", "1", 1.0, None])
def test_another_version_is_refused(version: object) -> None:
    with pytest.raises(ValidationError, match="envelope_version"):
        read(envelope_version=version)


@pytest.mark.parametrize("trace", ["not a uuid", 5, None])
def test_a_correlation_id_that_is_no_uuid_is_none(trace: object) -> None:
    assert read(correlation_id=trace).correlation_id is None


def test_values_that_json_does_not_know_are_written_as_text() -> None:
    payload = {"id": UUID(TRACE), "at": datetime(2025, 1, 2, tzinfo=UTC), "odd": {1: complex(1, 2)}}
    written = orjson.loads(read(payload=payload).to_bytes())["payload"]
    assert written == {"id": TRACE, "at": "2025-01-02T00:00:00+00:00", "odd": {"1": "(1+2j)"}}


@pytest.mark.parametrize("bad", ["\ud800", 2**70])
def test_a_payload_that_utf8_json_cannot_hold_is_refused(bad: object) -> None:
    with pytest.raises(OnexError, match="VALIDATION_ERROR: payload: "):
        read(payload={"a": bad}).to_bytes()


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"partition_key": "p"}, "p"),
        ({"partition_key": ""}, TRACE),
        ({"correlation_id": None}, "reducer-1"),
        ({"correlation_id": None, "source_node_id": ""}, PUBLISHED["event_id"]),
    ],
)
def test_the_message_key_is_the_first_id_there_is(fields: dict[str, Any], key: str) -> None:
    assert read(**fields).message_key() == key


def test_topics_are_named_by_environment_and_event() -> None:
    assert topic_name("dev", "stamp_workflow_started") == "dev.omninode_bridge.onex.evt.stamp-workflow-started.v1"
    assert topic_name("prod", "NODE-HEARTBEAT") == "prod.omninode_bridge.onex.evt.node-heartbeat.v1"
    assert reducer_topic_name("STATE_PERSISTED") == "omninode_bridge.reducer.events.state_persisted"


@pytest.mark.parametrize("topic", ["", ".", "..", "a b", "ü", "a\n", "x" * 250])
def test_what_no_bus_takes_as_a_topic_is_refused(topic: str) -> None:
    with pytest.raises(OnexError, match="topic: "):
        checked_topic(topic)
    assert checked_topic("x" * 249) == "x" * 249
