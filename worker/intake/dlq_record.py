"""The record that stands on `<topic>.dlq` for one that the fleet refused, in the shape of the database adapter."""

from datetime import datetime
from uuid import UUID

import orjson

from omninode_bridge.bus.envelope import DLQ_SUFFIX, is_dlq_topic
from omninode_bridge.contract.outcome import Outcome
from worker.bus import BusMessage, BusRecord
from worker.intake.bus_values import text_of


def is_dead_letter(record: BusRecord) -> bool:
    """Whether it was read from a dead-letter topic: it stays there, and gets no dead letter of its own."""
    return is_dlq_topic(record.topic)


def dead_letter(record: BusRecord, outcome: Outcome, *, correlation_id: UUID | None, at: datetime) -> BusMessage:
    """What is published for a refused record. Read again, it gives the operation id that the record gave."""
    raw = record.value or b""
    error_context = {
        "correlation_id": None if correlation_id is None else str(correlation_id),
        "operation_type": "event_routing",
        "retry_count": 0,
    }
    letter = {
        "original_message": _original(raw),
        "original_topic": record.topic,
        "original_partition": record.partition,
        "original_offset": record.offset,
        "original_timestamp": record.timestamp_ms,
        "error_type": outcome.code,
        "error_message": outcome.message,
        "error_context": error_context,
        "failed_at": at.isoformat(),
        "retry_count": 0,
    }
    return BusMessage(record.topic + DLQ_SUFFIX, record.key or "", orjson.dumps(letter))


def _original(raw: bytes) -> object:
    """The value: an object as it stands, anything else as its text, which whoever reads a dead letter parses.

    As text goes, too, an object that could be taken for a message around a value.
    """
    try:
        value = orjson.loads(raw)
    except ValueError:
        return text_of(raw)
    return orjson.Fragment(raw) if isinstance(value, dict) and "value" not in value else text_of(raw)
