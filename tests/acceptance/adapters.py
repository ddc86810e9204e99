"""The two database adapters before the shared fleet, for tests that both must pass."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from omninode_bridge.persistence.adapter import DatabaseAdapter
from omninode_bridge.persistence.fleet_adapter import FleetDatabaseAdapter
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, ModelDatabaseOperationOutput
from store.adapter import NodeBridgeDatabaseAdapterEffect
from tests.conftest import Stack

T = TypeVar("T")


def direct(stack: Stack) -> DatabaseAdapter:
    return NodeBridgeDatabaseAdapterEffect({"database_url": stack.env["OMNINODE_DATABASE_URL"]})


def through_the_fleet(stack: Stack) -> DatabaseAdapter:
    return FleetDatabaseAdapter.from_environment(stack.env)


ADAPTERS: dict[str, Callable[[Stack], DatabaseAdapter]] = {"direct": direct, "fleet": through_the_fleet}


@pytest.fixture(params=ADAPTERS)
def adapter(empty: Stack, request: pytest.FixtureRequest) -> Iterator[DatabaseAdapter]:
    """An adapter before a database with nothing in its tables; each test runs once with each of the two."""
    one = ADAPTERS[request.param](empty)
    yield one
    asyncio.run(one.shutdown())


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def process(adapter: DatabaseAdapter, operation_type: str, **fields: Any) -> ModelDatabaseOperationOutput:
    """The output of one operation, in an event loop of its own."""
    return run(adapter.process(ModelDatabaseOperationInput(operation_type=operation_type, **fields)))


def done(adapter: DatabaseAdapter, operation_type: str, **fields: Any) -> Any:
    """What a successful operation answers."""
    output = process(adapter, operation_type, **fields)
    assert output.success, f"{output.error_code}: {output.error_message}"
    return output.result_data
