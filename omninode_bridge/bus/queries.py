"""Queries that come over the bus: the operation that answers one, and where its asker looks for the answer.

A query that is refused is answered as well, so its refusal says what it was. docs/events.md, "Queries over the bus".
"""

from typing import Any

from omninode_bridge.bus.events import map_record
from omninode_bridge.bus.records import Malformed, Message, event_type_of, first, unwrapped
from omninode_bridge.contract.operation import EventData, Operation
from omninode_bridge.contract.operation_types import operation_of
from omninode_bridge.contract.query_operation import AnswerQueryData
from omninode_bridge.contract.refusal import Refusal

QUERY_REQUESTED = "query_requested"
_KEY_CHARS = 255  # what the outbox takes as a key


def consumed_item(
    topic: str, key: str | None, value: object, *, timestamp: int | str | None = None
) -> Operation | Refusal:
    """What a record of the bus is submitted as: as `map_record` says, but a query so that the fleet answers it."""
    item = map_record(topic, key, value, timestamp=timestamp)
    if isinstance(item, Refusal):
        may_ask = item.refused_type in (None, EventData.OPERATION_TYPE) and _asks(Message(topic, key, value))
        return item.model_copy(update={"refused_type": AnswerQueryData.OPERATION_TYPE}) if may_ask else item
    if isinstance(item.data, EventData) and item.data.event_type == QUERY_REQUESTED:
        return _query(item, item.data)
    return item


def told_asker(query: Operation) -> str | None:
    """By what its asker knows the answer: the query's correlation id, be it a UUID or not, else its record's key."""
    event = query.event
    if query.correlation_id is not None or event is None:
        return None if query.correlation_id is None else str(query.correlation_id)
    inner = event.payload.get("event_data")
    places: tuple[Any, ...] = (event.envelope, event.payload, inner)
    told = first(*(place.get("correlation_id") for place in places if isinstance(place, dict)))
    return told if isinstance(told, str) and 0 < len(told.strip()) <= len(told) <= _KEY_CHARS else event.partition_key


def _asks(message: Message) -> bool:
    try:
        return event_type_of(unwrapped(message)) == QUERY_REQUESTED
    except Malformed:
        return False


def _query(operation: Operation, event: EventData) -> Operation:
    inner = event.payload.get("event_data")
    return operation_of(
        AnswerQueryData(query=inner if isinstance(inner, dict) else event.payload),
        operation_id=operation.operation_id,
        correlation_id=operation.correlation_id,
        occurred_at=operation.occurred_at,
        digest=operation.digest,
        event=event,
    )
