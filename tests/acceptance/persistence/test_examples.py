"""Bridge nodes as their manuals show them: each way of calling the persistence functions, through both adapters."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from omninode_bridge.persistence import (
    DatabaseAdapterProtocol,
    EnumDatabaseOperationType,
    EnumEntityType,
    ModelBridgeState,
    ModelDatabaseOperationInput,
    ModelDatabaseOperationOutput,
    ModelWorkflowExecution,
    OnexError,
    create_bridge_state,
    create_workflow_execution,
    delete_bridge_state,
    delete_workflow_execution,
    get_bridge_state,
    get_workflow_execution,
    list_bridge_states,
    list_workflow_executions,
    update_bridge_state,
    update_workflow_execution,
    upsert_bridge_state,
)

pytestmark = pytest.mark.acceptance

Node = DatabaseAdapterProtocol


def test_an_adapter_is_what_the_protocol_asks_for(adapter: Node) -> None:
    assert isinstance(adapter, DatabaseAdapterProtocol)


# ---- bridge states --------------------------------------------------------------------------------------------------


def test_a_bridge_state_is_created_and_updated(adapter: Node) -> None:
    async def run() -> tuple[ModelBridgeState, ModelBridgeState, datetime]:
        bridge = await create_bridge_state(
            bridge_id=uuid4(),
            namespace="production",
            current_fsm_state="IDLE",
            total_workflows_processed=0,
            total_items_aggregated=0,
            aggregation_metadata={"version": "1.0.0"},
            node=adapter,
            correlation_id=uuid4(),
        )
        at = datetime.now(UTC)
        updated = await update_bridge_state(
            bridge_id=bridge.bridge_id,
            updates={
                "total_workflows_processed": 100,
                "total_items_aggregated": 1000,
                "current_fsm_state": "PROCESSING",
                "last_aggregation_timestamp": at,
            },
            node=adapter,
            correlation_id=uuid4(),
        )
        return bridge, updated, at

    bridge, updated, at = asyncio.run(run())
    assert (bridge.namespace, bridge.aggregation_metadata, bridge.row_version) == (
        "production",
        {"version": "1.0.0"},
        1,
    )
    assert bridge.created_at is not None
    assert (updated.total_workflows_processed, updated.total_items_aggregated) == (100, 1000)
    assert (updated.current_fsm_state, updated.last_aggregation_timestamp) == ("PROCESSING", at)
    assert (updated.row_version, updated.aggregation_metadata) == (2, {"version": "1.0.0"})


def test_bridge_states_are_listed_by_namespace_and_by_state(adapter: Node) -> None:
    here = f"list-{uuid4()}"

    async def run() -> tuple[list[ModelBridgeState], list[ModelBridgeState], list[ModelBridgeState]]:
        for n in range(5):
            await create_bridge_state(
                bridge_id=uuid4(),
                namespace=here,
                current_fsm_state="PROCESSING" if n % 2 else "IDLE",
                last_aggregation_timestamp=datetime(2026, 1, 1 + n, tzinfo=UTC),
                node=adapter,
                correlation_id=uuid4(),
            )
        return (
            await list_bridge_states(filters={"namespace": here}, node=adapter, correlation_id=uuid4()),
            await list_bridge_states(
                filters={"current_fsm_state": "PROCESSING", "namespace": here},
                limit=50,
                offset=0,
                sort_by="last_aggregation_timestamp",
                sort_order="desc",
                node=adapter,
                correlation_id=uuid4(),
            ),
            await list_bridge_states(
                filters={"namespace": here},
                limit=2,
                offset=4,
                sort_by="created_at",
                node=adapter,
                correlation_id=uuid4(),
            ),
        )

    everything, processing, last_page = asyncio.run(run())
    days = [row.last_aggregation_timestamp.day for row in everything if row.last_aggregation_timestamp]
    assert days == [5, 4, 3, 2, 1], "newest first"
    assert [row.last_aggregation_timestamp for row in processing] == [
        datetime(2026, 1, 4, tzinfo=UTC),
        datetime(2026, 1, 2, tzinfo=UTC),
    ]
    assert [row.bridge_id for row in last_page] == [everything[-1].bridge_id]


def test_an_upsert_makes_the_row_and_then_overwrites_it(adapter: Node) -> None:
    bridge_id = uuid4()

    async def upsert(total: int) -> ModelBridgeState:
        return await upsert_bridge_state(
            bridge_id=bridge_id,
            namespace="production",
            current_fsm_state="PROCESSING",
            total_workflows_processed=total,
            node=adapter,
            correlation_id=uuid4(),
        )

    async def run() -> tuple[ModelBridgeState, ModelBridgeState]:
        return await upsert(200), await upsert(150)

    first, second = asyncio.run(run())
    assert (first.total_workflows_processed, first.row_version) == (200, 1)
    assert (second.total_workflows_processed, second.row_version) == (150, 2)
    assert first.created_at == second.created_at


def test_a_bridge_state_from_birth_to_end(adapter: Node) -> None:
    bridge_id = uuid4()

    async def run() -> None:
        bridge = await create_bridge_state(
            bridge_id=bridge_id, namespace="test", current_fsm_state="IDLE", node=adapter, correlation_id=uuid4()
        )
        retrieved = await get_bridge_state(bridge_id=bridge_id, node=adapter, correlation_id=uuid4())
        assert retrieved == bridge
        updated = await update_bridge_state(
            bridge_id=bridge_id, updates={"current_fsm_state": "PROCESSING"}, node=adapter, correlation_id=uuid4()
        )
        assert updated.current_fsm_state == "PROCESSING"
        assert await delete_bridge_state(bridge_id=bridge_id, node=adapter, correlation_id=uuid4()) is True
        for function in (get_bridge_state, delete_bridge_state):
            assert await code_of(function(bridge_id=bridge_id, node=adapter, correlation_id=uuid4())) == "NOT_FOUND"

    asyncio.run(run())


def test_a_bridge_in_two_namespaces_must_be_named_by_both(adapter: Node) -> None:
    bridge_id = uuid4()

    async def run() -> None:
        for namespace in ("north", "south"):
            await create_bridge_state(
                bridge_id=bridge_id, namespace=namespace, current_fsm_state="IDLE", node=adapter, correlation_id=uuid4()
            )
        given: dict[str, Any] = {"bridge_id": bridge_id, "node": adapter, "correlation_id": uuid4()}
        named = r"^CONFLICT: .*north.*south"
        with pytest.raises(OnexError, match=named):
            await get_bridge_state(**given)
        with pytest.raises(OnexError, match=named):
            await update_bridge_state(**given, updates={"version": 2})
        with pytest.raises(OnexError, match=named):
            await delete_bridge_state(**given)
        await delete_bridge_state(bridge_id=bridge_id, namespace="north", node=adapter, correlation_id=uuid4())
        left = await get_bridge_state(bridge_id=bridge_id, node=adapter, correlation_id=uuid4())
        assert left.namespace == "south"

    asyncio.run(run())


def test_of_two_updates_of_one_version_one_wins(adapter: Node) -> None:
    bridge_id = uuid4()

    async def update(state: str) -> str:
        return await code_of(
            update_bridge_state(
                bridge_id=bridge_id,
                updates={"current_fsm_state": state},
                expected_version=1,
                node=adapter,
                correlation_id=uuid4(),
            )
        )

    async def run() -> list[str]:
        await create_bridge_state(
            bridge_id=bridge_id, namespace="test", current_fsm_state="IDLE", node=adapter, correlation_id=uuid4()
        )
        return list(await asyncio.gather(update("PAUSED"), update("PROCESSING")))

    assert sorted(asyncio.run(run())) == ["", "CONFLICT"]


# ---- workflow executions --------------------------------------------------------------------------------------------


async def start(adapter: Node, **fields: Any) -> ModelWorkflowExecution:
    return await create_workflow_execution(
        correlation_id=uuid4(),
        workflow_type="metadata_stamping",
        node=adapter,
        request_correlation_id=uuid4(),
        **{"current_state": "PENDING", "namespace": "production"} | fields,
    )


def test_a_workflow_is_created_started_and_completed(adapter: Node) -> None:
    async def run() -> None:
        metadata = {"source": "api", "user_id": "user_123", "api_version": "v1"}
        workflow = await start(adapter, metadata=metadata)
        assert (workflow.current_state, workflow.started_at, workflow.metadata) == ("PENDING", None, metadata)
        at = datetime.now(UTC)
        processing = await update_workflow_execution(
            correlation_id=workflow.correlation_id,
            updates={"current_state": "PROCESSING", "started_at": at},
            node=adapter,
            request_correlation_id=uuid4(),
        )
        assert (processing.current_state, processing.started_at) == ("PROCESSING", at)
        completed = await update_workflow_execution(
            correlation_id=workflow.correlation_id,
            updates={"current_state": "COMPLETED", "completed_at": at, "execution_time_ms": 1234},
            node=adapter,
            request_correlation_id=uuid4(),
        )
        assert (completed.current_state, completed.completed_at, completed.execution_time_ms) == ("COMPLETED", at, 1234)
        assert completed.metadata == metadata
        read = await get_workflow_execution(
            correlation_id=workflow.correlation_id, node=adapter, request_correlation_id=uuid4()
        )
        assert read == completed

    asyncio.run(run())


def test_workflows_are_listed_by_state_and_by_time(adapter: Node) -> None:
    here = f"list-{uuid4()}"
    now = datetime.now(UTC)

    async def run() -> None:
        old, new = [
            await start(adapter, namespace=here, current_state="FAILED", completed_at=now - timedelta(minutes=minutes))
            for minutes in (90, 5)
        ]
        running = await start(adapter, namespace=here, current_state="PROCESSING")
        assert await keys({"namespace": here, "current_state": "PROCESSING"}) == [running.correlation_id]
        lately = {"current_state": "FAILED", "namespace": here, "completed_at__gte": now - timedelta(hours=1)}
        assert await keys(lately, limit=100, sort_by="completed_at", sort_order="desc") == [new.correlation_id]
        assert await keys({"namespace": here}, limit=50, offset=100) == []
        assert await keys({"namespace": here, "completed_at": None}) == [running.correlation_id]
        oldest_first = await keys({"namespace": here}, sort_by="completed_at", sort_order="asc")
        assert oldest_first == [one.correlation_id for one in (old, new, running)]

    async def keys(filters: dict[str, Any], **page: Any) -> list[UUID]:
        rows = await list_workflow_executions(filters=filters, node=adapter, request_correlation_id=uuid4(), **page)
        return [row.correlation_id for row in rows]

    asyncio.run(run())


def test_a_workflow_that_is_there_is_a_conflict_and_one_that_is_not_is_not_found(adapter: Node) -> None:
    async def run() -> None:
        given: dict[str, Any] = {"correlation_id": uuid4(), "node": adapter, "request_correlation_id": uuid4()}
        create = given | {"workflow_type": "a", "current_state": "PENDING", "namespace": "tests"}
        assert await code_of(create_workflow_execution(**create)) == ""
        assert await code_of(create_workflow_execution(**create)) == "CONFLICT"
        assert await delete_workflow_execution(**given) is True
        assert await code_of(get_workflow_execution(**given)) == "NOT_FOUND"
        assert await code_of(delete_workflow_execution(**given)) == "NOT_FOUND"
        for version in (None, 1):
            update = update_workflow_execution(**given, updates={"execution_time_ms": 1}, expected_version=version)
            assert await code_of(update) == "NOT_FOUND"

    asyncio.run(run())


def test_metadata_of_a_wrong_type_is_refused_by_name(adapter: Node) -> None:
    async def run() -> None:
        with pytest.raises(OnexError, match="Metadata validation failed: steps_completed") as caught:
            await start(adapter, metadata={"steps_completed": "three"})
        assert caught.value.error_code == "VALIDATION_ERROR"
        assert (await start(adapter, metadata={"priority": "high"})).metadata == {"priority": "high"}

    asyncio.run(run())


# ---- batches --------------------------------------------------------------------------------------------------------


def test_a_batch_is_inserted_whole(adapter: Node) -> None:
    here = f"batch-{uuid4()}"
    states = [ModelBridgeState(bridge_id=uuid4(), namespace=here, current_fsm_state="IDLE") for _ in range(3)]

    async def insert(batch: list[ModelBridgeState]) -> ModelDatabaseOperationOutput:
        return await adapter.process(
            ModelDatabaseOperationInput(
                operation_type=EnumDatabaseOperationType.BATCH_INSERT,
                entity_type=EnumEntityType.BRIDGE_STATE,
                batch_entities=batch,
            )
        )

    async def run() -> None:
        output = await insert(states[:2])
        assert (output.success, output.rows_affected) == (True, 2), output.error_message
        again = await insert([states[2], states[0]])
        assert (again.success, again.error_code, again.rows_affected) == (False, "CONFLICT", 0)
        rows = await list_bridge_states(filters={"namespace": here}, node=adapter, correlation_id=uuid4())
        assert {row.bridge_id for row in rows} == {one.bridge_id for one in states[:2]}

    asyncio.run(run())


# ---- nodes that use the functions -----------------------------------------------------------------------------------


def test_an_orchestrator_keeps_a_record_of_its_workflow(adapter: Node) -> None:
    class Orchestrator:
        database_adapter = adapter

        async def start_workflow(self, request: SimpleNamespace) -> ModelWorkflowExecution:
            workflow = await create_workflow_execution(
                correlation_id=request.correlation_id,
                workflow_type="metadata_stamping",
                current_state="PROCESSING",
                namespace=request.namespace,
                started_at=datetime.now(UTC),
                node=self.database_adapter,
                request_correlation_id=uuid4(),
            )
            return await update_workflow_execution(
                correlation_id=workflow.correlation_id,
                updates={"current_state": "COMPLETED", "completed_at": datetime.now(UTC), "execution_time_ms": 12},
                node=self.database_adapter,
                request_correlation_id=uuid4(),
            )

    row = asyncio.run(Orchestrator().start_workflow(SimpleNamespace(correlation_id=uuid4(), namespace="production")))
    assert row.current_state == "COMPLETED" and row.started_at is not None and row.completed_at is not None
    assert row.started_at <= row.completed_at


def test_a_reducer_keeps_its_totals(adapter: Node) -> None:
    class Reducer:
        database_adapter, bridge_id, namespace = adapter, uuid4(), "production"
        workflow_count = item_count = 0

        async def aggregate(self, items: list[str]) -> ModelBridgeState:
            self.workflow_count += 1
            self.item_count += len(items)
            return await upsert_bridge_state(
                bridge_id=self.bridge_id,
                namespace=self.namespace,
                current_fsm_state="PROCESSING",
                total_workflows_processed=self.workflow_count,
                total_items_aggregated=self.item_count,
                last_aggregation_timestamp=datetime.now(UTC),
                node=self.database_adapter,
                correlation_id=uuid4(),
            )

    async def run() -> ModelBridgeState:
        reducer = Reducer()
        await reducer.aggregate(["a", "b"])
        return await reducer.aggregate(["c"])

    row = asyncio.run(run())
    assert (row.total_workflows_processed, row.total_items_aggregated) == (2, 3)


def test_functions_can_be_tried_without_a_database() -> None:
    class MockNode:
        async def process(self, operation_input: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
            return ModelDatabaseOperationOutput(
                success=True,
                operation_type=operation_input.operation_type,
                correlation_id=operation_input.correlation_id,
                execution_time_ms=0,
                rows_affected=1,
            )

    mock = create_bridge_state(
        bridge_id=uuid4(), namespace="test", current_fsm_state="IDLE", node=MockNode(), correlation_id=uuid4()
    )
    bridge = asyncio.run(_result(mock))
    assert (bridge.namespace, bridge.current_fsm_state) == ("test", "IDLE")


async def _result(call: Awaitable[ModelBridgeState]) -> ModelBridgeState:
    return await call


async def code_of(call: Awaitable[object]) -> str:
    """The code of the error that it raises; empty for none."""
    try:
        await call
    except OnexError as error:
        return error.error_code
    return ""
