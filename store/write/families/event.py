"""event_logs: consumed events, kept once each: those that are only recorded, and those that became operations.

An event that is to be published makes no row here: its id is that of the event in the outbox.
"""

from omninode_bridge.contract.clock import uuid_hex
from omninode_bridge.contract.intent_operation import PublishEventData
from omninode_bridge.contract.operation import EventData, Operation
from store.database.rows import data_json
from store.database.statements import statements_beside
from store.write.family import Family, Fresh, Table, Traced
from store.write.told import Row, Told

statement = statements_beside(__file__)

TABLE = "event_logs"


def _rows_of(fresh: Fresh) -> str | None:
    """The rows of `append_events`: each event under the id of the operation that was made of it."""
    consumed = _consumed(fresh)
    if not consumed:
        return None
    return "[" + ",".join([_row(operation, event) for operation, event in consumed]) + "]"


def _consumed(fresh: Fresh) -> list[tuple[Operation, EventData]]:
    consumed: list[tuple[Operation, EventData]] = []
    for operation in fresh.operations:
        if isinstance(operation.data, EventData):
            consumed.append((operation, operation.data))
        elif isinstance(operation.data, PublishEventData):
            continue  # its id is that of the event in the outbox
        elif operation.event is not None and fresh.limits.log_consumed_events:
            consumed.append((operation, operation.event))
    return consumed


def _row(operation: Operation, event: EventData) -> str:
    trace = f'"correlation_id":"{operation.correlation_id}",' if operation.correlation_id is not None else ""
    return f'{{"operation_id":"{uuid_hex(operation.operation_id)}",{trace}{data_json(event)[1:]}'


# ---- the reference fold: the same rules told a second time, in plain Python and without the SQL's clocks -------------


def _fold(told: Told, operation: Operation) -> None:
    if isinstance(operation.data, EventData):
        tell(told, operation, operation.data)


def tell(told: Told, operation: Operation, event: EventData) -> None:
    """An event makes a row: one that is only recorded, or the one that an operation of any family was made of."""
    envelope_metadata = (event.envelope or {}).get("metadata")
    row: Row = {
        "id": operation.operation_id,
        "event_type": event.event_type,
        "correlation_id": operation.correlation_id,
        "session_id": event.session_id,
        "direction": "in",
        "topic": event.topic,
        "partition_key": event.partition_key,
        "payload": event.payload,
        "envelope": event.envelope,
        "metadata": envelope_metadata if isinstance(envelope_metadata, dict) else {},
    }
    told.append(TABLE, operation, row)


FAMILY = Family(
    name="event",
    types=("record_event", "publish_event"),
    statement=statement("append_events"),
    rows_of=_rows_of,
    fold=_fold,
    tables=(Table(name=TABLE, read=statement("fold_events")),),
    traced=Traced(title="events", read=statement("trace_events"), table=TABLE, any=statement("any_trace_events")),
)
