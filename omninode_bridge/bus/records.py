"""Bus records before anyone asks what they mean: their dialect, their event type, their time and their identity.

A record is what the bus delivers: topic, key and a JSON value. `read` tells the dialects apart by shape alone; what the
event then becomes is the business of `omninode_bridge.bus.events`. See docs/events.md.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from omninode_bridge.bus.envelope import DLQ_SUFFIX, FLEET_SERVICE, is_dlq_topic, without_dlq
from omninode_bridge.contract.clock import TIMELESS, derived_uuid7, parse_instant
from omninode_bridge.contract.json_text import exact_json, payload_text
from omninode_bridge.contract.operation_types import BLOCKS
from omninode_bridge.contract.wire import content_digest

MAX_WRAPS = 3  # a record that failed, and failed again as a dead letter, is still worth reading

_VERSION = re.compile(r"\.v[0-9]+\Z", re.IGNORECASE)
_BLOCK_NAMES = frozenset(BLOCKS)
_OWN_TIMES = (
    "completed_at",
    "started_at",
    "created_at",
    "last_aggregation_timestamp",
    "last_heartbeat",
    "transition_at",
)  # where an event without `timestamp` says when it happened; in this order
_SUCCESSOR_MESSAGE = frozenset({"key", "value", "offset", "partition"})


class Malformed(Exception):
    """A record that cannot become an operation; the message starts with the field's name."""


class Message(NamedTuple):
    """One delivery. `timestamp` is the bus's own: milliseconds since 1970, or ISO text."""

    topic: str
    key: str | None
    value: object
    timestamp: object = None


class Record(NamedTuple):
    """A message whose dialect is known.

    value  the JSON object as it was published
    body   the event's own fields: the envelope's `payload`, `event_data`, or the value itself
    block  the name of its `*_data` block, if it has one; what the fleet itself emitted has none
    data   that block's fields, else the body
    """

    message: Message
    value: dict[str, Any]
    is_envelope: bool
    event_type: str
    body: dict[str, Any]
    block: str | None
    data: dict[str, Any]

    @property
    def is_of_the_fleet(self) -> bool:
        return self.is_envelope and self.value.get("source_service") == FLEET_SERVICE

    @property
    def envelope_metadata(self) -> dict[str, Any]:
        metadata = self.value.get("metadata") if self.is_envelope else None
        return metadata if isinstance(metadata, dict) else {}

    @property
    def session_id(self) -> UUID | None:
        """The session, as the event or its envelope tells it; what is no UUID is none."""
        for place in (self.data, self.body, self.envelope_metadata):
            found = as_uuid(place.get("session_id"))
            if found is not None:
                return found
        return None

    @property
    def workflow_id(self) -> Any:
        """The workflow's correlation id, as the event's own fields or what stands around them give it."""
        body, value = self.body, self.value
        return first(
            body.get("workflow_id"), body.get("correlation_id"), value.get("workflow_id"), value.get("correlation_id")
        )

    @property
    def trace_id(self) -> UUID | None:
        """The first id for tracing that is a UUID; what is none costs the event nothing."""
        told = as_uuid(self.value.get("correlation_id"))
        if told is not None:
            return told
        for source, name in (
            (self.body, "correlation_id"),
            (self.data, "correlation_id"),
            (self.data, "workflow_id"),
            (self.body, "workflow_id"),
            (self.value, "workflow_id"),
        ):
            found = as_uuid(source.get(name))
            if found is not None:
                return found
        return None


def first(*values: Any) -> Any:
    """The first value that was given."""
    for value in values:
        if value is not None:
            return value
    return None


def as_uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def unwrapped(message: Message) -> Message:
    """The message that a dead-letter record holds; any other message as it is.

    Raises Malformed where a wrap lies in a wrap more than `MAX_WRAPS` deep, or names no text as its topic.
    """
    for _ in range(MAX_WRAPS):
        value = message.value
        if not (isinstance(value, dict) and _is_wrap(message.topic, value)):
            return message
        message = _unwrap(message, value)
    value = message.value
    if isinstance(value, dict) and _is_wrap(message.topic, value):
        raise Malformed(f"original_message: wrapped more than {MAX_WRAPS} times")
    return message


def _is_wrap(topic: str, value: dict[str, Any]) -> bool:
    if "original_topic" not in value or not is_dlq_topic(topic):
        return False
    return "original_message" in value or "original_data" in value


def _unwrap(message: Message, wrap: dict[str, Any]) -> Message:
    topic = first(wrap["original_topic"], message.topic[: -len(DLQ_SUFFIX)])
    if not isinstance(topic, str):
        raise Malformed("original_topic: not text")
    key: Any = first(wrap.get("original_key"), message.key)
    inner = wrap["original_message"] if "original_message" in wrap else wrap["original_data"]
    if isinstance(inner, dict) and "value" in inner and _SUCCESSOR_MESSAGE.issuperset(inner):
        key, inner = first(inner.get("key"), key), inner["value"]
    if isinstance(inner, str):
        inner = parsed(inner)
    return Message(topic, key, inner, first(wrap.get("original_timestamp"), message.timestamp))


