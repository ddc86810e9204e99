"""A small world of bridge nodes that never stops: orchestrators and their workflows, reducers, heartbeats.

The same seed and start give the same operations, so whoever wants to know what was sent plays the world again instead
of keeping it. Everything in it has ids of its own: two worlds in one database do not touch.
"""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from omninode_bridge.clock import TIMELESS
from omninode_bridge.operation import (
    BridgeStateData,
    FsmTransitionData,
    MetadataStampData,
    NodeHeartbeatData,
    Operation,
    PersistBridgeState,
    PersistFsmTransition,
    PersistMetadataStamp,
    PersistWorkflowExecution,
    PersistWorkflowStep,
    UpdateNodeHeartbeat,
    WorkflowExecutionData,
    WorkflowStepData,
)

UNPACED_PER_S = 50_000  # the world's own speed where nobody says one: sooner behind the real clock than ahead of it
WORKFLOWS_AT_ONCE = 64
DRAWERS = 48  # operations that lie about and come late
LATE_SHARE = 0.05
HEARTBEAT_SHARE = 0.04
BRIDGE_STATE_SHARE = 0.04
FAILED_SHARE = 0.12

_MILLISECOND = timedelta(milliseconds=1)
# Version and variant of a UUID, and the bits that they leave free: many ids are made here, and this is the quick way.
_MARKS_4, _MARKS_7 = (4 << 76) | (2 << 62), (7 << 76) | (2 << 62)
_FREE_BITS_4 = ~((15 << 76) | (3 << 62)) & ((1 << 128) - 1)
_FREE_BITS_7 = _FREE_BITS_4 & ((1 << 80) - 1)

_NAMESPACES = ("omninode.services.metadata", "omninode.services.workflow", "tenant-a.production", "tenant-b.staging")
_WORKFLOW_TYPES = ("metadata_stamping", "batch_stamping", "document_ingest")
_STEPS = (
    "validate_input",
    "generate_hash",
    "request_intelligence",
    "create_stamp",
    "publish_event",
    "route",
    "persist",
)
_NODE_TYPES = ("orchestrator", "reducer", "effect", "compute")
_HEALTH = ("healthy",) * 16 + ("degraded", "unhealthy", "critical", "recovering")
_FSM_STATES = ("idle", "aggregating", "persisting")
_ERRORS = ("hash service timed out", "metadata service refused the stamp", "schema of the payload is unknown")


