"""Database operations through both adapters: 10,000 rows in the table, 50 calls a second from four callers.

A latency is what the caller of the function waits for the row.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from uuid import UUID, uuid4

from benchmarks.figures import Measurement, Seen, latency
from omninode_bridge.persistence import (
    EnumDatabaseOperationType,
    FleetDatabaseAdapter,
    ModelBridgeState,
    ModelDatabaseOperationInput,
    create_bridge_state,
    delete_bridge_state,
    get_bridge_state,
    list_bridge_states,
    update_bridge_state,
    upsert_bridge_state,
)
from omninode_bridge.persistence.adapter import DatabaseAdapter
from store.adapter import NodeBridgeDatabaseAdapterEffect
from store.database.connection import connection

ROWS = 10_000
BATCH = 1000
CALLERS = 4
CALLS_PER_S = 50.0
NAMESPACE = "bench"

Call = Callable[[DatabaseAdapter, UUID], Awaitable[object]]


def _fields(bridge_id: UUID) -> dict[str, object]:
    return {"bridge_id": bridge_id, "namespace": NAMESPACE, "current_fsm_state": "IDLE"}


async def _create(node: DatabaseAdapter, bridge_id: UUID) -> object:
    return await create_bridge_state(
        bridge_id=uuid4(), namespace=NAMESPACE, current_fsm_state="IDLE", node=node, correlation_id=uuid4()
    )


async def _update(node: DatabaseAdapter, bridge_id: UUID) -> object:
    updates = {"current_fsm_state": "PROCESSING", "total_items_aggregated": 100}
    return await update_bridge_state(bridge_id=bridge_id, updates=updates, node=node, correlation_id=uuid4())


async def _upsert(node: DatabaseAdapter, bridge_id: UUID) -> object:
    return await upsert_bridge_state(
        bridge_id=bridge_id,
        namespace=NAMESPACE,
        current_fsm_state="ACTIVE",
        total_workflows_processed=200,
        node=node,
        correlation_id=uuid4(),
    )


async def _get(node: DatabaseAdapter, bridge_id: UUID) -> object:
    return await get_bridge_state(bridge_id=bridge_id, node=node, correlation_id=uuid4())


async def _delete(node: DatabaseAdapter, bridge_id: UUID) -> object:
    return await delete_bridge_state(bridge_id=bridge_id, node=node, correlation_id=uuid4())


async def _list(node: DatabaseAdapter, bridge_id: UUID) -> object:
    found = await list_bridge_states(filters={"namespace": NAMESPACE}, limit=100, node=node, correlation_id=uuid4())
    assert len(found) == 100
    return found


# What is called, with the p95 in ms that is wanted through the fleet and directly.
CALLS: dict[str, tuple[Call, int, float]] = {
    "create": (_create, 15, 5),
    "update": (_update, 15, 5),
    "upsert": (_upsert, 15, 7),
    "get": (_get, 10, 2.5),
    "query of 100 rows": (_list, 20, 10),
    "delete": (_delete, 10, 2.5),
}


async def _fill(node: DatabaseAdapter, count: int) -> list[UUID]:
    """Rows by batch_insert; their ids."""
    ids = [uuid4() for _ in range(count)]
    for start in range(0, count, BATCH):
        await _batch_insert(node, ids[start : start + BATCH])
    return ids


async def _batch_insert(node: DatabaseAdapter, ids: list[UUID]) -> None:
    output = await node.process(
        ModelDatabaseOperationInput(
            operation_type=EnumDatabaseOperationType.BATCH_INSERT,
            entity_type="bridge_state",
            batch_entities=[ModelBridgeState.model_validate(_fields(id_)) for id_ in ids],
        )
    )
    assert output.success and output.rows_affected == len(ids), output.error_message


async def _paced(node: DatabaseAdapter, call: Call, ids: list[UUID], seconds: float) -> tuple[list[float], float]:
    """Four callers, each at its share of the rate and one call at a time; latencies in ms, calls a second."""
    latencies: list[float] = []
    begun = time.perf_counter()

    async def caller(number: int) -> None:
        for n in range(int(CALLS_PER_S / CALLERS * seconds)):
            due = begun + (n * CALLERS + number) / CALLS_PER_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            await call(node, ids.pop())
            latencies.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return latencies, len(latencies) / (time.perf_counter() - begun)


async def _measure(
    node: DatabaseAdapter, through: str, database_url: str, seconds: float, *, direct: bool
) -> list[Seen]:
    ids = await _fill(node, ROWS)
    with connection(database_url) as conn:
        conn.execute("analyze bridge_states")  # as autovacuum does within a minute
    gc.freeze()  # the rows of other measurements are not this one's garbage
    seen: list[Seen] = []
    for name, (call, fleet_ms, direct_ms) in CALLS.items():
        chosen = Random(name).sample(ids, int(CALLS_PER_S * seconds) + 20)
        for _ in range(20):  # connections, prepared statements
            await call(node, chosen.pop())
        latencies, rate = await _paced(node, call, chosen, seconds)
        seen.append(latency(f"{name} {through}", latencies, rate, f"p95 < {direct_ms if direct else fleet_ms:g} ms"))
    latencies = []
    begun = time.perf_counter()
    while len(latencies) < 20 or time.perf_counter() < begun + seconds:
        started = time.perf_counter()
        await _batch_insert(node, [uuid4() for _ in range(BATCH)])
        latencies.append((time.perf_counter() - started) * 1000)
    rate = len(latencies) / (time.perf_counter() - begun)
    with connection(database_url) as conn:
        conn.execute("truncate bridge_states")
    return [*seen, latency(f"batch_insert of {BATCH:,} {through}", latencies, rate, "p95 < 150 ms")]


def through_the_fleet(variables: dict[str, str], seconds: float) -> list[Seen]:
    async def run() -> list[Seen]:
        async with FleetDatabaseAdapter.from_environment(variables) as node:
            return await _measure(node, "through the fleet", variables["OMNINODE_DATABASE_URL"], seconds, direct=False)

    return asyncio.run(run())


def directly(variables: dict[str, str], seconds: float) -> list[Seen]:
    async def run() -> list[Seen]:
        async with AsyncExitStack() as stack:
            node = NodeBridgeDatabaseAdapterEffect({"database_url": variables["OMNINODE_DATABASE_URL"]})
            await node.initialize()
            stack.push_async_callback(node.shutdown)
            return await _measure(node, "directly", variables["OMNINODE_DATABASE_URL"], seconds, direct=True)

    return asyncio.run(run())


MEASUREMENTS: dict[str, Measurement] = {"adapter-fleet": through_the_fleet, "adapter-direct": directly}
