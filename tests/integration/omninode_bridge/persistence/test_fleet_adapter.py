"""The fleet's adapter against a real broker, with an answerer in the fleet's place."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from uuid import uuid4

import pytest

from omninode_bridge.client.broker import DATABASE_BATCH_TASK, QUERIES_QUEUE
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.query_operation import DatabaseOperation
from omninode_bridge.contract.wire import Item
from omninode_bridge.persistence.fleet_adapter import FleetDatabaseAdapter
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, ModelDatabaseOperationOutput
from tests.answerer import Answerer, Choice, answering
from tests.deadline import wait_until

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def fleet(broker: str) -> Iterator[Answerer]:
    with answering(broker, queue=QUERIES_QUEUE) as one:
        one.choose = counted
        yield one


def counted(_: str, items: list[Item]) -> Choice:
    detail = {"success": True, "rows_affected": 0, "result_data": {"count": 3}}
    return "answer", [Outcome(item.operation_id, "applied", detail=detail) for item in items]


def count(**fields: Any) -> ModelDatabaseOperationInput:
    return ModelDatabaseOperationInput(operation_type="count", entity_type="bridge_state", **fields)


def use(url: str, work: Callable[[FleetDatabaseAdapter], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    async def within() -> Any:
        adapter = FleetDatabaseAdapter(url, **options)
        try:
            return await work(adapter)
        finally:
            await adapter.shutdown()

    return asyncio.run(within())


def test_an_operation_travels_with_its_ids_and_is_answered(broker: str, fleet: Answerer) -> None:
    operation = count(query_filters={"namespace": None})
    output = use(broker, lambda adapter: adapter.process(operation))
    assert (output.success, output.result_data) == (True, {"count": 3})
    (item,) = fleet.received
    assert isinstance(item, DatabaseOperation)
    assert (item.operation_id, item.correlation_id) == (operation.operation_id, operation.correlation_id)
    assert item.data.request["query_filters"] == {"namespace": None}
    (headers,) = fleet.headers
    assert (headers["task"], headers["argsrepr"]) == (DATABASE_BATCH_TASK, "1 operation: 1 database_operation")


def test_callers_at_the_same_time_have_a_message_each(broker: str, fleet: Answerer) -> None:
    async def work(adapter: FleetDatabaseAdapter) -> list[ModelDatabaseOperationOutput]:
        return await asyncio.gather(*[adapter.process(count()) for _ in range(200)])

    assert all(one.success for one in use(broker, work))
    assert [len(items) for items in fleet.operations.values()] == [1] * 200


@pytest.mark.parametrize("status", ["refused", "applied"])
def test_a_refusal_is_an_output_with_its_code(broker: str, fleet: Answerer, status: Any) -> None:
    told = {"success": False, "error_code": "CONFLICT", "error_message": "m", "rows_affected": 0, "result_data": None}

    def refuse(_: str, items: list[Item]) -> Choice:
        if status == "refused":
            return "answer", [Outcome(item.operation_id, "refused", "CONFLICT", "m") for item in items]
        return "answer", [Outcome(item.operation_id, "applied", detail=told) for item in items]

    fleet.choose = refuse
    output = use(broker, lambda adapter: adapter.process(count()))
    assert output.model_dump(include=set(told)) == told


def test_what_is_not_answered_in_time_says_so_and_stays_submitted(broker: str, fleet: Answerer) -> None:
    async def work(adapter: FleetDatabaseAdapter) -> ModelDatabaseOperationOutput:
        fleet.pause()
        output = await adapter.process(count())
        assert adapter.stats().pending == 1
        fleet.resume()
        return output

    output = use(broker, work, timeout_s=0.1)
    assert output.error_code == "TIMEOUT"
    assert output.error_message == "operation: not answered within 0.1 s; it stays submitted"
    assert len(fleet.received) == 1


def test_a_full_client_takes_no_more_and_says_so(broker: str, fleet: Answerer) -> None:
    async def work(adapter: FleetDatabaseAdapter) -> ModelDatabaseOperationOutput:
        fleet.pause()
        await adapter.process(count())
        output = await adapter.process(count())
        fleet.resume()
        await asyncio.to_thread(wait_until, lambda: fleet.received, seconds=5, what="the first one arrives")
        return output

    output = use(broker, work, timeout_s=0.1, max_pending=1)
    assert output.error_code == "TIMEOUT" and "it was not submitted" in (output.error_message or "")
    assert len(fleet.received) == 1


def test_a_fleet_that_is_away_is_unhealthy(broker: str) -> None:
    async def work() -> dict[str, Any]:
        adapter = FleetDatabaseAdapter(broker, timeout_s=0.2)
        health = await adapter.get_health_status()
        with pytest.raises(OnexError, match="1 of 1"):
            await adapter.shutdown(0.05)
        return health

    health = asyncio.run(work())
    assert (health["healthy"], health["database_status"], health["circuit_breaker_status"]) == (
        False,
        "UNHEALTHY",
        "UNKNOWN",
    )
    assert "not answered within 0.2 s" in health["error_message"]


def test_the_health_is_the_workers(broker: str, fleet: Answerer) -> None:
    told = {"healthy": True, "database_status": "HEALTHY", "execution_time_ms": 1.0}

    def healthy(_: str, items: list[Item]) -> Choice:
        return "answer", [Outcome(item.operation_id, "applied", detail=_answer(item)) for item in items]

    def _answer(item: Item) -> dict[str, Any]:
        assert isinstance(item, DatabaseOperation) and item.data.request["operation_type"] == "get_health_status"
        return {"success": True, "result_data": told}

    fleet.choose = healthy
    health = use(broker, lambda adapter: adapter.get_health_status())
    assert health["database_status"] == "HEALTHY" and health["execution_time_ms"] != 1.0


def test_it_is_made_from_the_environment(broker: str, fleet: Answerer) -> None:
    async def work() -> ModelDatabaseOperationOutput:
        async with FleetDatabaseAdapter.from_environment({"OMNINODE_BROKER_URL": broker}) as adapter:
            return await adapter.process(count())

    fleet.choose = lambda task_id, items: (
        "answer",
        [Outcome(item.operation_id, "applied", detail={"success": True, "result_data": _health()}) for item in items],
    )
    assert asyncio.run(work()).success


def _health() -> dict[str, Any]:
    return dict.fromkeys(("database_status", "database_version", "error_message"), "HEALTHY")


@pytest.mark.parametrize(
    ("environ", "options", "message"),
    [
        ({}, {}, "OMNINODE_BROKER_URL: missing"),
        ({"OMNINODE_BROKER_URL": "amqp://h//"}, {}, "result_backend_url: needed"),
        ({"OMNINODE_BROKER_URL": NOWHERE}, {"timeout_s": 0}, "timeout_s: not positive"),
        ({"OMNINODE_BROKER_URL": NOWHERE}, {"max_pending": 0}, "max_pending: 0 is not between"),
    ],
)
def test_what_cannot_work_is_refused_by_name(environ: dict[str, str], options: Any, message: str) -> None:
    with pytest.raises(OnexError, match=message):
        FleetDatabaseAdapter.from_environment(environ, **options)


def test_no_password_is_in_its_repr() -> None:
    adapter = FleetDatabaseAdapter(f"redis://user:{uuid4().hex}@127.0.0.1:1/0")
    assert repr(adapter) == "<FleetDatabaseAdapter <AsyncFleetClient redis://***@127.0.0.1:1/0 0 pending>>"
