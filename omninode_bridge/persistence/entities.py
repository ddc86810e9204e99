"""The rows of the six tables as models, under the platform's names.

A field that was not given is left to the database, or as it is; one given as None is set to NULL, where its column
takes that. What the database makes (ids, times of writing, the version) is never written, only read.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, get_args
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from omninode_bridge.contract.enums import EnumEntityType
from omninode_bridge.contract.errors import invalid
from omninode_bridge.contract.values import (
    AggregationType,
    Count32,
    Count64,
    EntityType,
    FileHash,
    Health,
    Instant,
    JsonList,
    JsonObject,
    Message2000,
    MetadataVersion,
    Name50,
    Name100,
    Name255,
    NodeType,
    Rate,
    State,
    Url500,
    Version32,
)
from omninode_bridge.contract.wire import error_text


def _or_empty(value: object) -> object:
    return {} if value is None else value


JsonColumn = Annotated[JsonObject, BeforeValidator(_or_empty)]  # of a column that is never NULL


class Entity(BaseModel):
    """A row, or what is to become one."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)

    row_version: Annotated[int, Field(strict=True, ge=1)] | None = None  # every write raises it


class ModelWorkflowExecution(Entity):
    """workflow_executions: one workflow, by its correlation id."""

    id: UUID | None = None
    correlation_id: UUID
    workflow_type: Name100
    current_state: State
    namespace: Name255
    started_at: Instant | None = None
    completed_at: Instant | None = None
    execution_time_ms: Count32 | None = None
    error_message: Message2000 | None = None
    metadata: JsonColumn = Field(default_factory=dict)
    created_at: Instant | None = None
    updated_at: Instant | None = None
    stamp_id: Name255 | None = None
    file_hash: FileHash | None = None
    workflow_steps: JsonList | None = None
    workflow_steps_executed: Count32 | None = None
    hash_generation_time_ms: Count32 | None = None
    intelligence_data: JsonObject | None = None
    session_id: UUID | None = None
    workflow_id: UUID | None = None
    input_data: JsonObject | None = None
    output_data: JsonObject | None = None
    error_info: JsonObject | None = None


class ModelWorkflowStep(Entity):
    """workflow_steps. `workflow_id` is the workflow's correlation id when written, its row's `id` when read; the fleet
    makes both the same."""

    id: UUID | None = None
    workflow_id: UUID
    step_name: Name100
    step_order: Count32
    status: State
    execution_time_ms: Count32 | None = None
    step_data: JsonColumn = Field(default_factory=dict)
    error_message: Message2000 | None = None
    created_at: Instant | None = None
    step_type: Name50 | None = None
    input_data: JsonObject | None = None
    output_data: JsonObject | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None


class ModelBridgeState(Entity):
    """bridge_states: one reducer's aggregation in one namespace."""

    bridge_id: UUID
    namespace: Name255
    total_workflows_processed: Count64 = 0
    total_items_aggregated: Count64 = 0
    aggregation_metadata: JsonColumn = Field(default_factory=dict)
    current_fsm_state: State
    last_aggregation_timestamp: Instant | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    total_size_bytes: Count64 = 0
    unique_file_types: list[Name255] = Field(default_factory=list)
    unique_workflows: list[UUID] = Field(default_factory=list)
    aggregation_type: AggregationType | None = None
    window_start: Instant | None = None
    window_end: Instant | None = None
    aggregation_duration_ms: Count32 | None = None
    items_per_second: Rate | None = None
    version: Version32 = 1
    configuration: JsonColumn = Field(default_factory=dict)
    node_type: NodeType | None = None
    correlation_id: UUID | None = None
    state_data: JsonObject | None = None
    metadata: JsonObject | None = None


class ModelFSMTransition(Entity):
    """fsm_transitions: one move of a state machine; `from_state` None is the first."""

    id: UUID | None = None
    entity_id: UUID
    entity_type: EntityType
    from_state: State | None = None
    to_state: State
    transition_event: Name100
    transition_data: JsonColumn = Field(default_factory=dict)
    transition_at: Instant | None = None
    created_at: Instant | None = None
    triggered_by: Name100 | None = None
    metadata: JsonObject | None = None


