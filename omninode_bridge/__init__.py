"""What a bridge node imports: the operations and the client that hands them to the fleet.

from omninode_bridge import FleetClient, WorkflowStepData

with FleetClient("redis://...") as client:
    client.submit(WorkflowStepData(...))
"""

from typing import TYPE_CHECKING

from omninode_bridge.contract.enums import EnumCoreErrorCode, EnumIntentType
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.operation import (
    BridgeStateData,
    Data,
    EventData,
    FsmTransitionData,
    MetadataStampData,
    NodeHeartbeatData,
    Operation,
    PersistBridgeState,
    PersistFsmTransition,
    PersistMetadataStamp,
    PersistWorkflowExecution,
    PersistWorkflowStep,
    RecordEvent,
    UpdateNodeHeartbeat,
    WorkflowExecutionData,
    WorkflowStepData,
)
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal

if TYPE_CHECKING:
    from omninode_bridge.bus.events import map_record
    from omninode_bridge.client.aio import AsyncFleetClient
    from omninode_bridge.client.client import ClientStats, FleetClient
    from omninode_bridge.client.handle import Handle
    from omninode_bridge.intents.intents import ModelIntent
    from omninode_bridge.intents.results import (
        ModelFSMResult,
        ModelIntentResult,
        ModelPersistStateResult,
        ModelPublishResult,
    )
    from omninode_bridge.intents.store_effect import StoreEffect

# Loaded when they are first asked for: the fleet's own processes need the models and not the client.
_LATER = {
    "AsyncFleetClient": "omninode_bridge.client.aio",
    "ClientStats": "omninode_bridge.client.client",
    "FleetClient": "omninode_bridge.client.client",
    "Handle": "omninode_bridge.client.handle",
    "ModelFSMResult": "omninode_bridge.intents.results",
    "ModelIntent": "omninode_bridge.intents.intents",
    "ModelIntentResult": "omninode_bridge.intents.results",
    "ModelPersistStateResult": "omninode_bridge.intents.results",
    "ModelPublishResult": "omninode_bridge.intents.results",
    "StoreEffect": "omninode_bridge.intents.store_effect",
    "map_record": "omninode_bridge.bus.events",
}

__all__ = [
    "AsyncFleetClient",
    "BridgeStateData",
    "ClientStats",
    "Data",
    "EnumCoreErrorCode",
    "EnumIntentType",
    "EventData",
    "FleetClient",
    "FsmTransitionData",
    "Handle",
    "MetadataStampData",
    "ModelFSMResult",
    "ModelIntent",
    "ModelIntentResult",
    "ModelPersistStateResult",
    "ModelPublishResult",
    "NodeHeartbeatData",
    "OnexError",
    "Operation",
    "Outcome",
    "PersistBridgeState",
    "PersistFsmTransition",
    "PersistMetadataStamp",
    "PersistWorkflowExecution",
    "PersistWorkflowStep",
    "RecordEvent",
    "Refusal",
    "StoreEffect",
    "UpdateNodeHeartbeat",
    "WorkflowExecutionData",
    "WorkflowStepData",
    "map_record",
]


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATER[name]), name)
