"""Every program in the two documents that bridge nodes were written by runs as it stands there, through both adapters.

A document is tried from its first program to its last in one set of names, as somebody reads it. What a program
presupposes is given to it, what it leads to is looked at. Those that are no programs (a signature, a protocol, a
function's body, the inside of an adapter) stand in the lists below with the others and are checked in their own ways.
"""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict

import omninode_bridge.persistence as persistence
from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.enums import EnumWorkflowEvent
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.operation import Operation
from omninode_bridge.persistence import ModelBridgeState, ModelDatabaseOperationInput
from omninode_bridge.persistence.adapter import DatabaseAdapter
from omninode_bridge.persistence.models import PERSIST_BLOCKS
from store.adapter import NodeBridgeDatabaseAdapterEffect, RegistryBridgeDatabaseAdapter
from tests.acceptance.adapters import ADAPTERS
from tests.acceptance.documents import Block, Names, blocks_of, run, shown_answer
from tests.conftest import Stack

pytestmark = pytest.mark.acceptance

EVERYTHING = {name: getattr(persistence, name) for name in persistence.__all__}
PYTEST = SimpleNamespace(mark=SimpleNamespace(asyncio=lambda test: test))  # for a plugin that nothing here needs


@dataclass
class Reader:
    """One who tries a document with one kind of adapter.

    node   that adapter
    names  everything of the package, what the programs so far have defined, and what was given to them
    """

    kind: str
    stack: Stack
    node: DatabaseAdapter
    names: Names = field(default_factory=EVERYTHING.copy)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    async def run(self, block: Block, /, *, stand_ins: Names | None = None, **presupposed: Any) -> None:
        self.names |= presupposed
        await run(block, self.names, stand_ins=stand_ins)

    async def alone(self, block: Block, /, *, body: bool = False, **presupposed: Any) -> Names:
        """What it defines, when it is run with names of its own."""
        names = EVERYTHING | {"UUID": UUID, "Any": Any, "Protocol": Protocol} | presupposed
        await run(block, names, body=body)
        return names


How = Callable[[Reader, Block], Awaitable[None]]


def bridge_state() -> ModelBridgeState:
    return ModelBridgeState(
        bridge_id=uuid4(), namespace="documents", current_fsm_state="ACTIVE", total_items_aggregated=7
    )


async def state_of(reader: Reader, bridge_id: UUID) -> ModelBridgeState:
    return await persistence.get_bridge_state(bridge_id=bridge_id, node=reader.node, correlation_id=uuid4())


async def workflow_of(reader: Reader, correlation_id: UUID) -> persistence.ModelWorkflowExecution:
    return await persistence.get_workflow_execution(
        correlation_id=correlation_id, node=reader.node, request_correlation_id=uuid4()
    )


# ---- the persistence layer ------------------------------------------------------------------------------------------


async def signature_of_a_create(reader: Reader, block: Block) -> None:
    """No program: it has a signature and nothing in it. Ours begins with its parameters, of the same types."""
    said = inspect.signature((await reader.alone(block))["create_bridge_state"])
    ours = inspect.signature(persistence.create_bridge_state)
    assert said.return_annotation is ours.return_annotation is ModelBridgeState
    for theirs, own in zip(said.parameters.values(), ours.parameters.values(), strict=False):
        assert (theirs.name, theirs.annotation, theirs.default) == (own.name, own.annotation, own.default)


async def protocol_of_adapters(reader: Reader, block: Block) -> None:
    """No program: it is what a node has to offer. Our protocol asks for the same, and our adapters offer it."""
    said: Any = runtime_checkable((await reader.alone(block))["DatabaseAdapterProtocol"])
    assert inspect.signature(said.process) == inspect.signature(persistence.DatabaseAdapterProtocol.process)
    assert isinstance(reader.node, said) and list(inspect.signature(reader.node.process).parameters) == [
        "operation_input"
    ]

    class Theirs(said):  # type: ignore[misc]  # made while the test runs
        process = reader.node.process

    assert isinstance(Theirs(), persistence.DatabaseAdapterProtocol)
    with pytest.raises(OnexError, match="NOT_FOUND"):
        await persistence.get_bridge_state(bridge_id=uuid4(), node=Theirs(), correlation_id=uuid4())


