"""Generic operations as tests send them."""

from typing import Any
from uuid import UUID, uuid4

import psycopg

from omninode_bridge.contract.clock import uuid7
from store.generic.carry_out import carry_out
from store.write.apply import apply
from store.write.batch import Limits

Row = dict[str, Any]

ENTITIES: dict[str, Row] = {
    "workflow_execution": {"workflow_type": "stamping", "current_state": "PENDING", "namespace": "tests"},
    "workflow_step": {"step_name": "validate", "step_order": 1, "status": "COMPLETED"},
    "bridge_state": {"namespace": "tests", "current_fsm_state": "IDLE"},
    "fsm_transition": {"entity_type": "node", "to_state": "IDLE", "transition_event": "started"},
    "metadata_stamp": {"namespace": "tests", "stamp_data": {"v": 1}},
    "node_heartbeat": {"health_status": "HEALTHY"},
}
NAMES = {
    "workflow_execution": "correlation_id",
    "workflow_step": "workflow_id",
    "bridge_state": "bridge_id",
    "fsm_transition": "entity_id",
    "node_heartbeat": "node_id",
}


def entity(entity_type: str, **fields: Any) -> Row:
    """Fields that an insert takes, under an id of its own; a step's workflow has to be named."""
    name = NAMES.get(entity_type)
    return ENTITIES[entity_type] | ({name: str(uuid4())} if name else {}) | fields


class Store:
    """Sends operations on one connection."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn
        self.limits = Limits()

    def ask(self, operation_type: str, entity_type: str | None = None, **request: Any) -> Row:
        """The answer, whatever it is; `operation_id`, `timeout_ms` and `max_bytes` are not part of the request."""
        how = {name: request.pop(name) for name in ("timeout_ms", "max_bytes") if name in request}
        operation_id: UUID = request.pop("operation_id", None) or uuid7()
        whole = {"operation_type": operation_type, "correlation_id": str(uuid4()), **request}
        if entity_type is not None:
            whole["entity_type"] = entity_type
        return carry_out(self.conn, whole, operation_id=operation_id, limits=self.limits, **how)

    def do(self, operation_type: str, entity_type: str, **request: Any) -> Row:
        """The answer of an operation that succeeds."""
        answer = self.ask(operation_type, entity_type, **request)
        assert answer["success"], answer
        assert (answer["error_code"], answer["error_message"]) == (None, None)
        return answer

    def refused(self, operation_type: str, entity_type: str | None = None, **request: Any) -> tuple[str, str]:
        """Code and message of an operation that does not."""
        answer = self.ask(operation_type, entity_type, **request)
        assert not answer["success"], answer
        assert (answer["rows_affected"], answer["result_data"]) == (0, None)
        return answer["error_code"], answer["error_message"]

    def written(self, operation_type: str, entity_type: str, **request: Any) -> Row:
        """The one row of a write, as it is afterwards."""
        (row,) = self.do(operation_type, entity_type, returning=True, **request)["result_data"]["rows"]
        found: Row = row
        return found

    def rows(self, entity_type: str, **filters: Any) -> list[Row]:
        items: list[Row] = self.do("query", entity_type, query_filters=filters)["result_data"]["items"]
        return items

    def apply(self, *operations: Any) -> None:
        assert all(outcome.committed for outcome in apply(self.conn, list(operations)))
