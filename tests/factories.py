"""Valid objects; a test sets only what matters."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg

from omninode_bridge.contract.intent_operation import FsmTransitionIntentData, PersistStateData, PublishEventData
from omninode_bridge.contract.operation import (
    BridgeStateData,
    FsmTransitionData,
    MetadataStampData,
    NodeHeartbeatData,
    Operation,
    WorkflowExecutionData,
    WorkflowStepData,
)
from omninode_bridge.contract.operation_types import operation_of
from store.database.session import PREPARE_THRESHOLD, SESSION_SETTINGS, read_json


def execution(correlation_id: UUID | None = None, *, state: str = "PROCESSING", **fields: Any) -> Operation:
    return _operation(WorkflowExecutionData, fields, correlation_id=correlation_id or uuid4(), current_state=state)


def step(workflow_id: UUID | None = None, **fields: Any) -> Operation:
    data = {"step_name": "validate_input", "step_order": 1, "status": "COMPLETED"}
    return _operation(WorkflowStepData, fields, workflow_id=workflow_id or uuid4(), **data)


def transition(entity_id: UUID | None = None, *, to_state: str = "PROCESSING", **fields: Any) -> Operation:
    data = {"entity_type": "workflow_execution", "transition_event": "workflow_started", "to_state": to_state}
    return _operation(FsmTransitionData, fields, entity_id=entity_id or uuid4(), **data)


def stamp(workflow_id: UUID | None = None, **fields: Any) -> Operation:
    return _operation(MetadataStampData, fields, workflow_id=workflow_id, stamp_data={"v": 1}, namespace="tests")


def bridge_state(bridge_id: UUID | None = None, **fields: Any) -> Operation:
    data = {"namespace": "tests", "current_fsm_state": "IDLE"}
    return _operation(BridgeStateData, fields, bridge_id=bridge_id or uuid4(), **data)


def heartbeat(node_id: str = "node-1", **fields: Any) -> Operation:
    return _operation(NodeHeartbeatData, fields, node_id=node_id, health_status="HEALTHY")


def contribution(
    aggregation_id: UUID | None = None, *, namespaces: dict[str, dict[str, Any]] | None = None, **fields: Any
) -> Operation:
    """By default one workflow, two items and three bytes to the namespace of `bridge_state`."""
    one = {"total_workflows": 1, "total_items": 2, "total_size_bytes": 3}
    data = {"current_fsm_state": "PROCESSING", "namespaces": {"tests": one} if namespaces is None else namespaces}
    return _operation(PersistStateData, fields, aggregation_id=aggregation_id or uuid4(), **data)


def transition_intent(entity_id: UUID | None = None, *, to_state: str = "PROCESSING", **fields: Any) -> Operation:
    data = {"entity_type": "workflow_execution", "transition_event": "workflow_started", "to_state": to_state}
    return _operation(FsmTransitionIntentData, fields, entity_id=entity_id or uuid4(), **data)


def publish_event(event_type: str = "batch_processed", **fields: Any) -> Operation:
    return _operation(PublishEventData, fields, event_type=event_type, payload={"batch_number": 1})


def _operation(kind: Any, fields: dict[str, Any], **data: Any) -> Operation:
    carried = {name: fields.pop(name) for name in ("operation_id", "occurred_at", "digest", "event") if name in fields}
    return operation_of(kind(**data | fields), **carried)


@contextmanager
def store_connection(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection as a worker's pool makes it."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.prepare_threshold = PREPARE_THRESHOLD
        read_json(conn)
        for name, value in SESSION_SETTINGS.items():
            conn.execute("select set_config(%s, %s, false)", (name, value))
        yield conn


def count(conn: psycopg.Connection[Any], table: str) -> int:
    row = conn.execute(psycopg.sql.SQL("select count(*) from {}").format(psycopg.sql.Identifier(table))).fetchone()
    return int(row[0]) if row else 0
