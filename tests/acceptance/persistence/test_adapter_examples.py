"""A database adapter as its manual shows it, through both adapters: only the line that makes it differs."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict

from omninode_bridge.persistence.adapter import DatabaseAdapter
from omninode_bridge.persistence.fleet_adapter import FleetDatabaseAdapter
from omninode_bridge.persistence.models import ModelDatabaseOperationInput
from store.adapter import NodeBridgeDatabaseAdapterEffect, RegistryBridgeDatabaseAdapter
from tests.acceptance.adapters import ADAPTERS
from tests.conftest import Stack

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("made", ["from a registry", "from the environment"])
def test_an_operation_from_an_event_is_processed(empty: Stack, made: str) -> None:
    async def run() -> str:
        adapter: DatabaseAdapter
        if made == "from a registry":
            registry = RegistryBridgeDatabaseAdapter(_parts(empty.env["OMNINODE_DATABASE_URL"]) | {"pool_size": 20})
            adapter = NodeBridgeDatabaseAdapterEffect(registry)
        else:
            adapter = FleetDatabaseAdapter.from_environment(empty.env)
        await adapter.initialize()

        operation = ModelDatabaseOperationInput(
            operation_type="persist_workflow_execution",
            correlation_id=uuid4(),
            workflow_execution_data={
                "workflow_type": "metadata_stamping",
                "current_state": "PROCESSING",
                "namespace": "default",
            },
        )
        result = await adapter.process(operation)
        await adapter.shutdown()
        return f"Success: {result.success}, Rows Affected: {result.rows_affected}"

    assert asyncio.run(run()) == "Success: True, Rows Affected: 1"


def _parts(url: str) -> dict[str, Any]:
    found = conninfo_to_dict(url)
    return {
        "host": found["host"],
        "port": int(str(found["port"])),
        "database": found["dbname"],
        "user": found["user"],
        "password": found["password"],
    }


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_handler_is_called_directly_and_tells_how_it_is(empty: Stack, kind: str) -> None:
    async def run() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        async with ADAPTERS[kind](empty) as adapter:
            result = await adapter._persist_bridge_state(
                ModelDatabaseOperationInput(
                    operation_type="persist_bridge_state",
                    correlation_id=uuid4(),
                    bridge_state_data={
                        "bridge_id": str(uuid4()),
                        "namespace": "production",
                        "total_workflows_processed": 1500,
                        "total_items_aggregated": 45000,
                        "current_fsm_state": "ACTIVE",
                    },
                )
            )
            return result, await adapter.get_health_status(), await adapter.get_metrics()

    result, health, metrics = asyncio.run(run())
    assert result.success and result.rows_affected == 1

    assert health["healthy"] is True and health["circuit_breaker_status"] == "CLOSED"
    assert health["database_version"].startswith("PostgreSQL ")
    numbers = ("pool_size", "active_connections", "idle_connections", "total_queries")
    assert all(isinstance(health["connection_stats"][name], int) for name in numbers)

    assert metrics["operations_by_type"] == {"persist_bridge_state": 1}
    assert metrics["avg_execution_times"]["persist_bridge_state"] > 0
    assert metrics["error_rate"] == 0
    assert metrics["pool_efficiency"] is None if kind == "fleet" else 0 <= metrics["pool_efficiency"] <= 1


@pytest.mark.parametrize("kind", ADAPTERS)
def test_the_operations_that_events_become_are_handled(empty: Stack, kind: str) -> None:
    workflow, now = uuid4(), datetime.now(UTC).isoformat()
    blocks: dict[str, dict[str, Any]] = {
        "workflow_execution": {"workflow_type": "t", "current_state": "COMPLETED", "namespace": "n", "started_at": now},
        "workflow_step": {"workflow_id": workflow, "step_name": "hash", "step_order": 1, "status": "COMPLETED"},
        "fsm_transition": {
            "entity_id": workflow,
            "entity_type": "workflow",
            "from_state": "PROCESSING",
            "to_state": "COMPLETED",
            "transition_event": "workflow_completed",
        },
        "metadata_stamp": {"workflow_id": workflow, "file_hash": "ab" * 32, "stamp_data": {"v": 1}, "namespace": "n"},
    }

    async def run() -> list[bool]:
        async with ADAPTERS[kind](empty) as adapter:
            done = [
                await getattr(adapter, f"_persist_{name}")(
                    ModelDatabaseOperationInput.model_validate(
                        {"operation_type": f"persist_{name}", "correlation_id": workflow, f"{name}_data": block}
                    )
                )
                for name, block in blocks.items()
            ]
            heartbeat = ModelDatabaseOperationInput(
                operation_type="update_node_heartbeat",
                correlation_id=uuid4(),
                node_heartbeat_data={"node_id": "node-1", "health_status": "HEALTHY", "last_heartbeat": now},
            )
            return [one.success for one in (*done, await adapter._update_node_heartbeat(heartbeat))]

    assert asyncio.run(run()) == [True] * 5