class BridgeWorld(Iterator[Operation]):
    """An endless stream of operations.

    start       what the world's clock begins with
    rate_per_s  operations in a second of that clock, so that played at this rate the stream looks like now
    """

    def __init__(self, seed: int, start: datetime, *, rate_per_s: float = UNPACED_PER_S) -> None:
        self._chance = random.Random(f"{seed} {start.isoformat()}")
        self._start = self._now = start
        self._start_ms = (start - TIMELESS) / _MILLISECOND
        self._elapsed_ms = 0.0
        self._step_ms = 1000 / rate_per_s
        self._workflows = [self._workflow() for _ in range(WORKFLOWS_AT_ONCE)]
        self._drawers: list[Operation | None] = [None] * DRAWERS
        self._session = self._key()
        mark = f"{self._chance.getrandbits(32):08x}"
        self._nodes = [f"{_NODE_TYPES[n % 4]}-{mark}-{n}" for n in range(24)]
        self._bridges = [(self._key(), self._chance.choice(_NAMESPACES)) for _ in range(12)]
        self._totals = [0] * len(self._bridges)

    def __next__(self) -> Operation:
        while True:
            operation = self._happening()
            if self._chance.random() >= LATE_SHARE:
                return operation
            drawer = int(self._chance.random() * DRAWERS)
            late, self._drawers[drawer] = self._drawers[drawer], operation
            if late is not None:
                return late

    def _happening(self) -> Operation:
        """What happens next, somewhere."""
        self._elapsed_ms += self._step_ms
        self._now = self._start + timedelta(milliseconds=self._elapsed_ms)
        what = self._chance.random()
        if what < HEARTBEAT_SHARE:
            return self._heartbeat()
        if what < HEARTBEAT_SHARE + BRIDGE_STATE_SHARE:
            return self._bridge_state()
        which = int(self._chance.random() * WORKFLOWS_AT_ONCE)
        operation = next(self._workflows[which], None)
        if operation is None:
            self._workflows[which] = self._workflow()
            operation = next(self._workflows[which])
        return operation

    def _workflow(self) -> Iterator[Operation]:
        """One workflow's life, an operation at a time."""
        chance = self._chance
        workflow_id, namespace = self._key(), chance.choice(_NAMESPACES)
        began = self._now
        yield self._started(workflow_id, namespace)
        yield self._moved(workflow_id, "PENDING", "PROCESSING", "workflow_started")
        steps = chance.randint(2, 7)
        for order in range(steps):
            yield self._stepped(workflow_id, order)
        failed = chance.random() < FAILED_SHARE
        file_hash = f"{chance.getrandbits(256):064x}"
        if not failed:
            for _ in range(chance.randint(0, 2)):
                yield self._stamped(workflow_id, namespace, file_hash)
        end = "FAILED" if failed else "COMPLETED"
        yield self._moved(workflow_id, "PROCESSING", end, f"workflow_{end.lower()}")
        yield self._ended(workflow_id, end, steps, file_hash, elapsed_ms=int((self._now - began) / _MILLISECOND))

    def _started(self, workflow_id: UUID, namespace: str) -> Operation:
        return self._operation(
            PersistWorkflowExecution,
            WorkflowExecutionData(
                correlation_id=workflow_id,
                current_state="PROCESSING",
                workflow_type=self._chance.choice(_WORKFLOW_TYPES),
                namespace=namespace,
                started_at=self._now,
                session_id=self._session,
                metadata={"mode": "event_driven"},
            ),
            workflow_id,
        )

    def _ended(self, workflow_id: UUID, end: str, steps: int, file_hash: str, *, elapsed_ms: int) -> Operation:
        data = WorkflowExecutionData(
            correlation_id=workflow_id,
            current_state=end,
            completed_at=self._now,
            execution_time_ms=elapsed_ms,
            workflow_steps_executed=steps,
            error_message=self._chance.choice(_ERRORS) if end == "FAILED" else None,
            file_hash=file_hash if end == "COMPLETED" else None,
            metadata={"error_type": "TimeoutError", "retry_count": 1} if end == "FAILED" else {"api_version": "v1"},
        )
        return self._operation(PersistWorkflowExecution, data, workflow_id)

    def _stepped(self, workflow_id: UUID, order: int) -> Operation:
        chance = self._chance
        data = WorkflowStepData(
            workflow_id=workflow_id,
            step_name=_STEPS[order % len(_STEPS)],
            step_order=order,
            status="COMPLETED" if chance.random() < 0.97 else "FAILED",
            execution_time_ms=int(chance.expovariate(0.02)),
            step_data={"bytes": chance.getrandbits(24)},
        )
        return self._operation(PersistWorkflowStep, data, workflow_id)

    def _moved(self, workflow_id: UUID, from_state: str, to_state: str, event: str) -> Operation:
        data = FsmTransitionData(
            entity_id=workflow_id,
            entity_type="workflow_execution",
            from_state=from_state,
            to_state=to_state,
            transition_event=event,
            triggered_by="orchestrator",
        )
        return self._operation(PersistFsmTransition, data, workflow_id)

    def _stamped(self, workflow_id: UUID, namespace: str, file_hash: str) -> Operation:
        data = MetadataStampData(
            workflow_id=workflow_id,
            namespace=namespace,
            file_hash=file_hash,
            stamp_id=f"stamp_{file_hash[:12]}",
            stamp_data={"version": 1, "algorithm": "blake3"},
        )
        return self._operation(PersistMetadataStamp, data, workflow_id)

    def _bridge_state(self) -> Operation:
        which = int(self._chance.random() * len(self._bridges))
        self._totals[which] += 1
        bridge_id, namespace = self._bridges[which]
        data = BridgeStateData(
            bridge_id=bridge_id,
            namespace=namespace,
            current_fsm_state=self._chance.choice(_FSM_STATES),
            total_workflows_processed=self._totals[which],
            total_items_aggregated=self._totals[which] * 25,
            last_aggregation_timestamp=self._now,
            aggregation_metadata={"batch_size": 25, "window_ms": 5000},
        )
        return self._operation(PersistBridgeState, data, None)

    def _heartbeat(self) -> Operation:
        node_id = self._chance.choice(self._nodes)
        data = NodeHeartbeatData(
            node_id=node_id,
            health_status=self._chance.choice(_HEALTH),
            node_type=node_id.partition("-")[0],
            node_version="1.4.2",
            last_heartbeat=self._now,
            metadata={"active_operations": self._chance.getrandbits(5), "cpu_percent": self._chance.getrandbits(6)},
        )
        return self._operation(UpdateNodeHeartbeat, data, None)

    def _operation(self, kind: Callable[..., Operation], data: Any, correlation_id: UUID | None) -> Operation:
        return kind(operation_id=self._id(), occurred_at=self._now, correlation_id=correlation_id, data=data)

    def _id(self) -> UUID:
        millis = int(self._start_ms + self._elapsed_ms)
        return UUID(int=(millis << 80) | (self._chance.getrandbits(80) & _FREE_BITS_7) | _MARKS_7)

    def _key(self) -> UUID:
        return UUID(int=(self._chance.getrandbits(128) & _FREE_BITS_4) | _MARKS_4)
