"""A bus of which a part is away: the rest goes out at once, and what waits goes out when its part is back."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from omninode_bridge.client.backoff import Backoff
from store.outbox import outbox
from store.outbox.outbox import SHARDS
from tests.deadline import wait_until
from tests.factories import store_connection
from tests.integration.worker.relay.relaying import NEVER_S, append
from tests.integration.worker.relay.relaying import relaying as relaying_with
from tests.scripted_bus import AWAY, ScriptedBus
from worker.bus import Bus, BusMessage, Delivery
from worker.bus.protocol import PUBLISHED
from worker.relay import pauses as relay_pauses
from worker.relay.round import Counts, run_round

Conn = psycopg.Connection[Any]
TOO_LARGE = Delivery("refused", "too large")
relaying = partial(relaying_with, sweep_s=NEVER_S)


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as opened:
        yield opened


@pytest.fixture
def relay_conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as opened:
        yield opened


def away_on(*topics: str) -> Callable[[BusMessage], Delivery]:
    return lambda message: AWAY if message.topic in topics else PUBLISHED


def pending(conn: Conn) -> int:
    return outbox.depth(conn).pending


def published(bus: ScriptedBus, events: int) -> None:
    wait_until(lambda: len(bus.published) == events, seconds=20, what=f"{events} events are published")


def waiting(conn: Conn, events: int) -> None:
    """Wait until no more than these events wait; a pause may be a minute long."""
    wait_until(lambda: pending(conn) == events, seconds=90, what=f"{events} events wait")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str | None]]:
    """What the relay said of the bus and its topics, each with its topic."""
    return [
        (r.message, vars(r)["fields"].get("topic")) for r in caplog.records if r.message.endswith(("_away", "_back"))
    ]


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that do not end while a test lasts."""
    monkeypatch.setattr(relay_pauses, "PAUSE", Backoff(first_s=1e9, most_s=1e9))


# ---- rounds ---------------------------------------------------------------------------------------------------------


def a_round(conn: Conn, bus: Bus, pauses: relay_pauses.Pauses, rows_limit: int = 500) -> Counts:
    return run_round(conn, bus, range(SHARDS), rows_limit=rows_limit, timeout_s=1, pauses=pauses)


@pytest.mark.usefixtures("lasting")
def test_a_topic_that_is_away_is_left_out_and_its_backlog_keeps_nobody_waiting(conn: Conn, relay_conn: Conn) -> None:
    bus, pauses = ScriptedBus(away_on("bad")), relay_pauses.Pauses()
    append(conn, *(f"bad-{n}" for n in range(20)), topic="bad")
    append(conn, "good", topic="good")
    assert a_round(relay_conn, bus, pauses, rows_limit=5).away == 5
    assert a_round(relay_conn, bus, pauses, rows_limit=5) == Counts(published=1)
    assert a_round(relay_conn, bus, pauses, rows_limit=5) == Counts()
    assert bus.batches == 2


@pytest.mark.usefixtures("lasting")
def test_what_follows_under_a_key_goes_out_on_other_topics_and_in_order_on_its_own(
    conn: Conn, relay_conn: Conn
) -> None:
    bus, pauses = ScriptedBus(away_on("bad")), relay_pauses.Pauses()
    append(conn, "k", topic="bad")
    assert a_round(relay_conn, bus, pauses).away == 1
    append(conn, "k", topic="good")
    append(conn, "k", topic="bad")
    assert a_round(relay_conn, bus, pauses) == Counts(published=1)
    bus.decide = lambda message: PUBLISHED
    pauses.clear()
    assert a_round(relay_conn, bus, pauses).published == 2
    assert [message.topic for message in bus.published] == ["good", "bad", "bad"]
    seqs = [seq for (seq,) in conn.execute("select seq from event_logs where topic = 'bad' order by seq")]
    assert sorted(seqs) == seqs and len(seqs) == 2


def test_a_topic_on_trial_is_given_to_the_bus_behind_the_rest_and_with_less_patience(
    conn: Conn, relay_conn: Conn
) -> None:
    bus, pauses = ScriptedBus(away_on("bad")), relay_pauses.Pauses()
    append(conn, "k", topic="bad")
    a_round(relay_conn, bus, pauses)
    append(conn, "k", topic="good")
    wait_until(lambda: not pauses.left_out(time.monotonic()), seconds=5, what="the pause ends")
    assert a_round(relay_conn, bus, pauses) == Counts(published=1, away=1, problem="gone")
    assert bus.batches == 3 and [message.topic for message in bus.published] == ["good"]
    assert pauses.left_out(time.monotonic()) == ["bad"]


