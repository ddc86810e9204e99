"""What a record of the bus is to the fleet: its value, and whether the fleet said it itself."""

from omninode_bridge.bus.envelope import FLEET_SERVICE, without_dlq
from omninode_bridge.bus.records import Malformed, Message, is_envelope_shape, parsed, unwrapped

REPLY_ENDS = ("database.query-completed.v1", "database.query-failed.v1")  # where the fleet answers queries


def value_of(raw: bytes) -> object:
    """The JSON in a record's bytes, or their text where they hold none: what a line of `fleet ingest` would say."""
    return parsed(text_of(raw))


def text_of(raw: bytes) -> str:
    """UTF-8 text; bytes that are none are written as \\xNN, so that the same bytes are always the same text."""
    return raw.decode(errors="backslashreplace")


def is_own(topic: str, key: str | None, value: object) -> bool:
    """Whether the fleet published it: an event out of its outbox, or its answer to a query; as a dead letter too."""
    try:
        message = unwrapped(Message(topic, key, value))
    except Malformed:
        return False
    if without_dlq(message.topic).endswith(REPLY_ENDS):
        return True
    inner = message.value
    return isinstance(inner, dict) and inner.get("source_service") == FLEET_SERVICE and is_envelope_shape(inner)
