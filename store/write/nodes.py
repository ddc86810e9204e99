"""node_registrations: what each node last said of itself, field by field."""

from collections.abc import Sequence
from typing import Any

from omninode_bridge.contract.clock import clock
from omninode_bridge.contract.operation import NodeHeartbeatData, Operation
from store.database.rows import rows

_REPORTED = ("node_type", "node_version", "metadata", "capabilities", "endpoints", "endpoint_url", "namespace")


def rows_of(operations: Sequence[Operation]) -> str | None:
    """The rows of `merge_nodes`: what each node said last, field by field."""
    folded: dict[str, dict[str, Any]] = {}
    for operation in operations:
        data = operation.data
        assert isinstance(data, NodeHeartbeatData)
        row = folded.setdefault(data.node_id, {"node_id": data.node_id, "clocks": {}})
        _tell(row, operation, data)
    return rows(folded.values()) if folded else None


def _tell(row: dict[str, Any], operation: Operation, data: NodeHeartbeatData) -> None:
    clocks: dict[str, str] = row["clocks"]
    said = clock(operation.occurred_at, operation.operation_id)
    if said > clocks.get("health_status", ""):
        clocks["health_status"] = said
        row["health_status"] = data.health_status
        row["last_heartbeat"] = data.last_heartbeat or operation.occurred_at
    for name in _REPORTED:
        value = getattr(data, name)
        if value is not None and said > clocks.get(name, ""):
            clocks[name] = said
            row[name] = value
