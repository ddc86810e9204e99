"""What a relay makes of a batch's outcomes, before any database is asked."""

import json
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from omninode_bridge.contract.clock import uuid7
from store.outbox.outbox import SHARDS, PendingEvent
from tests.scripted_bus import AWAY
from worker.bus import Delivery
from worker.bus.protocol import PUBLISHED
from worker.relay.relay import RelayConfig
from worker.relay.round import Counts, dead_letter_record, shares, sort_out

REFUSED = Delivery("refused", "too large")


def event(key: str = "a", **fields: Any) -> PendingEvent:
    given: dict[str, Any] = {
        "id": uuid7(),
        "seq": 1,
        "event_type": "batch_processed",
        "topic": "some.topic",
        "partition_key": key,
        "payload": {"text": "x" * 100},
        "envelope": {"event_id": "1", "event_type": "batch_processed", "metadata": {"namespace": "n"}},
        "attempts": 2,
        "created_at": datetime.now(UTC),
    }
    return PendingEvent(**given | fields)


def test_what_the_bus_has_is_settled_as_published() -> None:
    events = [event(), event()]
    done = sort_out(events, [PUBLISHED, PUBLISHED])
    assert done == (events, [], 0, {})


def test_an_event_that_is_away_holds_back_what_follows_it_under_its_key() -> None:
    events = [event("a"), event("b"), event("a"), event("b"), event("a")]
    done = sort_out(events, [PUBLISHED, PUBLISHED, AWAY, PUBLISHED, PUBLISHED])
    assert done.published == [events[0], events[1], events[3]]
    assert (done.waiting, done.away) == (2, {"some.topic": "gone"})


def test_a_refused_event_holds_nothing_back() -> None:
    events = [event("a"), event("a"), event("a")]
    done = sort_out(events, [PUBLISHED, REFUSED, PUBLISHED])
    assert done.published == [events[0], events[2]]
    assert done.refused == [(events[1], "too large")]


def test_a_refused_event_behind_one_that_is_away_waits_for_its_turn() -> None:
    events = [event("a"), event("a")]
    done = sort_out(events, [AWAY, REFUSED])
    assert (done.published, done.refused, done.waiting) == ([], [], 2)


@pytest.mark.parametrize("relays", [0, 1, 3, 64, 100])
def test_the_shares_hold_every_shard_once(relays: int) -> None:
    parts = shares(relays, Random(1))
    assert sorted(shard for part in parts for shard in part) == list(range(SHARDS))
    assert len(parts) <= max(1, relays)


def test_two_sweeps_go_through_the_shards_in_different_orders() -> None:
    random = Random(1)
    assert shares(3, random) != shares(3, random)


def test_a_dead_letter_record_has_the_platform_s_shape() -> None:
    refused = event("k")
    record = dead_letter_record(refused, "too large", whole=True)
    said = json.loads(record.value)
    assert (record.topic, record.key) == ("some.topic.dlq", "k")
    assert set(said) == {
        "original_topic",
        "original_key",
        "original_data",
        "failure_reason",
        "failure_timestamp",
        "retry_attempts",
    }
    assert said["original_data"] == json.loads(refused.value())
    assert (said["failure_reason"], said["retry_attempts"]) == ("too large", 2)
    assert datetime.fromisoformat(said["failure_timestamp"]).tzinfo is not None


def test_the_shorter_record_is_an_envelope_without_content() -> None:
    whole = json.loads(event().value())
    said = json.loads(dead_letter_record(event(), "too large", whole=False).value)
    assert said["original_data"] == whole | {"payload": {}, "metadata": {}}
    bare = json.loads(dead_letter_record(event(envelope=None), "too large", whole=False).value)
    assert bare["original_data"] == {}


def test_counts_add_up_and_keep_the_first_problem() -> None:
    total = Counts(1, 2, 3, "first").plus(Counts(10, 20, 30, "second"))
    assert total == (11, 22, 33, "first")
    assert total.settled == 33


@pytest.mark.parametrize("wrong", [{"batch_events": 0}, {"sweep_s": 0}, {"bus_timeout_s": -1}, {"name": ""}])
def test_a_relay_of_wrong_numbers_is_not_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="relay: "):
        RelayConfig(**{"name": "r"} | wrong)