async def batch_insert(reader: Reader, block: Block) -> None:
    states: Names = {name: bridge_state() for name in ("state1", "state2", "state3")}
    await reader.run(block, correlation_id=uuid4(), node=reader.node, **states)
    assert (reader["result"].success, reader["result"].rows_affected) == (True, 3), reader["result"].error_message


async def error_flow(reader: Reader, block: Block) -> None:
    """No program: it is the body of a function, which ends in each way that it can end."""
    insert = partial(ModelDatabaseOperationInput, operation_type="insert", entity_type="bridge_state")
    given: Names = {"bridge_id": uuid4(), "entity": "the entity", "node": reader.node}
    operation = insert(entity=bridge_state())
    answered = await reader.alone(block, body=True, **given, operation_input=operation)
    assert await answered["body"]() == "the entity"
    bug, again = ValueError("a bug"), insert(entity=operation.entity)
    for code, cause, wrong in (
        ("VALIDATION_ERROR", None, {"bridge_id": None}),
        ("DATABASE_OPERATION_ERROR", None, {"operation_input": again}),
        ("INTERNAL_ERROR", bug, {"node": SimpleNamespace(process=AsyncMock(side_effect=bug))}),
    ):
        names = await reader.alone(block, body=True, **{**given, "operation_input": operation} | wrong)
        with pytest.raises(OnexError) as caught:
            await names["body"]()
        assert (caught.value.error_code, caught.value.original_error) == (code, cause)


async def create_a_bridge(reader: Reader, block: Block) -> None:
    await reader.run(block, database_adapter_node=reader.node)
    assert await state_of(reader, reader["bridge"].bridge_id) == reader["bridge"]
    assert reader["bridge"].namespace == "production"


async def update_a_bridge(reader: Reader, block: Block) -> None:
    await reader.run(block)
    updated = reader["updated"]
    assert (updated.total_workflows_processed, updated.total_items_aggregated) == (100, 1000)
    assert updated.last_aggregation_timestamp and updated.current_fsm_state == "PROCESSING"


async def list_bridges(reader: Reader, block: Block) -> None:
    await reader.run(block)
    for name in ("production_bridges", "active_bridges"):
        assert [row.bridge_id for row in reader[name]] == [reader["bridge"].bridge_id]


async def upsert_a_bridge(reader: Reader, block: Block) -> None:
    for version in (1, 2):
        await reader.run(block, bridge_id=reader.names.get("bridge_id") or uuid4())
        assert (reader["bridge"].total_workflows_processed, reader["bridge"].row_version) == (200, version)


async def create_a_workflow(reader: Reader, block: Block) -> None:
    await reader.run(block)
    assert await workflow_of(reader, reader["workflow"].correlation_id) == reader["workflow"]


async def update_a_workflow(reader: Reader, block: Block) -> None:
    await reader.run(block)
    row = await workflow_of(reader, reader["workflow"].correlation_id)
    assert (row.current_state, row.execution_time_ms) == ("COMPLETED", 1234)


async def list_workflows(reader: Reader, block: Block) -> None:
    ids = {state: uuid4() for state in ("PROCESSING", "FAILED")}
    for state, correlation_id in ids.items():
        await persistence.create_workflow_execution(
            correlation_id=correlation_id,
            workflow_type="t",
            current_state=state,
            namespace="production",
            completed_at=datetime.now(UTC) - timedelta(minutes=1) if state == "FAILED" else None,
            node=reader.node,
            request_correlation_id=uuid4(),
        )
    await reader.run(block)
    for state, name in (("PROCESSING", "processing_workflows"), ("FAILED", "failed_workflows")):
        assert [row.correlation_id for row in reader[name]] == [ids[state]]


async def a_page(reader: Reader, block: Block) -> None:
    ours = partial(persistence.list_workflow_executions, node=reader.node, request_correlation_id=uuid4())
    await reader.run(block, list_workflows=ours)
    assert reader["page"] == []


