"""What intents do and what is announced of it, end to end: nothing lost, nothing invented, in order, whoever dies."""

import asyncio
import json
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge import Operation, StoreEffect
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.intents.intents import intent_item
from store.outbox import announcements
from store.write.compare import differences
from store.write.fold import Fold
from tests.acceptance.consuming import consumer_of, left
from tests.acceptance.processes import pids_of
from tests.conftest import Stack
from tests.deadline import wait_until
from tests.factories import count
from tests.intent_stream import Intent, intents
from worker.bus import Bus, BusConsumer, BusRecord, open_bus
from worker.settings import Settings

pytestmark = pytest.mark.acceptance

EVERYTHING = r"^.*$"


@pytest.fixture
def conn(empty: Stack) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty.env["OMNINODE_DATABASE_URL"], autocommit=True) as opened:
        yield opened


@contextmanager
def bus_of(stack: Stack) -> Iterator[Bus]:
    settings = Settings.load(
        broker_url=stack.env["OMNINODE_BROKER_URL"], database_url=stack.env["OMNINODE_DATABASE_URL"]
    )
    bus = open_bus(settings)
    yield bus
    bus.close()


@contextmanager
def reader(stack: Stack, group: str) -> Iterator[BusConsumer]:
    """A group of its own, which has passed over what the bus held before."""
    with bus_of(stack) as bus:
        consumer = bus.consumer(group, [EVERYTHING], on_lost=lambda lost: None)
        while old := consumer.poll(1000, 0.5):
            consumer.commit(old)
        yield consumer
        consumer.close()


async def execute(stack: Stack, given: list[Intent], *, at_a_time: int = 8, lists_of: int = 25) -> list[Any]:
    """The results of all of them, sent by several callers."""
    gate = asyncio.Semaphore(at_a_time)

    async with StoreEffect.from_environment(stack.env) as effect:

        async def some(part: list[Intent]) -> list[Any]:
            async with gate:
                return list(await effect.execute_intents(part, timeout_s=120))

        starts = range(0, len(given), lists_of)
        parts = await asyncio.gather(*(some(given[start : start + lists_of]) for start in starts))
    return [result for part in parts for result in part]


def announced(items: list[Operation | Refusal]) -> dict[str, Any]:
    """What has to be on the bus, by event id."""
    found: dict[str, Any] = {}
    for item in items:
        says = announcements.of_refusal if isinstance(item, Refusal) else announcements.of_operation
        announcement = says(item, "development")  # type: ignore[arg-type]  # each gets its own
        assert announcement is not None
        found[str(announcement.id)] = announcement
    return found


def read_all(consumer: BusConsumer, wanted: set[str], *, committing: bool = True) -> list[BusRecord]:
    """Everything until the wanted events are there, and what follows at once."""
    seen: list[BusRecord] = []

    def arrived() -> bool:
        records = consumer.poll(1000, 0.2)
        seen.extend(records)
        if committing:
            consumer.commit(records)
        return not records and wanted <= {event_id(record) for record in seen}

    wait_until(arrived, seconds=60, what="every event is on the bus")
    return seen


def event_id(record: BusRecord) -> str:
    assert record.value is not None
    value = json.loads(record.value)
    told = str((value["original_data"] if record.topic.endswith(".dlq") else value)["event_id"])
    assert record.headers["event_id"] == told
    return told


def first_of_each(records: list[BusRecord]) -> list[BusRecord]:
    kept: dict[str, BusRecord] = {}
    for record in records:
        kept.setdefault(event_id(record), record)
    return list(kept.values())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes through /proc")
@pytest.mark.timeout(300)
def test_ten_thousand_intents_with_a_worker_and_a_relay_killed(empty: Stack, conn: psycopg.Connection[Any]) -> None:
    given = intents(10_000, seed=20261121, ending=datetime.now(UTC))
    items = [intent_item(intent) for intent in given]
    with reader(empty, "ten-thousand") as consumer:

        async def run() -> list[Any]:
            running = asyncio.create_task(execute(empty, given))
            for claimed, victim in ((1_500, "worker"), (4_000, "relay"), (6_000, "worker")):
                await asyncio.to_thread(
                    wait_until, lambda c=claimed: count(conn, "operations") > c, seconds=90, what=f"{claimed} claimed"
                )
                os.kill(pids_of(empty, victim)[0], signal.SIGKILL)
            return await running

        results = asyncio.run(run())
        assert [result.success for result in results] == [isinstance(item, Operation) for item in items]
        expected = announced(items)
        records = read_all(consumer, set(expected))

    fold = Fold()
    for item in items:
        if isinstance(item, Operation):
            fold.add(item)
    assert differences(conn, fold.rows()) == []
    letters = {item.operation_id for item in items if isinstance(item, Refusal)}
    assert {id_ for (id_,) in conn.execute("select id from dead_letters")} == letters

    once = first_of_each(records)
    assert {event_id(record) for record in once} == set(expected), "what is announced is what was done, all of it"
    for record in once:
        told, wanted = json.loads(record.value or b""), expected[event_id(record)]
        assert (record.topic, record.key) == (wanted.topic, wanted.partition_key)
        assert timeless(told["payload"]) == timeless(wanted.payload)
    assert_in_order(conn, once)


