"""A consumer between a real bus and a fleet of one thread: what it submits, commits, and leaves to the next one."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import Item
from tests.answerer import Answerer, Choice, answering
from tests.bus_records import LATER, TOPIC, WORKFLOW, envelope
from tests.conftest import clean_environment, fleet
from tests.deadline import wait_until
from tests.integration.brokers import RestartableBroker
from tests.integration.omninode_bridge.client.clients import client_of
from worker.bus import Bus, BusMessage, BusRecord, open_bus
from worker.intake.consume import ConsumeConfig, Consumption
from worker.settings import Settings

GROUP = "group"
WAIT_S = 30


@contextmanager
def bus_at(url: str) -> Iterator[Bus]:
    bus = open_bus(Settings.load(broker_url=url, bus_claim_idle_s=1))
    yield bus
    bus.close()


def put(url: str, messages: Sequence[BusMessage]) -> None:
    with bus_at(url) as bus:
        assert {delivery.status for delivery in bus.publish(messages, timeout_s=10)} == {"published"}


def noted(number: int) -> BusMessage:
    event = {"event_type": "noted", "n": number, "timestamp": LATER}
    return BusMessage(TOPIC, f"key-{number % 7}", json.dumps(event).encode())


def read(url: str, *, group: str = GROUP, topic: str = ".*") -> list[BusRecord]:
    """What the next member of the group gets."""
    with bus_at(url) as bus:
        consumer = bus.consumer(group, [f"^{topic}$"], on_lost=lambda places: None)
        records: list[BusRecord] = []
        while some := consumer.poll(1000, 0.5):
            records += some
        consumer.close()
    return records


@contextmanager
def consuming(url: str, **options: Any) -> Iterator[Consumption]:
    """A consumer that runs while the block does, and then ends warm."""
    config = ConsumeConfig(group=GROUP, topics=("^.*$",), **options)
    client = client_of(url)
    with bus_at(url) as bus:
        consumption = Consumption(config, bus=bus, submit=client.submit)
        thread = threading.Thread(target=consumption.run, name="consumption", daemon=True)
        thread.start()
        try:
            yield consumption
        finally:
            consumption.stop()
            thread.join(WAIT_S)
            with suppress(OnexError):  # what is unconfirmed stays with the bus
                client.close(0)
            assert not thread.is_alive()


def committed(consumption: Consumption, count: int) -> None:
    wait_until(lambda: consumption.counts.committed >= count, seconds=WAIT_S, what=f"{count} records are committed")


def refusals(_: str, items: list[Item]) -> Choice:
    """The answers of a fleet that refuses what came as a refusal."""
    return "answer", [
        Outcome(one.operation_id, "refused", one.code, one.message)
        if isinstance(one, Refusal)
        else Outcome(one.operation_id, "applied")
        for one in items
    ]


def test_every_record_becomes_an_operation_and_is_committed_when_that_is_confirmed(
    broker: str, answerer: Answerer
) -> None:
    put(broker, [noted(number) for number in range(1000)])
    with consuming(broker, max_records=300) as consumption:
        committed(consumption, 1000)
    assert sorted(item.data.payload["n"] for item in answerer.received) == list(range(1000))  # type: ignore[union-attr]
    assert consumption.counts.applied == 1000 and consumption.under_way == 0
    assert read(broker) == []


def test_without_confirmation_nothing_is_committed(broker: str, answerer: Answerer) -> None:
    answerer.choose = lambda _, items: ("drop", None)
    put(broker, [noted(number) for number in range(20)])
    with consuming(broker, stop_s=0.2):
        wait_until(lambda: len(answerer.received) == 20, seconds=WAIT_S, what="all is submitted")
    assert len(read(broker)) == 20


def test_a_refused_record_stands_on_the_dead_letter_topic_once_whoever_reads_that(
    broker: str, answerer: Answerer
) -> None:
    answerer.choose = refusals
    bad = envelope("step_completed", {"timestamp": LATER}, correlation_id=WORKFLOW)
    put(broker, [noted(1), BusMessage(TOPIC, "k", json.dumps(bad).encode()), BusMessage(TOPIC, "", b"{no json")])
    with consuming(broker) as consumption:
        committed(consumption, 5)  # three records, and the dead letters of two
    assert (consumption.counts.refused, consumption.counts.dlq) == (4, 2)
    by_id = {item.operation_id for item in answerer.received}
    assert len(answerer.received) == 5 and len(by_id) == 3, "a dead letter has the id of its record"
    letters = [json.loads(one.value or b"") for one in read(broker, group="reader", topic=".*[.]dlq")]
    assert {str(letter["original_message"])[:9] for letter in letters} == {"{no json", "{'envelop"}
    assert {letter["original_topic"] for letter in letters} == {TOPIC}


def test_an_outage_of_broker_and_bus_is_a_pause(restartable_broker: RestartableBroker) -> None:
    url = restartable_broker.url
    put(url, [noted(number) for number in range(2000)])
    with answering(url) as answerer, consuming(url, max_records=200) as consumption:
        wait_until(lambda: consumption.counts.committed > 200, seconds=WAIT_S, what="it is on its way")
        restartable_broker.kill()
        restartable_broker.start()
        committed(consumption, 2000)
        seen = {item.operation_id for item in answerer.received}
    assert len(seen) == 2000 and read(url) == []


# ---- as a process ---------------------------------------------------------------------------------------------------


@contextmanager
def process(url: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`fleet consume`; killed at the end, where it still runs."""
    environment = {"OMNINODE_BROKER_URL": url, "OMNINODE_CONSUME_GROUP": GROUP, **variables}
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "consume", "--topics", "^.*$"],
        env=clean_environment(environment),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def logged(stderr: str) -> dict[str, dict[str, Any]]:
    """The last line of each event."""
    return {line["event"]: line for line in map(json.loads, stderr.splitlines())}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_warm_and_the_next_consumer_reads_on_where_it_ended(
    broker: str, answerer: Answerer, number: signal.Signals
) -> None:
    put(broker, [noted(number) for number in range(2000)])
    answerer.pause()
    with process(broker, OMNINODE_CONSUME_MAX_RECORDS="500") as first, redis.Redis.from_url(broker) as queue:
        wait_until(lambda: queue.llen("persist"), seconds=WAIT_S, what="something is under way")
        first.send_signal(number)
        first.send_signal(number)
        answerer.resume()
        _, stderr = first.communicate(timeout=WAIT_S)
    assert first.returncode == 0
    stopped = logged(stderr)["consume_stopped"]
    assert stopped["under_way"] == 0
    assert stopped["committed"] == stopped["records"] == len(answerer.received) < 2000
    with process(broker) as second:
        wait_until(lambda: len(answerer.received) >= 2000, seconds=WAIT_S, what="the next one takes the rest")
        second.send_signal(signal.SIGTERM)
        assert second.wait(WAIT_S) == 0
    assert len({item.operation_id for item in answerer.received}) == len(answerer.received) == 2000
    assert read(broker) == []


