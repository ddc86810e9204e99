"""Numbers and rows that are larger than usual, on every way out of the database."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from omninode_bridge import FleetClient, NodeHeartbeatData, WorkflowExecutionData
from omninode_bridge.contract.operation import MetadataStampData, WorkflowStepData
from omninode_bridge.persistence import (
    create_bridge_state,
    get_workflow_execution,
    list_bridge_states,
    list_workflow_executions,
    register_node,
    update_bridge_state,
    update_workflow_execution,
)
from omninode_bridge.persistence.adapter import DatabaseAdapter
from omninode_bridge.persistence.queries import find_failed_workflows, stamps_by_hash, trace_workflow
from tests.acceptance.adapters import run
from tests.conftest import Stack, fleet

pytestmark = pytest.mark.acceptance

HUGE = {"n": [1e19, 1e20, 1.5e19 * 2, 1e22, -1e300]}
LARGE = "x" * 900_000
COLUMNS = ("metadata", "input_data", "output_data", "error_info", "intelligence_data")


def submitted(stack: Stack, *data: Any) -> None:
    with FleetClient(stack.env["OMNINODE_BROKER_URL"]) as client:
        for handle in [client.submit(one) for one in data]:
            assert handle.result(timeout_s=30).committed


def failed(workflow: UUID, **fields: Any) -> WorkflowExecutionData:
    return WorkflowExecutionData(correlation_id=workflow, current_state="FAILED", namespace="n", **fields)


def test_numbers_beyond_64_bits_come_back_from_every_function(adapter: DatabaseAdapter, empty: Stack) -> None:
    workflow = uuid4()
    submitted(
        empty,
        failed(workflow, metadata=HUGE, error_info=HUGE),
        WorkflowStepData(workflow_id=workflow, step_name="s", step_order=1, status="COMPLETED", step_data=HUGE),
        MetadataStampData(workflow_id=workflow, file_hash="ab", stamp_data=HUGE, intelligence_data=HUGE),
    )

    async def work() -> None:
        call: dict[str, Any] = {"bridge_id": uuid4(), "node": adapter, "correlation_id": uuid4()}
        made = await create_bridge_state(**call, namespace="n", current_fsm_state="A", aggregation_metadata=HUGE)
        changed = await update_bridge_state(**call, updates={"version": 2})
        (listed,) = await list_bridge_states(
            node=adapter, correlation_id=uuid4(), filters={"current_fsm_state": "a", "aggregation_metadata": HUGE}
        )
        assert made.aggregation_metadata == changed.aggregation_metadata == HUGE and listed == changed
        asked: dict[str, Any] = {"correlation_id": workflow, "node": adapter, "request_correlation_id": uuid4()}
        row = await update_workflow_execution(**asked, updates={"stamp_id": "s"})
        assert row.metadata == HUGE and row == await get_workflow_execution(**asked)
        node = await register_node(node_id="n-1", node_type="effect", node_version="1", metadata=HUGE, node=adapter)
        assert node.metadata == HUGE
        trace = await trace_workflow(correlation_id=workflow, node=adapter)
        assert trace["workflow"]["metadata"] == trace["steps"][0]["step_data"] == HUGE
        assert trace["stamps"][0]["stamp_data"] == HUGE
        assert await find_failed_workflows(node=adapter) and await stamps_by_hash(file_hash="ab", node=adapter)

    run(work())


def test_numbers_beyond_64_bits_come_back_from_every_command(empty: Stack) -> None:
    workflow = uuid4()
    submitted(
        empty,
        failed(workflow, metadata=HUGE),
        NodeHeartbeatData(node_id="n-1", health_status="HEALTHY", metadata=HUGE),
    )
    for words in (("nodes", "--all", "--json"), ("trace", str(workflow), "--json"), ("failed", "--json")):
        told = fleet(*words, environment=empty.env)
        assert told.returncode == 0, told.stdout + told.stderr
        assert json.loads(told.stdout)
    assert fleet("trace", str(workflow), environment=empty.env).returncode == 0


def test_a_row_that_has_grown_large_is_read_and_written(adapter: DatabaseAdapter, empty: Stack) -> None:
    workflow = uuid4()
    submitted(empty, *[failed(workflow, **{column: {"key": LARGE}}) for column in COLUMNS])
    asked: dict[str, Any] = {"correlation_id": workflow, "node": adapter, "request_correlation_id": uuid4()}

    async def work() -> None:
        row = await get_workflow_execution(**asked)
        assert {column: getattr(row, column) for column in COLUMNS} == {column: {"key": LARGE} for column in COLUMNS}
        changed = await update_workflow_execution(**asked, updates={"stamp_id": "s"})
        assert (changed.error_info, changed.stamp_id) == (row.error_info, "s")
        listed = await list_workflow_executions(node=adapter, request_correlation_id=uuid4())
        assert listed == [changed]

    run(work())
