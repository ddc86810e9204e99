"""event_logs: consumed events, kept once each."""

from collections.abc import Sequence

from omninode_bridge.contract.clock import uuid_hex
from omninode_bridge.contract.operation import EventData, Operation
from store.database.rows import data_json


def rows_of(consumed: Sequence[tuple[Operation, EventData]]) -> str | None:
    """The rows of `append_events`: each event under the id of the operation that was made of it."""
    if not consumed:
        return None
    return "[" + ",".join([_row(operation, event) for operation, event in consumed]) + "]"


def _row(operation: Operation, event: EventData) -> str:
    trace = f'"correlation_id":"{operation.correlation_id}",' if operation.correlation_id is not None else ""
    return f'{{"operation_id":"{uuid_hex(operation.operation_id)}",{trace}{data_json(event)[1:]}'
