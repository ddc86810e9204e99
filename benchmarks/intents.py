"""Intents through the fleet, events to the bus, recovery.

A latency is what a caller waits for its answer; of PublishEvent to bus, from the call to the reader that has the event.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from benchmarks.figures import Measurement, Seen, latency, percentile
from omninode_bridge import StoreEffect
from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.intent_operation import PublishEventData
from omninode_bridge.contract.operation_types import operation_of
from store.database.connection import connection
from store.outbox.outbox import depth
from store.reports import recovery
from store.write.apply import apply
from worker.bus import open_bus
from worker.settings import Settings

Intent = dict[str, Any]
CALLERS = 32


def publish_event() -> Intent:
    data = {"aggregation_id": str(uuid4()), "batch_number": 3, "timestamp": _now()}
    payload = {"event_type": "batch_processed", "data": data, "timestamp": _now()}
    return {
        "intent_type": "PublishEvent",
        "target": "event_bus",
        "payload": payload,
        "priority": 0,
        "intent_id": uuid7(),
    }


def persist_state() -> Intent:
    totals = {"total_stamps": 10, "total_size_bytes": 4096, "unique_workflows_count": 2, "file_types": ["text/plain"]}
    payload = {
        "aggregated_data": {"omninode.services.metadata": totals, "omninode.services.workflow": totals},
        "fsm_states": {str(uuid4()): "COMPLETED", str(uuid4()): "PROCESSING"},
        "aggregation_id": str(uuid4()),
        "timestamp": _now(),
    }
    return {"intent_type": "PersistState", "target": "store_effect", "payload": payload, "priority": 1}


def persist_fsm_transition() -> Intent:
    record = {"from_state": "PENDING", "to_state": "PROCESSING", "trigger": "workflow_started", "timestamp": _now()}
    payload = {
        "workflow_id": str(uuid4()),
        "current_state": "PROCESSING",
        "previous_state": "PENDING",
        "transition_count": 1,
        "transition_record": record,
        "transition_history": [record],
        "timestamp": _now(),
    }
    return {"intent_type": "PersistFSMTransition", "target": "store_effect", "payload": payload, "priority": 1}


def _now() -> str:
    return datetime.now(UTC).isoformat()


async def _at_a_rate(
    effect: StoreEffect, make: Callable[[int], Intent], *, per_s: float, seconds: float
) -> tuple[list[float], float]:
    """Call `execute_intent` that often; the latencies in ms, and how many a second were answered."""
    latencies: list[float] = []

    async def one(number: int) -> None:
        intent, started = make(number), time.perf_counter()
        result = await effect.execute_intent(intent)
        assert result.success, result.error
        latencies.append((time.perf_counter() - started) * 1000)

    begun = time.perf_counter()
    calls: list[asyncio.Task[None]] = []
    for number in range(int(per_s * seconds)):
        await asyncio.sleep(max(0.0, begun + number / per_s - time.perf_counter()))
        calls.append(asyncio.create_task(one(number)))
    await asyncio.gather(*calls)
    return latencies, len(latencies) / (time.perf_counter() - begun)


async def _flat_out(effect: StoreEffect, make: Callable[[int], Intent], *, seconds: float) -> float:
    """Many callers, each with the next list of ten as soon as the last is answered; intents a second."""
    done = 0
    end = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            results = await effect.execute_intents([make(number) for number in range(10)])
            assert all(result.success for result in results)
            done += len(results)

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return done / (time.perf_counter() - begun)


def _mixed(number: int) -> Intent:
    return (publish_event, persist_state, persist_fsm_transition)[number % 3]()


def mixed_rate(variables: dict[str, str], seconds: float) -> list[Seen]:
    """Mixed intents: as many as go, and then a thousand a second."""

    async def run() -> list[Seen]:
        async with StoreEffect.from_environment(variables) as effect:
            await effect.execute_intent(publish_event())
            most = await _flat_out(effect, _mixed, seconds=seconds)
            latencies, rate = await _at_a_rate(effect, _mixed, per_s=1000, seconds=seconds)
        flat_out = Seen(f"mixed intents, {CALLERS} callers of lists of 10", f"{most:,.0f} intents/s", ">= 1,000/s")
        return [flat_out, latency("mixed intents", latencies, rate, "1,000/s, p95 < 50 ms")]

    return asyncio.run(run())


def persist_state_latency(variables: dict[str, str], seconds: float) -> list[Seen]:
    return _alone(variables, "PersistState", persist_state, seconds, "p95 < 50 ms")


def fsm_latency(variables: dict[str, str], seconds: float) -> list[Seen]:
    return _alone(variables, "PersistFSMTransition", persist_fsm_transition, seconds, "p95 < 30 ms")


def _alone(variables: dict[str, str], what: str, make: Callable[[], Intent], seconds: float, wanted: str) -> list[Seen]:
    async def run() -> list[Seen]:
        async with StoreEffect.from_environment(variables) as effect:
            await effect.execute_intent(make())
            latencies, rate = await _at_a_rate(effect, lambda number: make(), per_s=200, seconds=seconds)
        return [latency(what, latencies, rate, wanted)]

    return asyncio.run(run())


def publish_latency(variables: dict[str, str], seconds: float) -> list[Seen]:
    """From the call to the reader of the bus, 500 a second."""
    arrived: dict[str, float] = {}
    first, ready, stop = publish_event(), Event(), Event()
    reader = Thread(target=_read_bus, args=(variables, arrived, str(first["intent_id"]), ready, stop))
    reader.start()
    called: dict[str, float] = {}

    def make(number: int) -> Intent:
        intent = publish_event()
        called[str(intent["intent_id"])] = time.perf_counter()
        return intent

    async def run() -> float:
        async with StoreEffect.from_environment(variables) as effect:
            await effect.execute_intent(first)
            assert ready.wait(30), "the reader has not caught up with what the bus has"
            _, rate = await _at_a_rate(effect, make, per_s=500, seconds=seconds)
            return rate

    rate = asyncio.run(run())
    deadline = time.monotonic() + 10
    while called.keys() - arrived.keys() and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    reader.join()
    missing = len(called.keys() - arrived.keys())
    latencies = [(arrived[one] - at) * 1000 for one, at in called.items() if one in arrived]
    lines = [latency("PublishEvent to event on the bus", latencies, rate, "500/s, p95 < 30 ms")]
    return lines + ([Seen("events that did not arrive", str(missing), "0")] if missing else [])


def _read_bus(variables: dict[str, str], arrived: dict[str, float], first: str, ready: Event, stop: Event) -> None:
    """Note when each event arrives; `ready` once the first one has, and with it all that the bus had before."""
    bus = open_bus(_settings(variables))
    consumer = bus.consumer(f"bench-{uuid4().hex}", [r"^omninode_bridge[.]reducer[.].*"], on_lost=lambda lost: None)
    while not stop.is_set():
        records = consumer.poll(1000, 0.1)
        now = time.perf_counter()
        for record in records:
            arrived.setdefault(record.headers["event_id"], now)
        if records:
            consumer.commit(records)
        if first in arrived:
            ready.set()
    consumer.close()
    bus.close()


def relay_rate(variables: dict[str, str], seconds: float) -> list[Seen]:
    """A backlog that the relay finds all at once."""
    events = int(5000 * seconds)
    settings = _settings(variables)
    with connection(settings.database_url) as conn:
        payload = {"aggregation_id": str(uuid4()), "timestamp": _now()}
        conn.execute("begin")
        for start in range(0, events, 500):
            data = [PublishEventData(event_type="batch_processed", payload=payload) for _ in range(500)]
            apply(conn, [operation_of(one, correlation_id=uuid7()) for one in data])
            assert start < events
        conn.execute("commit")
        begun = time.perf_counter()
        while depth(conn).pending:
            time.sleep(0.02)
        took = time.perf_counter() - begun
    return [Seen(f"outbox of {events:,} events relayed", f"{events / took:,.0f} events/s", ">= 5,000/s")]


def recovery_latency(variables: dict[str, str], seconds: float) -> list[Seen]:
    """10,000 of 1,000,000 workflows, in the store."""
    with connection(_settings(variables).database_url) as conn:
        conn.execute(
            "insert into fsm_states (entity_type, entity_id, current_state, previous_state, transition_count,"
            " last_transition_at, clock, metadata)"
            " select 'workflow_execution', gen_random_uuid(), 'PROCESSING', 'PENDING', 1,"
            " now() - n * interval '0.5 s', '', jsonb_build_object('namespace', 'bench')"
            " from generate_series(1, 1000000) as n"
        )
        conn.execute("analyze fsm_states")
        latencies: list[float] = []
        gc.freeze()  # as a worker does before it begins
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(latencies) < 20:
            started = time.perf_counter()
            recovered = recovery.recover(conn)
            latencies.append((time.perf_counter() - started) * 1000)
            assert len(recovered.states) == 10_000 and not recovered.partial
    p50, p95 = percentile(latencies, 0.5), percentile(latencies, 0.95)
    return [Seen("10,000 of 1,000,000 workflows recovered", f"p50 {p50:.0f} ms, p95 {p95:.0f} ms", "p95 < 100 ms")]


def _settings(variables: dict[str, str]) -> Settings:
    return Settings.load(database_url=variables["OMNINODE_DATABASE_URL"], broker_url=variables["OMNINODE_BROKER_URL"])


MEASUREMENTS: dict[str, Measurement] = {
    "mixed": mixed_rate,
    "state": persist_state_latency,
    "fsm": fsm_latency,
    "publish": publish_latency,
    "relay": relay_rate,
    "recovery": recovery_latency,
}
