"""Rows written and read with an answer: fifteen functions, and the operations beneath them, through any adapter.

from omninode_bridge.persistence import FleetDatabaseAdapter, create_bridge_state

async with FleetDatabaseAdapter("redis://...") as node:
    bridge = await create_bridge_state(bridge_id=..., namespace="tests", current_fsm_state="IDLE", node=node, ...)
"""

from typing import TYPE_CHECKING

from omninode_bridge.contract.enums import EnumCoreErrorCode, EnumDatabaseOperationType, EnumEntityType
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence.bridge_state_crud import (
    create_bridge_state,
    delete_bridge_state,
    get_bridge_state,
    list_bridge_states,
    update_bridge_state,
    upsert_bridge_state,
)
from omninode_bridge.persistence.entities import (
    ModelBridgeState,
    ModelFSMTransition,
    ModelMetadataStamp,
    ModelNodeHeartbeat,
    ModelWorkflowExecution,
    ModelWorkflowStep,
)
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, ModelDatabaseOperationOutput
from omninode_bridge.persistence.node_registry import (
    ModelRegisteredNode,
    deregister_node,
    get_node,
    list_nodes,
    register_node,
)
from omninode_bridge.persistence.protocols import DatabaseAdapterProtocol
from omninode_bridge.persistence.workflow_execution_crud import (
    create_workflow_execution,
    delete_workflow_execution,
    get_workflow_execution,
    list_workflow_executions,
    update_workflow_execution,
)

if TYPE_CHECKING:
    from omninode_bridge.persistence.fleet_adapter import FleetDatabaseAdapter

__all__ = [
    "DatabaseAdapterProtocol",
    "EnumCoreErrorCode",
    "EnumDatabaseOperationType",
    "EnumEntityType",
    "FleetDatabaseAdapter",
    "ModelBridgeState",
    "ModelDatabaseOperationInput",
    "ModelDatabaseOperationOutput",
    "ModelFSMTransition",
    "ModelMetadataStamp",
    "ModelNodeHeartbeat",
    "ModelRegisteredNode",
    "ModelWorkflowExecution",
    "ModelWorkflowStep",
    "OnexError",
    "create_bridge_state",
    "create_workflow_execution",
    "delete_bridge_state",
    "delete_workflow_execution",
    "deregister_node",
    "get_bridge_state",
    "get_node",
    "get_workflow_execution",
    "list_bridge_states",
    "list_nodes",
    "list_workflow_executions",
    "register_node",
    "update_bridge_state",
    "update_workflow_execution",
    "upsert_bridge_state",
]


def __getattr__(name: str) -> object:
    if name != "FleetDatabaseAdapter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Loaded when it is first asked for: the fleet's own processes need the models and not the client.
    from omninode_bridge.persistence.fleet_adapter import FleetDatabaseAdapter

    return FleetDatabaseAdapter