async def batch_of_inserts(reader: Reader, block: Block) -> None:
    await reader.run(block, state1=bridge_state(), state2=bridge_state())
    output = await reader.node.process(reader["operation_input"])
    assert (output.success, output.rows_affected) == (True, 2), output.error_message


async def an_orchestrator(reader: Reader, block: Block) -> None:
    await reader.run(block, execution_time=12)
    orchestrator, correlation_id = reader["NodeBridgeOrchestrator"](), uuid4()
    orchestrator.database_adapter = reader.node
    await orchestrator.start_workflow(SimpleNamespace(correlation_id=correlation_id, namespace="documents"))
    row = await workflow_of(reader, correlation_id)
    assert (row.current_state, row.execution_time_ms, row.namespace) == ("COMPLETED", 12, "documents")


async def a_reducer(reader: Reader, block: Block) -> None:
    await reader.run(block)
    reducer, bridge_id = reader["NodeBridgeReducer"](), uuid4()
    vars(reducer).update(database_adapter=reader.node, bridge_id=bridge_id, namespace="documents")
    vars(reducer).update(workflow_count=1, item_count=2)
    await reducer.aggregate([])
    row = await state_of(reader, bridge_id)
    assert (row.total_workflows_processed, row.total_items_aggregated) == (1, 2)


async def a_unit_test(reader: Reader, block: Block) -> None:
    await reader.run(block, stand_ins={"pytest": PYTEST})
    for node in (AsyncMock(), reader.node):
        await reader["test_create_bridge_state"](node)


async def an_integration_test(reader: Reader, block: Block) -> None:
    await reader.run(block)
    await reader["test_bridge_state_crud_flow"](reader.node)


PERSISTENCE_LAYER: list[How] = [
    signature_of_a_create,
    protocol_of_adapters,
    batch_insert,
    error_flow,
    create_a_bridge,
    update_a_bridge,
    list_bridges,
    upsert_a_bridge,
    create_a_workflow,
    update_a_workflow,
    list_workflows,
    a_page,
    batch_of_inserts,
    an_orchestrator,
    a_reducer,
    a_unit_test,
    an_integration_test,
]


# ---- the adapter ----------------------------------------------------------------------------------------------------


async def an_operation_from_an_event(reader: Reader, block: Block) -> None:
    """Its adapter is made by the program, only of the database that is here, or through the fleet."""

    def registry(config: Names) -> RegistryBridgeDatabaseAdapter:
        here = conninfo_to_dict(reader.stack.env["OMNINODE_DATABASE_URL"])
        address = {"database": here["dbname"], "port": int(str(here["port"]))}
        return RegistryBridgeDatabaseAdapter(
            config | address | {name: here[name] for name in ("host", "user", "password")}
        )

    def adapter(given: RegistryBridgeDatabaseAdapter) -> DatabaseAdapter:
        return NodeBridgeDatabaseAdapterEffect(given) if reader.kind == "direct" else ADAPTERS["fleet"](reader.stack)

    elsewhere = {
        "RegistryBridgeDatabaseAdapter": registry,
        "NodeBridgeDatabaseAdapterEffect": adapter,
        "ModelDatabaseOperationInput": ModelDatabaseOperationInput,
    }
    await reader.run(block, stand_ins=elsewhere, uuid4=uuid4)
    assert (reader["result"].success, reader["result"].rows_affected) == (True, 1), reader["result"].error_message


async def a_direct_call(reader: Reader, block: Block) -> None:
    await reader.run(block)
    assert (reader["result"].success, reader["result"].rows_affected) == (True, 1), reader["result"].error_message


async def publish(adapter: DatabaseAdapter, *, event_type: str, correlation_id: UUID, event_data: Names) -> None:
    """An event on its way: the record that a node puts on the bus, and the operation that it means, carried out."""
    record = {"event_type": event_type, "correlation_id": correlation_id, "event_data": event_data}
    operation = map_record("events", None, json.loads(json.dumps(record, default=str)))
    assert isinstance(operation, Operation), operation
    content = {PERSIST_BLOCKS[operation.operation_type]: operation.data.model_dump(mode="json", exclude_none=True)}
    output = await adapter.process({"operation_type": operation.operation_type} | content)
    assert output.success, output.error_message


