"""Functions that are called again under the operation_id of a call whose answer was lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence import (
    create_bridge_state,
    create_workflow_execution,
    delete_bridge_state,
    delete_workflow_execution,
    update_bridge_state,
    update_workflow_execution,
    upsert_bridge_state,
)
from store.adapter import NodeBridgeDatabaseAdapterEffect

Function = Callable[..., Awaitable[Any]]
Work = Callable[[NodeBridgeDatabaseAdapterEffect], Awaitable[Any]]

STATE = {"namespace": "tests", "current_fsm_state": "IDLE"}
BEGUN = {"namespace": "tests", "current_state": "PENDING", "workflow_type": "stamping"}
CREATES: list[tuple[Function, dict[str, Any]]] = [
    (create_bridge_state, {"bridge_id": uuid4(), **STATE}),
    (create_workflow_execution, {"correlation_id": uuid4(), **BEGUN}),
]
WRITES = [
    (create_bridge_state, upsert_bridge_state, {**STATE, "total_items_aggregated": 7}),
    (create_bridge_state, update_bridge_state, {"updates": {"total_items_aggregated": 7}, "expected_version": 1}),
    (create_bridge_state, delete_bridge_state, {}),
    (create_workflow_execution, update_workflow_execution, {"updates": {"error_message": "e"}, "expected_version": 1}),
    (create_workflow_execution, delete_workflow_execution, {}),
]


def with_node(database: str, work: Work) -> Any:
    async def within() -> Any:
        async with NodeBridgeDatabaseAdapterEffect({"database_url": database, "pool_size": 2}) as node:
            return await work(node)

    return asyncio.run(within())


def traced(function: Function) -> dict[str, UUID]:
    """The trace id, another one in each call: it is no part of what is written."""
    return {"correlation_id" if "bridge" in function.__name__ else "request_correlation_id": uuid4()}


@pytest.mark.parametrize("create, given", CREATES)
def test_a_create_again_answers_the_row_and_no_conflict(database: str, create: Function, given: dict[str, Any]) -> None:
    async def work(node: NodeBridgeDatabaseAdapterEffect) -> None:
        id_ = uuid7()
        first, again = [await create(node=node, operation_id=id_, **traced(create), **given) for _ in range(2)]
        assert first == again and first.row_version == 1
        with pytest.raises(OnexError, match="CONFLICT"):
            await create(node=node, **traced(create), **given)
        with pytest.raises(OnexError, match="CONFLICT: operation_id"):
            await create(node=node, operation_id=id_, **traced(create), **given | {"namespace": "other"})

    with_node(database, work)


@pytest.mark.parametrize("create, function, arguments", WRITES)
def test_another_write_again_answers_the_same_and_counts_once(
    database: str, create: Function, function: Function, arguments: dict[str, Any]
) -> None:
    (given,) = [given for one, given in CREATES if one is create]
    key = {name: id_ for name, id_ in given.items() if name in ("bridge_id", "correlation_id")}

    async def work(node: NodeBridgeDatabaseAdapterEffect) -> None:
        await create(node=node, **traced(create), **given)
        id_ = uuid7()
        first, again = [
            await function(node=node, operation_id=id_, **traced(function), **key, **arguments) for _ in range(2)
        ]
        assert first == again
        assert first is True or first.row_version == 2

    with_node(database, work)


def test_a_create_again_whose_row_was_deleted_makes_none_up(database: str) -> None:
    async def work(node: NodeBridgeDatabaseAdapterEffect) -> None:
        create, given = CREATES[0]
        id_ = uuid7()
        await create(node=node, operation_id=id_, **traced(create), **given)
        await delete_bridge_state(node=node, bridge_id=given["bridge_id"], correlation_id=uuid4())
        with pytest.raises(OnexError, match="NOT_FOUND: operation_id: the row that it wrote has been deleted since"):
            await create(node=node, operation_id=id_, **traced(create), **given)

    with_node(database, work)


def test_an_operation_id_must_be_one(database: str) -> None:
    async def work(node: NodeBridgeDatabaseAdapterEffect) -> None:
        create, given = CREATES[0]
        with pytest.raises(OnexError, match="VALIDATION_ERROR: operation_id"):
            await create(node=node, operation_id=uuid4(), **traced(create), **given)

    with_node(database, work)
