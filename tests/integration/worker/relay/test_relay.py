"""A relay on a real PostgreSQL: what it publishes, what it settles, what it leaves, and who else relays."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from omninode_bridge.contract.operation import Operation
from store.database.breaker import BreakerConfig
from store.outbox import outbox, relays
from store.outbox.outbox import SHARDS
from tests.deadline import wait_until
from tests.factories import count, store_connection
from tests.integration.worker.relay.relaying import NEVER_S, append
from tests.integration.worker.relay.relaying import relaying as relaying_with
from tests.scripted_bus import AWAY, ScriptedBus
from worker.bus import BusMessage, Delivery
from worker.bus.protocol import PUBLISHED
from worker.relay.relay import FAILED_ROUNDS
from worker.relay.round import Counts, run_round

Conn = psycopg.Connection[Any]
EVERY_SHARD = range(SHARDS)
TOO_LARGE = Delivery("refused", "too large")
QUICK = BreakerConfig(failure_threshold=FAILED_ROUNDS, probe_interval_s=0.02)
relaying = partial(relaying_with, sweep_s=0.1, breaker=QUICK)


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as opened:
        yield opened


@pytest.fixture
def relay_conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as opened:
        yield opened


def a_round(conn: Conn, bus: ScriptedBus, *, rows_limit: int = 500) -> Counts:
    return run_round(conn, bus, EVERY_SHARD, rows_limit=rows_limit, timeout_s=1)


def ids(messages: list[BusMessage]) -> list[str]:
    return [message.headers["event_id"] for message in messages]


def statuses(conn: Conn) -> dict[str, int]:
    return dict(conn.execute("select status, count(*) from event_logs where direction = 'out' group by 1").fetchall())


def refusing(*chosen: Operation, there_too: Delivery = PUBLISHED) -> Callable[[BusMessage], Delivery]:
    """A bus that does not take these, and answers `there_too` about the records of them for the DLQ."""
    unwanted = {str(operation.operation_id) for operation in chosen}

    def decide(message: BusMessage) -> Delivery:
        if message.headers["event_id"] not in unwanted:
            return PUBLISHED
        return there_too if message.topic.endswith(".dlq") else TOO_LARGE

    return decide


# ---- a round --------------------------------------------------------------------------------------------------------


def test_a_round_publishes_in_the_order_of_commit_and_settles(conn: Conn, relay_conn: Conn) -> None:
    bus = ScriptedBus()
    given = [*append(conn, "a", "b"), *append(conn, "a", "c")]
    assert a_round(relay_conn, bus) == Counts(published=4)
    assert ids(bus.published) == [str(operation.operation_id) for operation in given]
    assert [message.key for message in bus.published] == ["a", "b", "a", "c"]
    assert json.loads(bus.published[0].value)["source_service"] == "omninode-bridge-fleet"
    assert statuses(conn) == {"published": 4}
    assert a_round(relay_conn, bus) == Counts()


def test_a_round_leaves_to_others_the_shards_that_they_hold(conn: Conn, relay_conn: Conn) -> None:
    bus = ScriptedBus()
    append(conn, "mine", "theirs")
    theirs = outbox.shard_of("theirs")
    assert outbox.take_shards(conn, [theirs]) == [theirs]
    assert a_round(relay_conn, bus).published == 1
    assert [message.key for message in bus.published] == ["mine"]
    outbox.release_shards(conn, [theirs])
    assert a_round(relay_conn, bus).published == 1


def test_a_round_gives_its_shards_back(conn: Conn, relay_conn: Conn) -> None:
    append(conn, "a")
    a_round(relay_conn, ScriptedBus())
    assert len(outbox.take_shards(conn, EVERY_SHARD)) == SHARDS


def test_an_event_that_is_away_comes_before_its_followers_in_the_end(conn: Conn, relay_conn: Conn) -> None:
    first, second, third = append(conn, "k", "k", "k")
    other = append(conn, "other")[0]
    bus = ScriptedBus(lambda message: AWAY if message.headers["event_id"] == str(second.operation_id) else PUBLISHED)
    assert a_round(relay_conn, bus) == Counts(published=2, away=2, problem="gone")
    pending = outbox.pending(conn, EVERY_SHARD, rows_limit=10)
    assert [event.id for event in pending] == [second.operation_id, third.operation_id]
    bus.decide = lambda message: PUBLISHED
    assert a_round(relay_conn, bus).published == 2
    told = [operation.operation_id for operation in (first, third, other, second, third)]
    assert ids(bus.published) == list(map(str, told))


def test_a_refused_event_goes_to_its_dead_letter_topic_and_table_and_the_rest_flows(
    conn: Conn, relay_conn: Conn
) -> None:
    before, bad, after = append(conn, "k", "k", "k")
    bus = ScriptedBus(refusing(bad))
    assert a_round(relay_conn, bus) == Counts(published=2, refused=1)
    assert ids([m for m in bus.published if m.topic == "some.topic"]) == [
        str(before.operation_id),
        str(after.operation_id),
    ]
    (letter,) = (message for message in bus.published if message.topic == "some.topic.dlq")
    said = json.loads(letter.value)
    assert (letter.key, said["failure_reason"], said["original_topic"]) == ("k", "too large", "some.topic")
    assert said["original_data"]["event_id"] == str(bad.operation_id)
    kept = conn.execute("select id, form, message, topic, partition_key, payload from dead_letters").fetchall()
    assert [row[:5] for row in kept] == [(bad.operation_id, "event", "too large", "some.topic", "k")]
    assert json.loads(kept[0][5])["event_id"] == str(bad.operation_id)
    assert statuses(conn) == {"published": 2, "refused": 1}


def test_a_refused_event_waits_while_its_dead_letter_topic_is_away(conn: Conn, relay_conn: Conn) -> None:
    bad, good = append(conn, "k", "k")
    bus = ScriptedBus(refusing(bad, there_too=AWAY))
    counts = a_round(relay_conn, bus)
    assert (counts.published, counts.refused, counts.away) == (1, 0, 1)
    assert statuses(conn) == {"published": 1, "pending": 1}
    assert count(conn, "dead_letters") == 0
    bus.decide = refusing(bad)
    assert a_round(relay_conn, bus) == Counts(refused=1)
    assert [message.topic for message in bus.published] == ["some.topic", "some.topic.dlq"]
    assert ids(bus.published) == [str(good.operation_id), str(bad.operation_id)]


def test_an_event_too_large_for_its_dead_letter_topic_goes_there_without_its_content(
    conn: Conn, relay_conn: Conn
) -> None:
    (bad,) = append(conn, "k")
    bus = ScriptedBus(lambda m: PUBLISHED if b"batch_number" not in m.value else TOO_LARGE)
    assert a_round(relay_conn, bus) == Counts(refused=1)
    (letter,) = bus.published
    said = json.loads(letter.value)["original_data"]
    assert said["event_id"] == str(bad.operation_id) and said["payload"] == said["metadata"] == {}
    (payload,) = conn.execute("select payload from dead_letters").fetchone() or ("",)
    assert json.loads(payload)["payload"] == {"batch_number": 1}


def test_what_no_topic_takes_stays_a_dead_letter_of_the_database(
    conn: Conn, relay_conn: Conn, caplog: pytest.LogCaptureFixture
) -> None:
    (bad,) = append(conn, "k")
    with caplog.at_level(logging.WARNING):
        assert a_round(relay_conn, ScriptedBus(refusing(bad, there_too=TOO_LARGE))) == Counts(refused=1)
    assert count(conn, "dead_letters") == 1
    assert [record.message for record in caplog.records] == ["dead_letter_record_refused", "event_refused"]


def test_a_backlog_goes_out_batch_by_batch(conn: Conn, relay_conn: Conn) -> None:
    append(conn, *"abcabca")
    bus = ScriptedBus()
    assert [a_round(relay_conn, bus, rows_limit=3).published for _ in range(4)] == [3, 3, 1, 0]


# ---- who relays -----------------------------------------------------------------------------------------------------


def test_relays_are_counted_while_their_connections_live(conn: Conn, database: str) -> None:
    assert relays.alive(conn) == 0
    relays.join(conn, "one")
    with store_connection(database) as second, store_connection(database) as third:
        relays.join(second, "two")
        relays.join(third, "two")
        assert relays.alive(conn) == 3
        assert relays.is_alive(conn, "two") and not relays.is_alive(conn, "three")
    wait_until(lambda: relays.alive(conn) == 1, seconds=5, what="the others are gone")
    assert relays.is_alive(conn, "one") and not relays.is_alive(conn, "two")


# ---- the life of a relay --------------------------------------------------------------------------------------------


def arrived(bus: ScriptedBus, events: int) -> None:
    wait_until(lambda: len(bus.published) == events, seconds=10, what=f"{events} events are published")


def noted(conn: Conn) -> None:
    wait_until(lambda: outbox.depth(conn).pending == 0, seconds=10, what="nothing waits in the outbox")


def joined(conn: Conn) -> None:
    wait_until(lambda: relays.is_alive(conn, "r"), seconds=5, what="the relay has joined")


def test_a_commit_wakes_a_relay_that_waits(database: str, conn: Conn) -> None:
    bus = ScriptedBus()
    with relaying(database, bus, sweep_s=NEVER_S):
        joined(conn)
        for number in range(1, 6):
            append(conn, "k")
            arrived(bus, number)


def test_a_relay_that_nobody_nudged_looks_by_itself(database: str, conn: Conn) -> None:
    (operation,) = append(conn, "k")
    bus = ScriptedBus()
    with relaying(database, bus):
        arrived(bus, 1)
        wait_until(lambda: statuses(conn) == {"published": 1}, seconds=5, what="the relay is done with it")
        conn.execute("update event_logs set status = 'pending' where id = %s", (operation.operation_id,))
        arrived(bus, 2)


def test_a_bus_that_is_away_is_left_alone_and_nothing_is_lost(
    database: str, conn: Conn, caplog: pytest.LogCaptureFixture
) -> None:
    bus = ScriptedBus()
    bus.is_away = True
    keys = [f"k{n % 7}" for n in range(50)]
    with caplog.at_level(logging.INFO), relaying(database, bus):
        given = append(conn, *keys)
        wait_until(lambda: bus.asked >= 3, seconds=5, what="the bus is only asked how it is")
        assert bus.batches == FAILED_ROUNDS
        given += append(conn, *keys)
        assert statuses(conn) == {"pending": 100}
        bus.is_away = False
        wait_until(lambda: statuses(conn) == {"published": 100}, seconds=5, what="all are published")
    assert ids(bus.published) == [str(operation.operation_id) for operation in given]
    said = [r.message for r in caplog.records if r.name == "worker.relay.relay"]
    assert said == ["relay_started", "bus_away", "bus_back", "relay_counts", "relay_stopped"]


def test_a_relay_that_loses_its_connection_takes_a_new_one_and_listens_again(
    database: str, conn: Conn, caplog: pytest.LogCaptureFixture
) -> None:
    bus = ScriptedBus()
    with caplog.at_level(logging.INFO), relaying(database, bus, sweep_s=NEVER_S):
        joined(conn)
        append(conn, "k")
        arrived(bus, 1)
        noted(conn)  # else it would be published once more
        conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test relay'")
        append(conn, "k")
        arrived(bus, 2)  # over a new connection
        append(conn, "k")
        arrived(bus, 3)
    said = [r.message for r in caplog.records if r.name == "worker.relay.relay"]
    assert said == ["relay_started", "database_away", "database_back", "relay_counts", "relay_stopped"]


def test_a_relay_waits_for_a_database_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), relaying("postgresql://u:hunter2@127.0.0.1:1/none", ScriptedBus()) as relay:
        wait_until(lambda: relay._failures >= 3, seconds=10, what="it has tried three times")
    said = [r.message for r in caplog.records if r.name == "worker.relay.relay"]
    assert said == ["relay_started", "database_away", "relay_stopped"]
    assert "hunter2" not in caplog.text


def test_a_defect_is_told_with_its_traceback_and_does_not_end_the_relay(
    database: str, conn: Conn, caplog: pytest.LogCaptureFixture
) -> None:
    def once(message: BusMessage) -> Delivery:
        bus.decide = lambda message: PUBLISHED
        raise LookupError("a defect")

    bus = ScriptedBus(once)
    append(conn, "k")
    with caplog.at_level(logging.ERROR), relaying(database, bus):
        wait_until(lambda: statuses(conn) == {"published": 1}, seconds=5, what="it is published all the same")
    (told,) = caplog.records
    assert told.message == "relay_failed" and told.exc_info is not None
    assert len(outbox.take_shards(conn, EVERY_SHARD)) == SHARDS, "its shards are free again"


def test_a_relay_that_is_stopped_publishes_what_lies_ready(database: str, conn: Conn) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(message: BusMessage) -> Delivery:
        started.set()
        go_on.wait(60)
        return PUBLISHED

    bus = ScriptedBus(slow)
    append(conn, "k")
    with relaying(database, bus, batch_events=1) as relay:
        assert started.wait(60)
        append(conn, "k", "l")
        relay.stop()
        go_on.set()
    assert statuses(conn) == {"published": 3}
    assert len(outbox.take_shards(conn, EVERY_SHARD)) == SHARDS


def test_a_stopped_relay_does_not_wait_for_its_sweep(database: str, conn: Conn) -> None:
    with relaying(database, ScriptedBus(), sweep_s=NEVER_S):  # it must end before that, or this fails
        joined(conn)
