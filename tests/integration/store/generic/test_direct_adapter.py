"""The adapter with a pool of its own: its configuration, and what an outage does to it."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, ModelDatabaseOperationOutput
from store.adapter import NodeBridgeDatabaseAdapterEffect, RegistryBridgeDatabaseAdapter
from store.database.breaker import BreakerConfig
from tests import servers
from tests.deadline import wait_until
from tests.ports import own_port
from worker import migrate
from worker.embedded.binaries import postgres_bin
from worker.embedded.postgres import EmbeddedPostgres
from worker.embedded.run_as import unprivileged

Adapter = NodeBridgeDatabaseAdapterEffect
OUTAGES = BreakerConfig().failure_threshold


class RestartablePostgres:
    """A PostgreSQL of one test."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "postgres.log"
        self._server = EmbeddedPostgres(
            directory=directory / "postgres",
            bin_dir=postgres_bin(None),
            port=own_port(),
            password="test",
            account=unprivileged(),
            options=servers.FAST,
        )
        self._server.prepare()
        self._running = ExitStack()

    @property
    def url(self) -> str:
        return self._server.url("postgres")

    def start(self) -> None:
        server = self._server
        self._running.enter_context(servers.running(server.launch(), log=self._log, check=server.check))

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def restartable() -> Iterator[RestartablePostgres]:
    with servers.directory_of_its_own() as directory:
        one = RestartablePostgres(directory)
        one.start()
        try:
            migrate.up(one.url)
            yield one
        finally:
            one.stop()


def insert(**fields: Any) -> ModelDatabaseOperationInput:
    state = {"bridge_id": str(uuid4()), "namespace": "ns", "current_fsm_state": "ACTIVE"}
    return ModelDatabaseOperationInput(operation_type="insert", entity_type="bridge_state", entity=state, **fields)


def count() -> ModelDatabaseOperationInput:
    return ModelDatabaseOperationInput(operation_type="count", entity_type="bridge_state")


