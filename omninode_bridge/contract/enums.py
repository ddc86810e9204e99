"""The platform's closed vocabularies, with the values that travel on the wire."""

from enum import StrEnum


class EnumIntentType(StrEnum):
    """What a reducer may ask the store effect to do."""

    PUBLISH_EVENT = "PublishEvent"
    PERSIST_STATE = "PersistState"
    PERSIST_FSM_TRANSITION = "PersistFSMTransition"
    RECOVER_FSM_STATES = "RecoverFSMStates"

    @property
    def target(self) -> str:
        return "event_bus" if self is EnumIntentType.PUBLISH_EVENT else "store_effect"


class EnumReducerEvent(StrEnum):
    """Events that reducers emit."""

    AGGREGATION_STARTED = "aggregation_started"
    BATCH_PROCESSED = "batch_processed"
    STATE_PERSISTED = "state_persisted"
    AGGREGATION_COMPLETED = "aggregation_completed"
    AGGREGATION_FAILED = "aggregation_failed"
    FSM_STATE_INITIALIZED = "fsm_state_initialized"
    FSM_STATE_TRANSITIONED = "fsm_state_transitioned"
    NODE_INTROSPECTION = "node_introspection"
    REGISTRY_REQUEST_INTROSPECTION = "registry_request_introspection"
    NODE_HEARTBEAT = "node_heartbeat"

    @property
    def is_terminal(self) -> bool:
        return self in (EnumReducerEvent.AGGREGATION_COMPLETED, EnumReducerEvent.AGGREGATION_FAILED)


class EnumFleetEvent(StrEnum):
    """What the fleet itself finds out about nodes and workflows, and announces."""

    NODE_HEALTH_CHANGED = "node_health_changed"
    FSM_STATE_RECOVERED = "fsm_state_recovered"
    WORKFLOW_STALLED = "workflow_stalled"


class EnumLiveness(StrEnum):
    """Whether a node was heard of lately."""

    FRESH = "FRESH"
    STALE = "STALE"
    DEAD = "DEAD"


class EnumWorkflowEvent(StrEnum):
    """Events that orchestrators emit."""

    WORKFLOW_STARTED = "stamp_workflow_started"
    WORKFLOW_COMPLETED = "stamp_workflow_completed"
    WORKFLOW_FAILED = "stamp_workflow_failed"
    STEP_COMPLETED = "workflow_step_completed"
    INTELLIGENCE_REQUESTED = "onextree_intelligence_requested"
    INTELLIGENCE_RECEIVED = "onextree_intelligence_received"
    STAMP_CREATED = "metadata_stamp_created"
    HASH_GENERATED = "blake3_hash_generated"
    STATE_TRANSITION = "workflow_state_transition"
    NODE_INTROSPECTION = "node_introspection"
    REGISTRY_REQUEST_INTROSPECTION = "registry_request_introspection"
    NODE_HEARTBEAT = "node_heartbeat"

    @property
    def is_terminal(self) -> bool:
        return self in (EnumWorkflowEvent.WORKFLOW_COMPLETED, EnumWorkflowEvent.WORKFLOW_FAILED)


class EnumWorkflowState(StrEnum):
    """States of an orchestrator's workflow, as orchestrators write them; rows carry them in upper case."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"

    def may_become(self, target: "EnumWorkflowState") -> bool:
        """Whether a workflow in this state may move to `target`; completed and failed are terminal."""
        return target in _WORKFLOW_MOVES[self]


_WORKFLOW_MOVES = {
    EnumWorkflowState.PENDING: frozenset({EnumWorkflowState.PROCESSING, EnumWorkflowState.FAILED}),
    EnumWorkflowState.PROCESSING: frozenset({EnumWorkflowState.COMPLETED, EnumWorkflowState.FAILED}),
    EnumWorkflowState.COMPLETED: frozenset[EnumWorkflowState](),
    EnumWorkflowState.FAILED: frozenset[EnumWorkflowState](),
}


# States that rows carry when something is over. Workflows may have any state; the fleet itself writes the first two.
_GIVEN_UP = {"CANCELLED", "CANCELED", "ABORTED", "TERMINATED", "SKIPPED", "ERROR", "TIMEOUT", "TIMED_OUT"}
ENDED_STATES = frozenset({"COMPLETED", "FAILED"} | _GIVEN_UP)


class EnumStepStatus(StrEnum):
    """Statuses of a workflow step, as rows carry them."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class EnumAggregationType(StrEnum):
    """How a reducer groups what it aggregates."""

    NAMESPACE_GROUPING = "namespace_grouping"
    TIME_WINDOW = "time_window"
    FILE_TYPE_GROUPING = "file_type_grouping"
    SIZE_BUCKETS = "size_buckets"
    WORKFLOW_GROUPING = "workflow_grouping"
    CUSTOM = "custom"


class EnumEntityType(StrEnum):
    """Entities that generic database operations name."""

    WORKFLOW_EXECUTION = "workflow_execution"
    WORKFLOW_STEP = "workflow_step"
    BRIDGE_STATE = "bridge_state"
    FSM_TRANSITION = "fsm_transition"
    METADATA_STAMP = "metadata_stamp"
    NODE_HEARTBEAT = "node_heartbeat"
    NODE_HEALTH_METRICS = "node_health_metrics"


class EnumNodeType(StrEnum):
    """Kinds of bridge nodes that send heartbeats."""

    EFFECT = "effect"
    COMPUTE = "compute"
    REDUCER = "reducer"
    ORCHESTRATOR = "orchestrator"


class EnumNodeHealthStatus(StrEnum):
    """Health as nodes report it in heartbeat events."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    CRITICAL = "critical"
    RECOVERING = "recovering"


class EnumHealthStatus(StrEnum):
    """Health as rows carry it."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"
    UNKNOWN = "UNKNOWN"
    OFFLINE = "OFFLINE"


class EnumCircuitBreakerState(StrEnum):
    """States of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class EnumPerformanceCategory(StrEnum):
    """How long something took, for logs: fast below 100 ms, very_slow from 1000 ms."""

    FAST = "fast"
    SLOW = "slow"
    VERY_SLOW = "very_slow"

    @classmethod
    def of(cls, elapsed_ms: float) -> "EnumPerformanceCategory":
        if elapsed_ms < 100:
            return cls.FAST
        return cls.SLOW if elapsed_ms < 1000 else cls.VERY_SLOW


class EnumDatabaseOperationType(StrEnum):
    """The platform's operations; the last three are refused by name, as there."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    QUERY = "query"
    UPSERT = "upsert"
    BATCH_INSERT = "batch_insert"
    COUNT = "count"
    EXISTS = "exists"
    BATCH_UPDATE = "batch_update"
    BATCH_DELETE = "batch_delete"
    HEALTH_CHECK = "health_check"


class EnumCoreErrorCode(StrEnum):
    """What an `OnexError` is about; see `omninode_bridge.contract.errors` for what each asks of the caller."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    CONFLICT = "CONFLICT"
    TOO_OLD = "TOO_OLD"
    FUTURE = "FUTURE"
    POISON = "POISON"
    NOT_FOUND = "NOT_FOUND"
    DATABASE_OPERATION_ERROR = "DATABASE_OPERATION_ERROR"
    DATABASE_QUERY_ERROR = "DATABASE_QUERY_ERROR"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    TIMEOUT = "TIMEOUT"
    INTERNAL_ERROR = "INTERNAL_ERROR"
