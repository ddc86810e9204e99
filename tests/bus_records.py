"""Bus records for tests: valid ones, of which a test sets what matters to it, and what becomes of them."""

from typing import Any

from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.refusal import Refusal

WORKFLOW = "0f4e1a52-7f7c-4c39-8c3c-000000000001"
OTHER = "0f4e1a52-7f7c-4c39-8c3c-000000000002"
SESSION = "0f4e1a52-7f7c-4c39-8c3c-000000000003"
AT, LATER = "2026-11-20T10:00:00+00:00", "2026-11-20T10:00:05+00:00"
TOPIC = "dev.omninode_bridge.onex.evt.thing.v1"


def envelope(event_type: str, payload: dict[str, Any], /, **fields: Any) -> dict[str, Any]:
    event = {"event_id": "event-1", "event_type": event_type, "event_timestamp": LATER, "source_node_id": "node-1"}
    metadata = {"namespace": "from.envelope", "session_id": SESSION}
    return {"envelope_version": "1.0", **event, "payload": payload, "metadata": metadata, **fields}


def mapped(value: object, topic: str = TOPIC, key: str | None = "k") -> Operation:
    item = map_record(topic, key, value)
    assert isinstance(item, Operation), item
    return item


def refused(value: object, topic: str = TOPIC, key: str | None = "k") -> Refusal:
    item = map_record(topic, key, value)
    assert isinstance(item, Refusal), item
    return item


def step(**fields: Any) -> dict[str, Any]:
    data = {"workflow_id": WORKFLOW, "step_name": "s", "step_order": 1, "status": "COMPLETED", "created_at": AT}
    return {"correlation_id": OTHER, "workflow_step_data": {**data, **fields}}