def timeless(payload: dict[str, Any]) -> dict[str, Any]:
    """A failure is announced with the moment at which it was found."""
    return {name: value for name, value in payload.items() if name != "timestamp" or "error_code" not in payload}


def assert_in_order(conn: psycopg.Connection[Any], once: list[BusRecord]) -> None:
    """Per key, the first appearances on the bus are in the order of seq."""
    seqs = {str(id_): seq for id_, seq in conn.execute("select id, seq from event_logs where direction = 'out'")}
    by_key: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for record in once:
        by_key[record.topic, record.key].append(seqs[event_id(record)])
    assert max(map(len, by_key.values())) > 20
    assert [key for key, order in by_key.items() if order != sorted(order)] == []


@pytest.mark.timeout(240)
def test_what_the_fleet_announced_becomes_nothing_new_when_it_is_consumed(
    empty: Stack, conn: psycopg.Connection[Any]
) -> None:
    given = intents(200, seed=5, ending=datetime.now(UTC))
    asyncio.run(execute(empty, given))
    wanted = set(announced([intent_item(intent) for intent in given]))
    wait_until(lambda: not waiting(conn), seconds=30, what="the outbox is empty")
    tables = ("operations", "event_logs", "dead_letters", "bridge_states", "fsm_transitions", "fsm_states")
    before = {table: rows(conn, table) for table in tables}
    with reader_from_the_beginning(empty, "loop-check") as consumer:
        read_all(consumer, wanted, committing=False)  # what every group has committed would go
    with consumer_of(empty, group="loop"):
        wait_until(lambda: left(empty, "loop") == 0, seconds=60, what="everything is consumed")
    assert {table: rows(conn, table) for table in tables} == before


TOO_LARGE = "y" * 300_000  # for a bus of 256 KiB
SPECIAL = (
    *("workflow_started", "workflow_completed", "workflow_failed", "step_completed", "state_transition"),
    *("metadata_stamp_created", "state_aggregation_completed", "state_persisted", "node_heartbeat", "query_requested"),
)


@pytest.mark.timeout(240)
def test_what_the_bus_refused_becomes_nothing_new_when_its_dead_letter_is_consumed(
    empty: Stack, conn: psycopg.Connection[Any]
) -> None:
    about = [str(uuid4()) for _ in SPECIAL]
    said = {"timestamp": datetime.now(UTC).isoformat(), "node_id": "n", "text": TOO_LARGE}
    given = [
        {
            "intent_type": "PublishEvent",
            "payload": {"event_type": kind, "correlation_id": one, "data": said | {"workflow_id": one}},
        }
        for kind, one in zip(SPECIAL, about, strict=True)
    ]
    assert all(result.success for result in asyncio.run(execute(empty, given, lists_of=1)))
    wait_until(lambda: not waiting(conn), seconds=30, what="the bus has refused all of them")
    tables = (
        *("operations", "event_logs", "dead_letters", "workflow_executions", "workflow_steps", "fsm_transitions"),
        *("fsm_states", "bridge_states", "metadata_stamps", "node_registrations"),
    )
    before = {table: rows(conn, table) for table in tables}
    assert [len(before[table]) for table in tables] == [len(SPECIAL)] * 3 + [0] * 7
    with reader_from_the_beginning(empty, "dead-letters") as consumer:
        wanted = {str(id_) for (id_,) in conn.execute("select id from dead_letters")}
        told = read_all(consumer, wanted, committing=False)
    assert {record.topic.endswith(".dlq") for record in told if record.key in about} == {True}
    with consumer_of(empty, group="dead-loop"):
        wait_until(lambda: left(empty, "dead-loop") == 0, seconds=60, what="everything is consumed")
    assert {table: rows(conn, table) for table in tables} == before


def waiting(conn: psycopg.Connection[Any]) -> int:
    found = conn.execute("select count(*) from event_logs where direction = 'out' and status = 'pending'").fetchone()
    return int(found[0]) if found else 0


def rows(conn: psycopg.Connection[Any], table: str) -> list[Any]:
    name = psycopg.sql.Identifier(table)
    return conn.execute(psycopg.sql.SQL("select t::text from {} as t order by 1").format(name)).fetchall()


@contextmanager
def reader_from_the_beginning(stack: Stack, group: str) -> Iterator[BusConsumer]:
    with bus_of(stack) as bus:
        consumer = bus.consumer(group, [EVERYTHING], on_lost=lambda lost: None)
        yield consumer
        consumer.close()
