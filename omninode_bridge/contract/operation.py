"""The operations: what a bridge node did, as the fleet takes it.

Each class of data is what one table wants to know; each class of operation carries it with an id, a time and a trace
id. A field that is None was not given. Unknown fields are refused.

Here are what all have in common, the persist operations and the event that is only recorded. Intents are in
intent_operation.py, questions in query_operation.py, and all of them by name in operation_types.py.
"""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from omninode_bridge.contract.clock import now, uuid7
from omninode_bridge.contract.values import (
    AggregationType,
    Count32,
    Count64,
    Digest,
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
    OperationId,
    Rate,
    State,
    Url500,
    Version32,
)


class Data(BaseModel):
    """What an operation says; one subclass a family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    OPERATION_TYPE: ClassVar[str]
    BLOCK: ClassVar[str] = ""  # the name of this block in a bare bus object; only the six persist families have one


class WorkflowExecutionData(Data):
    """What became known of a workflow; fields not given keep what others gave."""

    OPERATION_TYPE: ClassVar[str] = "persist_workflow_execution"
    BLOCK: ClassVar[str] = "workflow_execution_data"

    correlation_id: UUID
    current_state: State
    workflow_type: Name100 | None = None
    namespace: Name255 | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    execution_time_ms: Count32 | None = None
    error_message: Message2000 | None = None
    metadata: JsonObject | None = None
    stamp_id: Name255 | None = None
    file_hash: FileHash | None = None
    session_id: UUID | None = None
    workflow_id: UUID | None = None
    workflow_steps: JsonList | None = None
    workflow_steps_executed: Count32 | None = None
    hash_generation_time_ms: Count32 | None = None
    intelligence_data: JsonObject | None = None
    input_data: JsonObject | None = None
    output_data: JsonObject | None = None
    error_info: JsonObject | None = None


class WorkflowStepData(Data):
    """One step of a workflow, appended. `workflow_id` is the workflow's correlation id."""

    OPERATION_TYPE: ClassVar[str] = "persist_workflow_step"
    BLOCK: ClassVar[str] = "workflow_step_data"

    workflow_id: UUID
    step_name: Name100
    step_order: Count32
    status: State
    execution_time_ms: Count32 | None = None
    step_data: JsonObject | None = None
    error_message: Message2000 | None = None
    created_at: Instant | None = None
    step_type: Name50 | None = None
    input_data: JsonObject | None = None
    output_data: JsonObject | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None


class BridgeStateData(Data):
    """A snapshot of a reducer's aggregation: the newest one replaces the row whole."""

    OPERATION_TYPE: ClassVar[str] = "persist_bridge_state"
    BLOCK: ClassVar[str] = "bridge_state_data"

    bridge_id: UUID
    namespace: Name255
    current_fsm_state: State
    total_workflows_processed: Count64 | None = None
    total_items_aggregated: Count64 | None = None
    aggregation_metadata: JsonObject | None = None
    last_aggregation_timestamp: Instant | None = None
    total_size_bytes: Count64 | None = None
    unique_file_types: list[Name255] | None = None
    unique_workflows: list[UUID] | None = None
    aggregation_type: AggregationType | None = None
    window_start: Instant | None = None
    window_end: Instant | None = None
    aggregation_duration_ms: Count32 | None = None
    items_per_second: Rate | None = None
    version: Version32 | None = None
    configuration: JsonObject | None = None
    node_type: NodeType | None = None
    correlation_id: UUID | None = None
    state_data: JsonObject | None = None
    metadata: JsonObject | None = None


class FsmTransitionData(Data):
    """One move of a state machine, appended; `from_state` None is the first."""

    OPERATION_TYPE: ClassVar[str] = "persist_fsm_transition"
    BLOCK: ClassVar[str] = "fsm_transition_data"

    entity_id: UUID
    entity_type: EntityType
    to_state: State
    transition_event: Name100
    from_state: State | None = None
    transition_data: JsonObject | None = None
    triggered_by: Name100 | None = None
    metadata: JsonObject | None = None


class MetadataStampData(Data):
    """One stamp, appended. `workflow_id` is the workflow's correlation id."""

    OPERATION_TYPE: ClassVar[str] = "persist_metadata_stamp"
    BLOCK: ClassVar[str] = "metadata_stamp_data"

    stamp_data: JsonObject
    namespace: Name255 | None = None
    workflow_id: UUID | None = None
    file_hash: FileHash | None = None
    stamp_id: Name255 | None = None
    created_at: Instant | None = None
    file_metadata: JsonObject | None = None
    intelligence_data: JsonObject | None = None
    metadata_version: MetadataVersion | None = None


class NodeHeartbeatData(Data):
    """A node says how it is; what it does not say keeps what it said before."""

    OPERATION_TYPE: ClassVar[str] = "update_node_heartbeat"
    BLOCK: ClassVar[str] = "node_heartbeat_data"

    node_id: Name255
    health_status: Health
    node_type: NodeType | None = None
    node_version: Name50 | None = None
    last_heartbeat: Instant | None = None
    metadata: JsonObject | None = None
    capabilities: JsonObject | None = None
    endpoints: JsonObject | None = None
    endpoint_url: Url500 | None = None
    namespace: Name255 | None = None


class EventData(Data):
    """A consumed event as `event_logs` keeps it: the payload, and beside it the rest of its envelope.

    `event_type` is in lower case with underscores; `envelope` is None for a bare object.
    """

    OPERATION_TYPE: ClassVar[str] = "record_event"
    BLOCK: ClassVar[str] = "event_data"

    event_type: Name100
    topic: Name255 | None = None
    partition_key: Name255 | None = None
    session_id: UUID | None = None
    payload: JsonObject
    envelope: JsonObject | None = None


class Operation(BaseModel):
    """Something that happened, with an id under which it counts once, however often it arrives.

    operation_id    a UUIDv7; made here when not given
    occurred_at     when it happened at its source, aware; now when not given
    correlation_id  for tracing, through logs, ledger and events
    digest          32 hex digits of the content as it was first sent; computed by the fleet when not given
    event           the bus event that this operation was made of
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    operation_id: OperationId = Field(default_factory=uuid7)
    operation_type: str
    correlation_id: UUID | None = None
    occurred_at: Instant = Field(default_factory=now)
    digest: Digest | None = None
    event: EventData | None = None
    data: Data


class PersistWorkflowExecution(Operation):
    """What became known of a workflow."""

    operation_type: Literal["persist_workflow_execution"] = "persist_workflow_execution"
    data: WorkflowExecutionData


class PersistWorkflowStep(Operation):
    """A step of a workflow ended."""

    operation_type: Literal["persist_workflow_step"] = "persist_workflow_step"
    data: WorkflowStepData


class PersistBridgeState(Operation):
    """A reducer's aggregation stands so."""

    operation_type: Literal["persist_bridge_state"] = "persist_bridge_state"
    data: BridgeStateData


class PersistFsmTransition(Operation):
    """A state machine moved."""

    operation_type: Literal["persist_fsm_transition"] = "persist_fsm_transition"
    data: FsmTransitionData


class PersistMetadataStamp(Operation):
    """A stamp was made."""

    operation_type: Literal["persist_metadata_stamp"] = "persist_metadata_stamp"
    data: MetadataStampData


class UpdateNodeHeartbeat(Operation):
    """A node is alive."""

    operation_type: Literal["update_node_heartbeat"] = "update_node_heartbeat"
    data: NodeHeartbeatData


class RecordEvent(Operation):
    """An event that belongs to no table but `event_logs`."""

    operation_type: Literal["record_event"] = "record_event"
    data: EventData