def parsed(text: str) -> object:
    """The JSON in a text, or the text where there is none."""
    try:
        return exact_json(text)
    except ValueError:
        return text


def read(message: Message) -> Record:
    """Tell the dialect.   Raises Malformed for what has none."""
    value = message.value
    if not isinstance(value, dict):
        raise Malformed("value: not JSON" if isinstance(value, str) else "value: not a JSON object")
    payload, event_data = _object(value, "payload"), _object(value, "event_data")
    is_envelope = is_envelope_shape(value)
    body = value
    if is_envelope and payload is not None:
        body = payload
    elif event_data is not None:
        body = event_data
    record = Record(message, value, is_envelope, event_type_of(message), body, None, body)
    if record.is_of_the_fleet or not _may_have_block(value, body):
        return record
    block, data = _block(value, body)
    return record if data is None else record._replace(block=block, data=data)


def is_envelope_shape(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("payload"), dict) and (
        value.get("event_id") is not None
        or value.get("envelope_version") is not None
        or (value.get("event_type") is not None and value.get("source_node_id") is not None)
    )


def _object(value: dict[str, Any], name: str) -> dict[str, Any] | None:
    found = value.get(name)
    if found is not None and not isinstance(found, dict):
        raise Malformed(f"{name}: not an object")
    return found


def _may_have_block(value: dict[str, Any], body: dict[str, Any]) -> bool:
    return not (_BLOCK_NAMES.isdisjoint(value) and _BLOCK_NAMES.isdisjoint(body))


def _block(value: dict[str, Any], body: dict[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    """The one `*_data` block and its name, wherever it stands."""
    places = (value,) if body is value else (value, body)
    found = [(place, name) for place in places for name in BLOCKS if place.get(name) is not None]
    if not found:
        return None, None
    if len(found) > 1:
        raise Malformed(f"{', '.join(name for _, name in found)}: more than one block of data")
    place, name = found[0]
    return name, _object(place, name)


def event_type_of(message: Message) -> str:
    """What the event calls itself, else what its topic calls it; lower case, underscores."""
    if isinstance(message.value, dict):
        named = message.value.get("event_type")
        if isinstance(named, str):
            folded = _folded(named)
            if folded:
                return folded
    return _event_type_of_topic(message.topic)


@lru_cache(maxsize=256)
def _event_type_of_topic(topic: str) -> str:
    slug = _VERSION.sub("", without_dlq(topic.strip()))
    return _folded(slug.rpartition(".")[2])


def _folded(event_type: str) -> str:
    return event_type.strip().lower().replace("-", "_")


def occurred_at(record: Record) -> datetime | None:
    """When the event happened, None where nothing says so.

    Raises Malformed, with the field's name, when the first time given is none.
    """
    name, given = _first_time(record)
    if given is None:
        return None
    try:
        if type(given) is int and name == "record timestamp":
            return TIMELESS + timedelta(milliseconds=given)
        return parse_instant(given)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"{name.removeprefix('record ')}: {error}") from None


def _first_time(record: Record) -> tuple[str, Any]:
    value, body, data = record.value, record.body, record.data
    if (data is body or body is not value) and body.get("timestamp") is not None:
        return "timestamp", body["timestamp"]
    for name in _OWN_TIMES:
        if data.get(name) is not None:
            return name, data[name]
    for source, name in ((data, "timestamp"), (value, "event_timestamp"), (value, "timestamp")):
        if source.get(name) is not None:
            return name, source[name]
    stamped = record.message.timestamp
    if type(stamped) is int and stamped < 0:  # how Kafka says that a record has none
        stamped = None
    return "record timestamp", stamped


def operation_id_of(message: Message, at: datetime) -> UUID:
    """The id that every delivery of this message gets, whatever its topic."""
    value = message.value
    if isinstance(value, str):
        return derived_uuid7(at, value.encode(errors="surrogatepass"))
    if isinstance(value, dict):
        event_id = value.get("event_id")
        if isinstance(event_id, str) and event_id:
            return derived_uuid7(at, event_id.encode(errors="surrogatepass"))
    return derived_uuid7(at, event_type_of(message).encode(errors="surrogatepass") + b"\n" + _canonical(value))


def digest_of(message: Message) -> str:
    """32 hex digits of the content as sent; of an envelope only of what stays when its producer publishes it anew."""
    content = message.value
    if isinstance(content, dict) and is_envelope_shape(content):
        payload = {name: item for name, item in content["payload"].items() if name != "published_at"}
        content = [content.get("event_type"), payload]
    try:
        return content_digest(content)
    except RecursionError:
        return hashlib.sha256(payload_text(content).encode()).hexdigest()[:32]


def _canonical(value: object) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError):
        return payload_text(value).encode()