def test_its_arguments_and_its_ready_file(broker: str, answerer: Answerer, tmp_path: Path) -> None:
    bad = fleet("consume", "--bus", "kafka", environment={"OMNINODE_BROKER_URL": broker})
    assert bad.returncode == 1 and "OMNINODE_BUS_URL" in bad.stderr
    assert fleet("consume").returncode == 2
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "worker", "consume", "--ready-file", str(ready), "--group", "g", "--topics", "a,b"]
    running = subprocess.Popen(command, env=clean_environment({"OMNINODE_BROKER_URL": broker}), stderr=subprocess.PIPE)
    try:
        wait_until(ready.exists, seconds=WAIT_S, what="it is ready")
    finally:
        running.terminate()
        running.communicate(timeout=WAIT_S)
    assert running.returncode == 0


def test_publish_puts_a_files_records_on_the_bus_and_names_the_lines_that_it_cannot(
    broker: str, tmp_path: Path
) -> None:
    file = tmp_path / "records.jsonl"
    lines = [
        {"topic": TOPIC, "key": "k", "value": {"event_type": "noted", "n": 1.0}},
        {"topic": TOPIC, "key": None, "value": "{no json"},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = fleet("publish", file, environment={"OMNINODE_BROKER_URL": broker})
    assert done.returncode == 0, done.stderr
    assert "2 published, 0 refused" in done.stdout
    values = {(one.key or None, one.value) for one in read(broker)}
    assert values == {("k", b'{"event_type":"noted","n":1.0}'), (None, b"{no json")}
    file.write_text('nonsense\n\n{"topic": "no topic!", "key": "k", "value": {}}\n{"topic": "t"}\n')
    done = fleet("publish", file, environment={"OMNINODE_BROKER_URL": broker})
    assert done.returncode == 1 and "0 published, 3 refused" in done.stdout
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["line 1", "line 3", "line 4"]
