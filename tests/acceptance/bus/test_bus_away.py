"""A bus that goes away under load: effects go on, nothing is lost, the backlog drains when it is back."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from omninode_bridge import StoreEffect
from omninode_bridge.intents.intents import intent_item
from tests.acceptance.fleet.test_announcements import announced, assert_in_order, event_id, first_of_each, waiting
from tests.buses import BusHarness, RedisHarness
from tests.conftest import Stack, fleet, read_environment
from tests.deadline import wait_until
from tests.integration.brokers import RestartableBroker
from tests.intent_stream import Intent, intents
from worker.bus import BusRecord, open_bus
from worker.settings import Settings

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]
AWAY_S = 8.0  # a bus is noticed to be away after the first failed batches; more of the same follows


@pytest.fixture(params=["redis", "kafka"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BusHarness]:
    if request.param == "redis":
        server = RestartableBroker(tmp_path)
        yield RedisHarness(server)
        server.kill()
        return
    pytest.importorskip("confluent_kafka")
    from tests.kafka_harness import KafkaHarness

    kafka = KafkaHarness()
    yield kafka
    kafka.mock.close()


@contextmanager
def fleet_on(bus: BusHarness, data_dir: Path) -> Iterator[Stack]:
    """A fleet whose bus is that one."""
    variables = {"OMNINODE_BUS": bus.kind, "OMNINODE_BUS_URL": bus.url, "OMNINODE_BUS_TIMEOUT_S": "2"}
    started = fleet("up", "--detach", "--data-dir", data_dir, "--no-flower", "--no-beat", environment=variables)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield Stack(data_dir, variables | read_environment(data_dir / "fleet.env"))
    finally:
        stopped = fleet("down", "--data-dir", data_dir)
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr


def read_all(bus: BusHarness, wanted: set[str]) -> list[BusRecord]:
    opened = open_bus(Settings.load(bus=bus.kind, bus_url=bus.url))
    consumer = opened.consumer("reader", [r"^.*$"], on_lost=lambda lost: None)
    seen: list[BusRecord] = []

    def arrived() -> bool:
        seen.extend(consumer.poll(1000, 0.5))
        return wanted <= {event_id(record) for record in seen}

    wait_until(arrived, seconds=60, what="every event is on the bus")
    consumer.close()
    opened.close()
    return seen


def test_with_the_bus_away_effects_go_on_and_the_backlog_drains_when_it_is_back(
    harness: BusHarness, tmp_path: Path
) -> None:
    given = intents(6_000, seed=7, ending=datetime.now(UTC))
    with (
        fleet_on(harness, tmp_path / "fleet") as stack,
        psycopg.connect(stack.env["OMNINODE_DATABASE_URL"], autocommit=True) as conn,
    ):
        before, during = asyncio.run(under_load(stack, given, harness))
        assert before == {True}, "the bus was there"
        assert during == {False}, "nobody said that the bus had what it had not"
        assert waiting(conn) > 0
        harness.come_back()
        wait_until(lambda: waiting(conn) == 0, seconds=60, what="the backlog is drained")
        expected = announced([intent_item(intent) for intent in given])
        once = first_of_each(read_all(harness, set(expected)))
        assert {event_id(record) for record in once} == set(expected)
        assert_in_order(conn, once)


async def under_load(stack: Stack, given: list[Intent], bus: BusHarness) -> tuple[set[bool], set[bool]]:
    """Send everything, the bus going away early; what was said of publishing at the first and in the last second."""
    async with StoreEffect.from_environment(stack.env) as effect:
        for _ in range(100):  # the relay's first way to the bus takes longer than an answer waits
            if (first := published(await effect.execute_intents(given[:20]))) == {True}:
                break
        await asyncio.to_thread(bus.go_away)
        rest, last = given[20:], list[Any]()
        begun = time.monotonic()
        lists = [rest[start : start + 50] for start in range(0, len(rest), 50)]
        for number, some in enumerate(lists):  # spread over the time that the bus is away
            await asyncio.sleep(max(0.0, begun + AWAY_S * number / len(lists) - time.monotonic()))
            last = await effect.execute_intents(some)
            assert all(result.success or result.error for result in last)
        return first, published(last)


def published(results: list[Any]) -> set[bool]:
    return {result.event_published for result in results if result.success and hasattr(result, "event_published")}
