"""The entities that queries and generic writes name: their tables, keys and columns, as far as users may see them.

Names in SQL come from here alone. What the fleet keeps for itself (clocks, contributed totals, what
was announced) is not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from omninode_bridge.contract.enums import EnumCoreErrorCode, EnumEntityType
from omninode_bridge.contract.errors import OnexError, quoted
from omninode_bridge.persistence.entities import ENTITY_MODELS, entity_type_of
from omninode_bridge.persistence.entities import Entity as Model

Kind = Literal["uuid", "text", "instant", "integer", "number", "json", "texts", "uuids"]


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each
class Entity:
    """A table.

    key           the columns that name a row
    newest_first  what a query is sorted by when it does not say
    defaults      what stands in a column that an insert does not give, where that is not NULL; of the columns that an
                  insert may give
    """

    table: str
    key: tuple[str, ...]
    newest_first: str
    columns: dict[str, Kind]
    defaults: Mapping[str, Any]

    def kind_of(self, column: object) -> Kind:
        """Raises OnexError VALIDATION_ERROR for what is no column, without repeating all that was given."""
        if isinstance(column, str) and column in self.columns:
            return self.columns[column]
        raise OnexError(EnumCoreErrorCode.VALIDATION_ERROR, f"{quoted(str(column))}: no column of {self.table}")


_WORKFLOW_EXECUTION = Entity(
    "workflow_executions",
    ("correlation_id",),
    "created_at",
    {
        "id": "uuid",
        "correlation_id": "uuid",
        "workflow_type": "text",
        "current_state": "text",
        "namespace": "text",
        "started_at": "instant",
        "completed_at": "instant",
        "execution_time_ms": "integer",
        "error_message": "text",
        "metadata": "json",
        "created_at": "instant",
        "updated_at": "instant",
        "stamp_id": "text",
        "file_hash": "text",
        "workflow_steps": "json",
        "intelligence_data": "json",
        "hash_generation_time_ms": "integer",
        "workflow_steps_executed": "integer",
        "session_id": "uuid",
        "workflow_id": "uuid",
        "input_data": "json",
        "output_data": "json",
        "error_info": "json",
        "row_version": "integer",
    },
    defaults={
        "workflow_type": "unknown",
        "current_state": "PENDING",
        "namespace": "unknown",
        "metadata": {},
        "workflow_steps": [],
        "workflow_steps_executed": 0,
        "input_data": {},
        "output_data": {},
        "error_info": {},
    },
)

_WORKFLOW_STEP = Entity(
    "workflow_steps",
    ("id",),
    "created_at",
    {
        "id": "uuid",
        "workflow_id": "uuid",
        "step_name": "text",
        "step_order": "integer",
        "status": "text",
        "execution_time_ms": "integer",
        "step_data": "json",
        "error_message": "text",
        "created_at": "instant",
        "step_type": "text",
        "input_data": "json",
        "output_data": "json",
        "started_at": "instant",
        "completed_at": "instant",
        "row_version": "integer",
    },
    defaults={"step_data": {}, "input_data": {}, "output_data": {}},
)

_BRIDGE_STATE = Entity(
    "bridge_states",
    ("bridge_id", "namespace"),
    "created_at",
    {
        "bridge_id": "uuid",
        "namespace": "text",
        "total_workflows_processed": "integer",
        "total_items_aggregated": "integer",
        "aggregation_metadata": "json",
        "current_fsm_state": "text",
        "last_aggregation_timestamp": "instant",
        "created_at": "instant",
        "updated_at": "instant",
        "total_size_bytes": "integer",
        "unique_file_types": "texts",
        "unique_workflows": "uuids",
        "aggregation_type": "text",
        "window_start": "instant",
        "window_end": "instant",
        "aggregation_duration_ms": "integer",
        "items_per_second": "number",
        "version": "integer",
        "configuration": "json",
        "node_type": "text",
        "correlation_id": "uuid",
        "state_data": "json",
        "metadata": "json",
        "row_version": "integer",
    },
    defaults={
        "total_workflows_processed": 0,
        "total_items_aggregated": 0,
        "aggregation_metadata": {},
        "total_size_bytes": 0,
        "unique_file_types": [],
        "unique_workflows": [],
        "aggregation_type": "namespace_grouping",
        "version": 1,
        "configuration": {},
        "state_data": {},
        "metadata": {},
    },
)

_FSM_TRANSITION = Entity(
    "fsm_transitions",
    ("id",),
    "transition_at",
    {
        "id": "uuid",
        "entity_id": "uuid",
        "entity_type": "text",
        "from_state": "text",
        "to_state": "text",
        "transition_event": "text",
        "transition_data": "json",
        "transition_at": "instant",
        "created_at": "instant",
        "triggered_by": "text",
        "metadata": "json",
        "row_version": "integer",
    },
    defaults={"transition_data": {}, "metadata": {}},
)

_METADATA_STAMP = Entity(
    "metadata_stamps",
    ("id",),
    "created_at",
    {
        "id": "uuid",
        "workflow_id": "uuid",
        "file_hash": "text",
        "stamp_data": "json",
        "namespace": "text",
        "created_at": "instant",
        "stamp_id": "text",
        "file_metadata": "json",
        "intelligence_data": "json",
        "metadata_version": "text",
        "row_version": "integer",
    },
    defaults={"namespace": "unknown", "file_metadata": {}, "intelligence_data": {}, "metadata_version": "0.1"},
)

_NODE = Entity(
    "node_registrations",
    ("node_id",),
    "registered_at",
    {
        "node_id": "text",
        "node_type": "text",
        "node_version": "text",
        "capabilities": "json",
        "endpoints": "json",
        "metadata": "json",
        "health_status": "text",
        "last_heartbeat": "instant",
        "registered_at": "instant",
        "updated_at": "instant",
        "endpoint_url": "text",
        "liveness": "text",
        "heartbeat_received_at": "instant",
        "namespace": "text",
        "deregistered_at": "instant",
        "row_version": "integer",
    },
    defaults={
        "node_type": "unknown",
        "node_version": "unknown",
        "capabilities": {},
        "endpoints": {},
        "metadata": {},
        "health_status": "UNKNOWN",
    },
)

ENTITIES: dict[str, Entity] = {
    "workflow_execution": _WORKFLOW_EXECUTION,
    "workflow_step": _WORKFLOW_STEP,
    "bridge_state": _BRIDGE_STATE,
    "fsm_transition": _FSM_TRANSITION,
    "metadata_stamp": _METADATA_STAMP,
    "node_heartbeat": _NODE,
    "node_health_metrics": _NODE,
}

MODELS: dict[str, type[Model]] = {  # of the rows of each table
    entity.table: ENTITY_MODELS[EnumEntityType(name)] for name, entity in ENTITIES.items()
}


def entity_of(name: object) -> Entity:
    """Raises OnexError VALIDATION_ERROR that lists the entities there are."""
    return ENTITIES[entity_type_of(name)]