@pytest.mark.usefixtures("lasting")
def test_a_refused_event_whose_dead_letter_topic_is_away_waits_with_its_topic(conn: Conn, relay_conn: Conn) -> None:
    bus, pauses = ScriptedBus(), relay_pauses.Pauses()
    bus.decide = lambda m: AWAY if m.topic == "t.dlq" else TOO_LARGE if m.key == "large" else PUBLISHED
    append(conn, "large", "small", topic="t")
    assert a_round(relay_conn, bus, pauses) == Counts(published=1, away=1, problem="dead letters: gone")
    append(conn, "other", topic="u")
    assert a_round(relay_conn, bus, pauses) == Counts(published=1)
    bus.decide = lambda m: TOO_LARGE if m.key == "large" and m.topic == "t" else PUBLISHED
    pauses.clear()
    assert a_round(relay_conn, bus, pauses) == Counts(refused=1)


# ---- a relay --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("lasting")
def test_while_a_topic_is_away_a_nudge_for_others_is_served(
    database: str, conn: Conn, caplog: pytest.LogCaptureFixture
) -> None:
    bus = ScriptedBus(away_on("bad"))
    with caplog.at_level(logging.INFO), relaying(database, bus):
        for number in range(10):
            append(conn, f"bad-{number}", topic="bad")
            append(conn, f"good-{number}", topic="good")
            published(bus, number + 1)
        batches = bus.batches
        append(conn, "bad", topic="bad")
        append(conn, "good", topic="good")
        published(bus, 11)
        assert bus.batches == batches + 1, "nobody asked for the topic that is away"
    assert told(caplog) == [("topic_away", "bad")]
    assert pending(conn) == 11


def test_a_topic_that_is_back_is_found_by_the_relay_itself(
    database: str, conn: Conn, caplog: pytest.LogCaptureFixture
) -> None:
    bus = ScriptedBus(away_on("bad"))
    with caplog.at_level(logging.INFO), relaying(database, bus, sweep_s=0.1):
        given = append(conn, "k", "k", topic="bad")
        append(conn, "k", topic="good")
        wait_until(lambda: bus.batches >= 4, seconds=20, what="it is tried again")
        assert pending(conn) == 2
        bus.decide = lambda message: PUBLISHED
        waiting(conn, 0)
    found = [message.headers["event_id"] for message in bus.published if message.topic == "bad"]
    assert found == [str(operation.operation_id) for operation in given] and {m.topic for m in bus.published} > {"bad"}
    assert told(caplog) == [("topic_away", "bad"), ("topic_back", "bad")]


@pytest.mark.usefixtures("lasting")
def test_a_bus_that_takes_nothing_and_says_that_it_is_well_is_not_asked_over_and_over(
    database: str, conn: Conn
) -> None:
    bus = ScriptedBus(lambda message: AWAY)
    with relaying(database, bus, sweep_s=0.01):
        append(conn, "a", topic="one")
        append(conn, "b", topic="two")
        wait_until(lambda: bus.asked == bus.batches > 0 and pending(conn) == 2, seconds=10, what="both were tried")
        threading.Event().wait(0.5)  # fifty sweeps
        assert bus.batches <= 2


@pytest.mark.timeout(120)
def test_a_kafka_topic_without_a_leader_keeps_no_other_waiting(database: str, conn: Conn) -> None:
    pytest.importorskip("confluent_kafka")
    from tests.kafka_harness import KafkaHarness

    with KafkaHarness() as kafka:
        kafka.mock.tell("topic", "good", 4)
        kafka.mock.tell("topic", "bad", 1)
        kafka.mock.tell("leader", "bad", 0, -1)
        bus = kafka.open(bus_timeout_s=2)
        with relaying(database, bus, bus_timeout_s=2, sweep_s=0.2) as relay:
            append(conn, "bad-0", topic="bad")
            for number in range(1, 30):
                append(conn, f"bad-{number}", topic="bad")
                append(conn, f"good-{number}", topic="good")
                waiting(conn, number + 1)
            assert relay._breaker.opened_count == 0
            kafka.mock.tell("leader", "bad", 0, 1)
            waiting(conn, 0)
        bus.close()