def use(config: Any, work: Callable[[Adapter], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    async def within() -> Any:
        async with Adapter(config, **options) as adapter:
            return await work(adapter)

    return asyncio.run(within())


# ---- configuration ---------------------------------------------------------------------------------------------------


def test_the_place_is_given_by_its_parts_or_by_its_url(database: str) -> None:
    url = urlsplit(database)
    parts = {"host": url.hostname, "port": url.port, "database": url.path[1:], "user": url.username}
    for config in (
        {**parts, "password": url.password, "pool_size": 3},
        {"database_url": database},
        RegistryBridgeDatabaseAdapter({"database_url": database, "pool_size": 1}),
    ):
        output = use(config, lambda adapter: adapter.process(count()))
        assert output.success, output


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hots": "h"}, "config: 'hots' unknown"),
        ({"port": "5432"}, "port: not a number from 1 to 65535"),
        ({"port": True}, "port: not a number"),
        ({"pool_size": 0}, "pool_size: not a number from 1 to 1000"),
        ({"host": ""}, "host: not a text"),
        ({"password": 7}, "password: not a text"),
        ({"database_url": "postgresql://h/d", "host": "h"}, "config: database_url says what host would"),
        ({"database_url": "mysql://h/d"}, "database_url: not postgresql://..."),
        ({"database_url": "postgresql://u:secret@h/d?nonsense=1"}, "database_url: libpq cannot read it"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(config: Any, message: str) -> None:
    with pytest.raises(OnexError) as refused:
        Adapter(config)
    assert refused.value.message.startswith(message)
    assert "secret" not in "".join(traceback.format_exception(refused.value))


def test_the_password_is_in_no_repr() -> None:
    adapter = Adapter({"host": "h", "user": "u", "password": "secret"})
    assert repr(adapter) == "<NodeBridgeDatabaseAdapterEffect <RegistryBridgeDatabaseAdapter pool_size=20>>"
    with pytest.raises(OnexError, match="timeout_s"):
        Adapter({}, timeout_s=0)


# ---- outages ---------------------------------------------------------------------------------------------------------


def test_an_outage_is_answered_at_once_and_over_by_itself(restartable: RestartablePostgres) -> None:
    async def work(adapter: Adapter) -> None:
        assert (await adapter.process(insert())).success
        restartable.stop()
        written = insert(operation_id=uuid7())
        outputs = [await adapter.process(written) for _ in range(OUTAGES)]
        assert {one.error_code for one in outputs} == {"SERVICE_UNAVAILABLE"}
        assert (await adapter.get_metrics())["circuit_breaker"]["current_state"] == "OPEN"
        began = monotonic()
        assert (await adapter.process(written)).error_code == "SERVICE_UNAVAILABLE"
        health = await adapter.get_health_status()
        assert monotonic() - began < 8  # a probe, which may come first, takes two seconds
        assert (health["database_status"], health["healthy"]) == ("UNHEALTHY", False)
        restartable.start()
        await _until_it_works(adapter, written)
        assert (await adapter.process(written)).success  # a second delivery of the same write
        for _ in range(3):
            assert (await adapter.process(count())).result_data == {"count": 2}
        assert (await adapter.get_health_status())["circuit_breaker_status"] == "CLOSED"

    use({"database_url": restartable.url}, work)


async def _until_it_works(adapter: Adapter, operation: ModelDatabaseOperationInput) -> None:
    def works() -> ModelDatabaseOperationOutput | None:
        output = asyncio.run(adapter.process(operation))
        return output if output.success else None

    await asyncio.to_thread(wait_until, works, seconds=20, what="the adapter works again")


def test_an_adapter_starts_before_its_database(restartable: RestartablePostgres) -> None:
    restartable.stop()

    async def work(adapter: Adapter) -> None:
        restartable.start()
        await _until_it_works(adapter, insert())

    use({"database_url": restartable.url, "pool_size": 2}, work)


def test_wrong_data_never_opens_the_breaker(database: str) -> None:
    async def work(adapter: Adapter) -> dict[str, Any]:
        twice = insert()
        assert (await adapter.process(twice)).success
        for _ in range(3 * OUTAGES):
            again = twice.model_copy(update={"operation_id": uuid7()})
            assert (await adapter.process(again)).error_code == "CONFLICT"
        return await adapter.get_metrics()

    metrics = use({"database_url": database}, work)
    assert (metrics["circuit_breaker"]["current_state"], metrics["circuit_breaker"]["opened_count"]) == ("CLOSED", 0)
    assert metrics["error_rate"] < 1


def test_what_is_not_answered_in_time_says_so_and_may_still_happen(database: str) -> None:
    bridge = insert()

    async def work(adapter: Adapter) -> ModelDatabaseOperationOutput:
        assert (await adapter.process(bridge)).success
        change = ModelDatabaseOperationInput(
            operation_type="update",
            entity_type="bridge_state",
            entity={"total_items_aggregated": 7},
            query_filters={"bridge_id": bridge.entity["bridge_id"]},
        )
        with psycopg.connect(database) as other:
            other.execute("select from bridge_states for update")
            late = await adapter.process(change)
        return late

    late = use({"database_url": database}, work, timeout_s=0.3)
    assert late.error_code == "TIMEOUT"
    assert late.error_message == "operation: not answered within 0.3 s; it may still be carried out"
    with psycopg.connect(database) as conn:  # the adapter has shut down, and let it end before
        assert conn.execute("select total_items_aggregated from bridge_states").fetchall() == [(7,)]


def test_while_every_connection_waits_for_locks_the_health_is_degraded(database: str) -> None:
    bridge = insert()

    async def work(adapter: Adapter) -> None:
        assert (await adapter.process(bridge)).success
        changes = [
            ModelDatabaseOperationInput(
                operation_type="update",
                entity_type="bridge_state",
                entity={"total_items_aggregated": value},
                query_filters={"bridge_id": bridge.entity["bridge_id"]},
            )
            for value in range(2)
        ]
        with psycopg.connect(database) as other:
            other.execute("select from bridge_states for update")
            waiting = [asyncio.create_task(adapter.process(change)) for change in changes]
            await asyncio.to_thread(wait_until, lambda: _waiting(database) == 2, seconds=5, what="both wait")
            health = await adapter.get_health_status()
        assert (health["database_status"], health["healthy"], health["circuit_breaker_status"]) == (
            "DEGRADED",
            False,
            "CLOSED",
        )
        assert health["error_message"] == "every connection to the database is in use"
        assert all(output.success for output in await asyncio.gather(*waiting))
        assert (await adapter.get_health_status())["database_status"] == "HEALTHY"

    use({"database_url": database, "pool_size": 2}, work)


def _waiting(database: str) -> int:
    """How many sessions wait for a lock."""
    with psycopg.connect(database) as conn:
        ((found,),) = conn.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        ).fetchall()
    return int(found)


def test_more_callers_than_connections_all_have_their_answer(database: str) -> None:
    async def work(adapter: Adapter) -> tuple[list[ModelDatabaseOperationOutput], dict[str, Any]]:
        outputs = await asyncio.gather(*[adapter.process(insert()) for _ in range(50)])
        return outputs, await adapter.get_metrics()

    outputs, metrics = use({"database_url": database, "pool_size": 2}, work)
    assert all(one.success for one in outputs)
    assert 0 <= metrics["pool_efficiency"] <= 1 and metrics["error_rate"] == 0
