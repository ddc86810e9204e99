"""Relays as processes, between a real PostgreSQL and real Redis streams."""

import json
import os
import signal
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from omninode_bridge.contract.operation import Operation
from store.outbox import outbox, relays
from store.write.apply import apply
from tests.conftest import clean_environment
from tests.deadline import wait_until
from tests.factories import publish_event, store_connection
from tests.integration.brokers import RestartableBroker
from worker.bus import BusRecord, open_bus
from worker.embedded.launch import fleet_command
from worker.settings import ROOT, Settings

Conn = psycopg.Connection[Any]
TOPIC = "relayed.events"
DRAINED_S = 60


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as opened:
        yield opened


class RelayProcess:
    """`fleet relay` of a name, at work."""

    def __init__(self, name: str, environment: dict[str, str], conn: Conn) -> None:
        self.process = subprocess.Popen(
            fleet_command("relay", "--name", name),
            cwd=ROOT,
            env=clean_environment(environment),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: list[str] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        wait_until(lambda: relays.is_alive(conn, name), seconds=30, what=f"relay {name} has joined")

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self._end()

    def events(self) -> list[dict[str, Any]]:
        """Its log lines, when it has ended."""
        return [json.loads(line) for line in self._said]

    def _end(self) -> int:
        code = self.process.wait(60)
        self._reading.join(60)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self._said.extend(lines)


@contextmanager
def relay_processes(
    conn: Conn, database: str, bus_url: str, *names: str, **settings: object
) -> Iterator[list[RelayProcess]]:
    urls = {"OMNINODE_DATABASE_URL": database, "OMNINODE_BUS_URL": bus_url}
    environment = urls | {f"OMNINODE_{name.upper()}": str(value) for name, value in settings.items()}
    with ExitStack() as stack:
        started = []
        for name in names:
            one = RelayProcess(name, environment, conn)
            stack.callback(one.kill)
            started.append(one)
        yield started


def append(database: str, keys: Sequence[str], *, batch: int = 250, **fields: Any) -> None:
    """Events of these keys, in batches of an own connection."""
    with store_connection(database) as conn:
        for start in range(0, len(keys), batch):
            events = [publish_event(partition_key=key, topic=TOPIC, **fields) for key in keys[start : start + batch]]
            assert {outcome.status for outcome in apply(conn, events)} == {"applied"}


def drained(conn: Conn) -> None:
    wait_until(lambda: outbox.depth(conn).pending == 0, seconds=DRAINED_S, what="nothing waits")


def read_all(bus_url: str, topic: str = TOPIC, *, kind: str = "redis", events: int = 1) -> list[BusRecord]:
    """Everything of the topic, at least so many events, in the order of the bus within each partition."""
    bus = open_bus(Settings.load(bus=kind, bus_url=bus_url))
    consumer = bus.consumer("reader", [topic], on_lost=lambda lost: None)
    found: list[BusRecord] = []

    def read() -> bool:
        records = consumer.poll(1000, 1.0)
        found.extend(records)
        return not records and len(found) >= events

    wait_until(read, seconds=DRAINED_S, what=f"{events} events are read")
    consumer.close()
    bus.close()
    return found


def assert_complete_and_in_order(conn: Conn, records: Sequence[BusRecord]) -> None:
    """Every event is there, and the first appearances of a key's events are in the order of their seq."""
    seqs = {str(id_): seq for id_, seq in conn.execute("select id, seq from event_logs where direction = 'out'")}
    once = list(dict.fromkeys(record.headers["event_id"] for record in records))
    assert set(once) == set(seqs)
    keys = {record.headers["event_id"]: record.key for record in records}
    by_key: dict[str | None, list[int]] = defaultdict(list)
    for event_id in once:
        by_key[keys[event_id]].append(seqs[event_id])
    assert [key for key, order in by_key.items() if order != sorted(order)] == []


@pytest.mark.timeout(240)
def test_three_relays_of_which_one_is_killed_keep_the_order_of_every_key(
    conn: Conn, database: str, broker: str
) -> None:
    keys = [f"key-{number % 500}" for number in range(20_000)]
    with relay_processes(conn, database, broker, "r1", "r2", "r3") as (first, second, third):
        assert relays.alive(conn) == 3
        with ThreadPoolExecutor(4) as pool:
            writing = [pool.submit(append, database, keys[start::4]) for start in range(4)]
            wait_until(lambda: published(conn) > 4_000, seconds=DRAINED_S, what="a few thousand are published")
            os.kill(second.process.pid, signal.SIGKILL)
            for one in writing:
                one.result()
        drained(conn)
        assert [first.stop(), third.stop(signal.SIGINT)] == [0, 0]
    records = read_all(broker)
    repeated = len(records) - len({record.headers["event_id"] for record in records})
    assert repeated <= 500, "more than the batch that the killed one had not settled"
    assert_complete_and_in_order(conn, records)
    shares = [
        sum(e.get("published", 0) for e in one.events() if e["event"] == "relay_counts") for one in (first, third)
    ]
    assert min(shares) > 1_000, f"the work was not shared: {shares}"


def published(conn: Conn) -> int:
    row = conn.execute("select count(*) from event_logs where direction = 'out' and status = 'published'").fetchone()
    return int(row[0]) if row else 0


@pytest.mark.timeout(180)
def test_a_bus_that_goes_down_under_writes_loses_nothing(
    conn: Conn, database: str, restartable_broker: RestartableBroker
) -> None:
    bus = restartable_broker
    keys = [f"key-{number % 50}" for number in range(6_000)]
    with relay_processes(conn, database, bus.url, "r1", bus_timeout_s=2) as (relay,):
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(append, database, keys, batch=100)
            wait_until(lambda: published(conn) > 500, seconds=30, what="some are published")
            bus.kill()
            writing.result()
        assert outbox.depth(conn).pending > 0
        bus.start()
        drained(conn)
        assert relay.stop() == 0
    assert published(conn) == 6_000
    assert_complete_and_in_order(conn, read_all(bus.url))
    said = [line["event"] for line in relay.events()]
    assert (said.count("bus_away"), said.count("bus_back")) == (1, 1)


@pytest.mark.timeout(180)
def test_kafka_going_down_under_writes_loses_nothing_either(conn: Conn, database: str) -> None:
    pytest.importorskip("confluent_kafka")
    from tests.kafka_harness import KafkaHarness

    keys = [f"key-{number % 50}" for number in range(4_000)]
    given = {"bus": "kafka", "bus_timeout_s": 2}
    with KafkaHarness() as kafka, relay_processes(conn, database, kafka.url, "r1", **given) as (relay,):
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(append, database, keys, batch=100)
            wait_until(lambda: published(conn) > 500, seconds=30, what="some are published")
            kafka.go_away()
            writing.result()
        assert outbox.depth(conn).pending > 0
        kafka.come_back()
        drained(conn)
        assert relay.stop() == 0
        assert published(conn) == 4_000
        assert_complete_and_in_order(conn, read_all(kafka.url, kind="kafka", events=4_000))


def test_an_event_too_large_for_the_bus_is_on_its_dead_letter_topic_and_the_key_flows(
    conn: Conn, database: str, broker: str
) -> None:
    with relay_processes(conn, database, broker, "r1", bus_max_message_bytes=20_000):
        append(database, ["k"])
        with store_connection(database) as other:
            apply(other, [too_large("k")])
        append(database, ["k"])
        drained(conn)
    assert [record.key for record in read_all(broker)] == ["k", "k"]
    (letter,) = read_all(broker, f"{TOPIC}.dlq")
    said = json.loads(letter.value or b"")
    assert letter.key == "k" and "bytes are more than the bus takes" in said["failure_reason"]
    assert said["original_data"]["event_id"] == letter.headers["event_id"]
    kept = conn.execute("select id::text, form, status, length(payload) > 20000 from dead_letters").fetchall()
    assert kept == [(letter.headers["event_id"], "event", "open", True)]


def too_large(key: str) -> Operation:
    event = publish_event(partition_key=key, topic=TOPIC)
    data = event.data.model_copy(update={"payload": {"text": "x" * 30_000}})
    return event.model_copy(update={"data": data})


def test_a_relay_that_stops_says_what_it_did(conn: Conn, database: str, broker: str) -> None:
    with relay_processes(conn, database, broker, "r1") as (relay,):
        append(database, ["a", "b"])
        drained(conn)
        assert relay.stop() == 0
    told = relay.events()
    assert [line["event"] for line in told] == ["relay_started", "relay_counts", "relay_stopped"]
    assert (told[0]["bus"], told[1]["published"], told[1]["relay"]) == ("redis", 2, "r1")
    wait_until(lambda: relays.alive(conn) == 0, seconds=5, what="it is no longer counted")


def test_without_a_bus_a_relay_says_what_is_missing(database: str) -> None:
    done = subprocess.run(
        fleet_command("relay"),
        cwd=ROOT,
        env=clean_environment({"OMNINODE_DATABASE_URL": database, "OMNINODE_BROKER_URL": "amqp://127.0.0.1:1"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    assert "OMNINODE_BUS_URL: missing" in done.stderr