class ModelMetadataStamp(Entity):
    """metadata_stamps. `workflow_id` as in ModelWorkflowStep, or none."""

    id: UUID | None = None
    workflow_id: UUID | None = None
    file_hash: FileHash | None = None
    stamp_data: JsonObject
    namespace: Name255
    created_at: Instant | None = None
    stamp_id: Name255 | None = None
    file_metadata: JsonObject | None = None
    intelligence_data: JsonObject | None = None
    metadata_version: MetadataVersion | None = None


class ModelNodeHeartbeat(Entity):
    """node_registrations: a node, and what it last said of itself."""

    node_id: Name255
    node_type: NodeType = "unknown"
    node_version: Name50 = "unknown"
    capabilities: JsonColumn = Field(default_factory=dict)
    endpoints: JsonColumn = Field(default_factory=dict)
    metadata: JsonColumn = Field(default_factory=dict)
    health_status: Health = "UNKNOWN"
    last_heartbeat: Instant | None = None
    registered_at: Instant | None = None
    updated_at: Instant | None = None
    endpoint_url: Url500 | None = None
    liveness: Name50 | None = None
    heartbeat_received_at: Instant | None = None
    namespace: Name255 | None = None
    deregistered_at: Instant | None = None


# node_health_metrics has no table of its own: it is a name under which nodes may be read.
ENTITY_MODELS: dict[EnumEntityType, type[Entity]] = {
    EnumEntityType.WORKFLOW_EXECUTION: ModelWorkflowExecution,
    EnumEntityType.WORKFLOW_STEP: ModelWorkflowStep,
    EnumEntityType.BRIDGE_STATE: ModelBridgeState,
    EnumEntityType.FSM_TRANSITION: ModelFSMTransition,
    EnumEntityType.METADATA_STAMP: ModelMetadataStamp,
    EnumEntityType.NODE_HEARTBEAT: ModelNodeHeartbeat,
    EnumEntityType.NODE_HEALTH_METRICS: ModelNodeHeartbeat,
}

# What the database makes. An insert leaves them out, an update names the one that it was given.
MADE_BY_DATABASE = frozenset(
    {
        "id",
        "created_at",
        "updated_at",
        "registered_at",
        "transition_at",
        "heartbeat_received_at",
        "liveness",
        "row_version",
    }
)

M = TypeVar("M", bound=Entity)


def entity_type_of(name: object) -> EnumEntityType:
    """The entity type of that name, in any case. Raises OnexError VALIDATION_ERROR that lists those there are."""
    if isinstance(name, str):
        wanted = name.strip().lower()
        if wanted in ENTITY_MODELS:
            return EnumEntityType(wanted)
    raise invalid("entity_type: not one of " + ", ".join(ENTITY_MODELS))


def given_fields(entity: Entity) -> dict[str, Any]:
    """The fields that were given, as JSON values: ids and instants as text, None where it was given."""
    return entity.model_dump(mode="json", exclude_unset=True)


def checked_fields(entity_type: EnumEntityType, fields: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
    """Fields from outside, checked and normalised, as `given_fields` gives them.

    partial  required fields may be missing: they are those of an update
    Raises OnexError VALIDATION_ERROR that names each field that is wrong or that the entity does not have.
    """
    model = _partial(ENTITY_MODELS[entity_type]) if partial else ENTITY_MODELS[entity_type]
    try:
        return given_fields(model.model_validate(dict(fields)))
    except ValidationError as error:
        raise invalid(error_text(error)) from None


@cache
def _partial(model: type[Entity]) -> type[Entity]:
    """The same model with nothing required; defaults are never checked and never given."""
    required: dict[str, Any] = {
        name: (field.annotation if not field.metadata else Annotated[(field.annotation, *field.metadata)], None)
        for name, field in model.model_fields.items()
        if field.is_required()
    }
    return create_model(f"Partial{model.__name__}", __base__=model, **required)


def columns_of(entity_type: EnumEntityType) -> frozenset[str]:
    """Every column that users may name."""
    return frozenset(ENTITY_MODELS[entity_type].model_fields)


def takes_null(entity_type: EnumEntityType, column: str) -> bool:
    """Whether NULL may stand there."""
    return type(None) in get_args(ENTITY_MODELS[entity_type].model_fields[column].annotation)
