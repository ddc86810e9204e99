"""A small world of bridge nodes that never stops: orchestrators and their workflows, reducers, heartbeats.

The same seed and start give the same operations, so whoever wants to know what was sent plays the world again instead
of keeping it. Everything in it has ids of its own: two worlds in one database do not touch.
"""

import math
import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from omninode_bridge.contract.clock import TIMELESS
from omninode_bridge.contract.operation import (
    Operation,
    PersistBridgeState,
    PersistFsmTransition,
    PersistMetadataStamp,
    PersistWorkflowExecution,
    PersistWorkflowStep,
    UpdateNodeHeartbeat,
)

UNPACED_PER_S = 50_000  # the world's own speed where nobody says one: sooner behind the real clock than ahead of it
WORKFLOWS_AT_ONCE = 64
DRAWERS = 48  # operations that lie about and come late
LATE_SHARE = 0.05
HEARTBEAT_SHARE = 0.04
BRIDGE_STATE_SHARE = 0.04
FAILED_SHARE = 0.12
FAILED_STEP_SHARE = 0.03
MEAN_STEP_MS = 50

_Thing = TypeVar("_Thing")

_MICROSECOND, _MILLISECOND = timedelta(microseconds=1), timedelta(milliseconds=1)
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

    # Producing shares its CPU with what is measured. So data goes in as a dict, which one validation turns into the
    # operation and all that is in it; and chances are `random()` times something, which is the cheapest draw.

    def __init__(self, seed: int, start: datetime, *, rate_per_s: float = UNPACED_PER_S) -> None:
        chance = random.Random(f"{seed} {start.isoformat()}")
        self._random, self._bits = chance.random, chance.getrandbits
        self._start = self._now = start
        self._start_us = (start - TIMELESS) // _MICROSECOND
        self._elapsed_us = 0.0
        self._id_base = 0  # of the ids made now: their time, version and variant
        self._step_us = 1_000_000 / rate_per_s
        self._session = self._key()
        mark = f"{self._bits(32):08x}"
        self._nodes = [(f"{_NODE_TYPES[n % 4]}-{mark}-{n}", _NODE_TYPES[n % 4]) for n in range(24)]
        self._bridges = [(self._key(), self._one_of(_NAMESPACES)) for _ in range(12)]
        self._totals = [0] * len(self._bridges)
        self._workflows = [self._workflow() for _ in range(WORKFLOWS_AT_ONCE)]
        self._drawers: list[Operation | None] = [None] * DRAWERS

    def __next__(self) -> Operation:
        while True:
            operation = self._happening()
            if self._random() >= LATE_SHARE:
                return operation
            drawer = int(self._random() * DRAWERS)
            late, self._drawers[drawer] = self._drawers[drawer], operation
            if late is not None:
                return late

    def _happening(self) -> Operation:
        """What happens next, somewhere."""
        self._elapsed_us += self._step_us
        elapsed_us = int(self._elapsed_us)
        self._now = self._start + timedelta(0, 0, elapsed_us)
        self._id_base = ((self._start_us + elapsed_us) // 1000 << 80) | _MARKS_7
        what = self._random()
        if what < HEARTBEAT_SHARE:
            return self._heartbeat()
        if what < HEARTBEAT_SHARE + BRIDGE_STATE_SHARE:
            return self._bridge_state()
        which = int(self._random() * WORKFLOWS_AT_ONCE)
        operation = next(self._workflows[which], None)
        if operation is None:
            self._workflows[which] = self._workflow()
            operation = next(self._workflows[which])
        return operation

    def _workflow(self) -> Iterator[Operation]:
        """One workflow's life, an operation at a time."""
        workflow_id, namespace = self._key(), self._one_of(_NAMESPACES)
        began = self._now
        yield self._started(workflow_id, namespace)
        yield self._moved(workflow_id, "PENDING", "PROCESSING", "workflow_started")
        steps = 2 + int(self._random() * 6)
        for order in range(steps):
            yield self._stepped(workflow_id, order)
        failed = self._random() < FAILED_SHARE
        file_hash = f"{self._bits(256):064x}"
        if not failed:
            for _ in range(int(self._random() * 3)):
                yield self._stamped(workflow_id, namespace, file_hash)
        if failed:
            yield self._moved(workflow_id, "PROCESSING", "FAILED", "workflow_failed")
            yield self._failed(workflow_id, steps, (self._now - began) // _MILLISECOND)
        else:
            yield self._moved(workflow_id, "PROCESSING", "COMPLETED", "workflow_completed")
            yield self._completed(workflow_id, steps, (self._now - began) // _MILLISECOND, file_hash=file_hash)

    def _started(self, workflow_id: UUID, namespace: str) -> Operation:
        data = {
            "correlation_id": workflow_id,
            "current_state": "PROCESSING",
            "workflow_type": self._one_of(_WORKFLOW_TYPES),
            "namespace": namespace,
            "started_at": self._now,
            "session_id": self._session,
            "metadata": {"mode": "event_driven"},
        }
        return self._of_workflow(PersistWorkflowExecution, workflow_id, data)

    def _completed(self, workflow_id: UUID, steps: int, elapsed_ms: int, *, file_hash: str) -> Operation:
        data = {
            "correlation_id": workflow_id,
            "current_state": "COMPLETED",
            "completed_at": self._now,
            "execution_time_ms": elapsed_ms,
            "workflow_steps_executed": steps,
            "file_hash": file_hash,
            "metadata": {"api_version": "v1"},
        }
        return self._of_workflow(PersistWorkflowExecution, workflow_id, data)

    def _failed(self, workflow_id: UUID, steps: int, elapsed_ms: int) -> Operation:
        data = {
            "correlation_id": workflow_id,
            "current_state": "FAILED",
            "completed_at": self._now,
            "execution_time_ms": elapsed_ms,
            "workflow_steps_executed": steps,
            "error_message": self._one_of(_ERRORS),
            "metadata": {"error_type": "TimeoutError", "retry_count": 1},
        }
        return self._of_workflow(PersistWorkflowExecution, workflow_id, data)

    def _stepped(self, workflow_id: UUID, order: int) -> Operation:
        data = {
            "workflow_id": workflow_id,
            "step_name": _STEPS[order],
            "step_order": order,
            "status": "COMPLETED" if self._random() >= FAILED_STEP_SHARE else "FAILED",
            "execution_time_ms": int(-MEAN_STEP_MS * math.log(1 - self._random())),
            "step_data": {"bytes": self._bits(24)},
        }
        return self._of_workflow(PersistWorkflowStep, workflow_id, data)

    def _moved(self, workflow_id: UUID, from_state: str, to_state: str, event: str) -> Operation:
        data = {
            "entity_id": workflow_id,
            "entity_type": "workflow_execution",
            "from_state": from_state,
            "to_state": to_state,
            "transition_event": event,
            "triggered_by": "orchestrator",
        }
        return self._of_workflow(PersistFsmTransition, workflow_id, data)

    def _stamped(self, workflow_id: UUID, namespace: str, file_hash: str) -> Operation:
        data = {
            "workflow_id": workflow_id,
            "namespace": namespace,
            "file_hash": file_hash,
            "stamp_id": f"stamp_{file_hash[:12]}",
            "stamp_data": {"version": 1, "algorithm": "blake3"},
        }
        return self._of_workflow(PersistMetadataStamp, workflow_id, data)

    def _bridge_state(self) -> Operation:
        which = int(self._random() * len(self._bridges))
        self._totals[which] += 1
        bridge_id, namespace = self._bridges[which]
        data = {
            "bridge_id": bridge_id,
            "namespace": namespace,
            "current_fsm_state": self._one_of(_FSM_STATES),
            "total_workflows_processed": self._totals[which],
            "total_items_aggregated": self._totals[which] * 25,
            "last_aggregation_timestamp": self._now,
            "aggregation_metadata": {"batch_size": 25, "window_ms": 5000},
        }
        return PersistBridgeState.model_validate({"operation_id": self._id(), "occurred_at": self._now, "data": data})

    def _heartbeat(self) -> Operation:
        node_id, node_type = self._one_of(self._nodes)
        data = {
            "node_id": node_id,
            "health_status": self._one_of(_HEALTH),
            "node_type": node_type,
            "node_version": "1.4.2",
            "last_heartbeat": self._now,
            "metadata": {"active_operations": self._bits(5), "cpu_percent": self._bits(6)},
        }
        return UpdateNodeHeartbeat.model_validate({"operation_id": self._id(), "occurred_at": self._now, "data": data})

    def _of_workflow(self, kind: type[Operation], workflow_id: UUID, data: dict[str, Any]) -> Operation:
        operation: Operation = kind.__pydantic_validator__.validate_python(  # `model_validate` without its options
            {"operation_id": self._id(), "occurred_at": self._now, "correlation_id": workflow_id, "data": data}
        )
        return operation

    def _one_of(self, things: Sequence[_Thing]) -> _Thing:
        return things[int(self._random() * len(things))]

    def _id(self) -> bytes:
        """An operation id as bytes, of which validation makes a UUID sooner than `UUID` itself does."""
        return (self._id_base | (self._bits(80) & _FREE_BITS_7)).to_bytes(16)

    def _key(self) -> UUID:
        return UUID(int=(self._bits(128) & _FREE_BITS_4) | _MARKS_4)