async def an_orchestrators_event(reader: Reader, block: Block) -> None:
    node, correlation_id = SimpleNamespace(namespace="documents", _publish_event=partial(publish, reader.node)), uuid4()
    now: Names = {"EnumWorkflowEvent": EnumWorkflowEvent, "datetime": datetime}
    await reader.run(block, self=node, correlation_id=correlation_id, **now)
    row = await workflow_of(reader, correlation_id)
    assert (row.current_state, row.namespace) == ("PROCESSING", "documents") and row.started_at is not None


async def a_reducers_event(reader: Reader, block: Block) -> None:
    state = bridge_state()
    await reader.run(block, bridge_state=state, correlation_id=uuid4())
    assert (await state_of(reader, state.bridge_id)).total_items_aggregated == state.total_items_aggregated


async def an_error(reader: Reader, block: Block) -> None:
    for side_effect in (None, ValueError("syntax")):
        node = SimpleNamespace(_query_executor=SimpleNamespace(execute=AsyncMock(side_effect=side_effect)))
        given: Names = {"self": node, "sql": "", "parameters": [], "correlation_id": uuid4()}
        if side_effect is None:
            await reader.run(block, **given)
        else:
            with pytest.raises(OnexError, match="DATABASE_OPERATION_ERROR") as caught:
                await reader.run(block, **given)
            assert caught.value.context["error"] == "syntax"


async def a_breaker(reader: Reader, block: Block) -> None:
    """No program: it is the inside of an adapter. What every operation of ours goes through is told from outside."""
    assert "_circuit_breaker" in block.source
    assert (await reader["adapter"].get_health_status())["circuit_breaker_status"] == "CLOSED"


async def the_health(reader: Reader, block: Block) -> None:
    await reader.run(block)
    assert_like(shown_answer(block), reader["health"], "health")
    assert reader["health"]["healthy"] is True


async def the_metrics(reader: Reader, block: Block) -> None:
    step = {"workflow_id": str(uuid4()), "step_name": "s", "step_order": 1, "status": "COMPLETED"}
    output = await reader["adapter"].process({"operation_type": "persist_workflow_step", "workflow_step_data": step})
    assert output.success
    await reader.run(block)
    shown = shown_answer(block)
    if reader.kind == "fleet":  # its pool is elsewhere
        assert shown.pop("pool_efficiency") and reader["metrics"]["pool_efficiency"] is None
    assert_like(shown, reader["metrics"], "metrics")


def assert_like(shown: object, answer: Any, where: str) -> None:
    """That an answer has what was shown of it, with values of the same kinds."""
    if isinstance(shown, dict):
        for name, value in shown.items():
            assert name in answer, f"{where}.{name}"
            assert_like(value, answer[name], f"{where}.{name}")
    else:
        kind = int | float if type(shown) in (int, float) else type(shown)
        assert isinstance(answer, kind), f"{where}: {answer!r}"


ADAPTER: list[How] = [
    an_operation_from_an_event,
    a_direct_call,
    an_orchestrators_event,
    a_reducers_event,
    an_error,
    a_breaker,
    the_health,
    the_metrics,
]


# ---- both -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize(
    ("document", "how"), [("1-*.md", PERSISTENCE_LAYER), ("2-*.md", ADAPTER)], ids=["persistence layer", "adapter"]
)
def test_every_program_of_a_document_runs(empty: Stack, kind: str, document: str, how: list[How]) -> None:
    blocks = blocks_of(document)
    assert len(blocks) == len(how), "one of them is neither run nor checked"

    async def read() -> None:
        async with ADAPTERS[kind](empty) as node:
            reader = Reader(kind, empty, node)
            try:
                for block, tried in zip(blocks, how, strict=True):
                    try:
                        await tried(reader, block)
                    except Exception as error:
                        error.add_note(f"in {block}, tried as {tried.__name__}")
                        raise
            finally:
                if "adapter" in reader.names:
                    await reader["adapter"].shutdown()

    asyncio.run(read())
