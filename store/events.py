"""event_logs: consumed events, kept once each."""

from collections.abc import Sequence
from typing import Any

from psycopg import Cursor

from omninode_bridge.operation import EventData, Operation
from store.rows import data_json
from store.statements import statement


def append(cursor: Cursor[Any], consumed: Sequence[tuple[Operation, EventData]]) -> None:
    """Keep the event that each operation was made of, under the operation's id."""
    if consumed:
        listed = ",".join([_row(operation, event) for operation, event in consumed])
        cursor.execute(statement("append_events"), {"rows": f"[{listed}]"})


def _row(operation: Operation, event: EventData) -> str:
    trace = f'"correlation_id":"{operation.correlation_id}",' if operation.correlation_id is not None else ""
    return f'{{"operation_id":"{operation.operation_id}",{trace}{data_json(event)[1:]}'
