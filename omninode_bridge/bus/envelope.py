"""OnexEnvelopeV1: how events travel on the bus, and under which topic and key."""

import logging
import re
from typing import Annotated, Any
from uuid import UUID, uuid4

import orjson
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from omninode_bridge.contract.clock import now, sibling_uuid7
from omninode_bridge.contract.errors import invalid, quoted
from omninode_bridge.contract.values import MAX_TOPIC_CHARS, Instant

log = logging.getLogger(__name__)

FLEET_SERVICE = "omninode-bridge-fleet"  # source_service of what the fleet itself emits; never turned into operations
DLQ_SUFFIX = ".dlq"

_TOPIC = re.compile(r"[A-Za-z0-9._-]+")
_JSON = orjson.OPT_NON_STR_KEYS


def _version(value: object) -> object:
    """A guide of the platform writes "v1" where its class writes "1.0"."""
    if value == "v1":
        return "1.0"
    if value != "1.0":
        raise ValueError("not an envelope of version 1.0")
    return value


def _correlation_id(value: object) -> object:
    """What is no UUID becomes none: tracing is not worth losing an event."""
    if value is None or isinstance(value, UUID):
        return value
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        log.warning("correlation_id %s is not a UUID: left out", quoted(value))
        return None


class ModelOnexEnvelopeV1(BaseModel):
    """An event and what is said about it, all sixteen fields.

    Reading ignores unknown fields and takes `timestamp` for `event_timestamp` and "v1" for "1.0"; writing gives all.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    envelope_version: Annotated[str, BeforeValidator(_version)] = "1.0"
    event_id: str = Field(default_factory=lambda: str(uuid4()), min_length=1)
    event_type: str = Field(min_length=1)
    event_version: str = "1.0"
    event_timestamp: Instant = Field(default_factory=now, validation_alias=AliasChoices("event_timestamp", "timestamp"))
    source_node_id: str
    source_service: str | None = "omninode-bridge"
    source_version: str | None = "1.0.0"
    source_instance: str | None = None
    correlation_id: Annotated[UUID | None, BeforeValidator(_correlation_id)] = None
    causation_id: str | None = None
    environment: str = "development"
    region: str | None = None
    partition_key: str | None = None
    payload: dict[str, Any]
    metadata: dict[str, Any] = Field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """UTF-8 JSON of all fields, nulls written out; values that JSON does not know are written as their text.

        Raises OnexError VALIDATION_ERROR for text with a lone surrogate and for integers beyond 64 bits.
        """
        try:
            return orjson.dumps(self.as_dict(), default=str, option=_JSON)
        except (TypeError, RecursionError) as error:
            raise invalid(f"payload: {error}", event_type=self.event_type) from error

    def as_dict(self) -> dict[str, Any]:
        """The fields in their order; ids and instants as they travel, the payload as it is."""
        fields = dict(self)
        fields["event_timestamp"] = self.event_timestamp.isoformat()
        fields["correlation_id"] = None if self.correlation_id is None else str(self.correlation_id)
        return fields

    def message_key(self) -> str:
        """What the bus partitions by: events with the same key keep their order."""
        trace = "" if self.correlation_id is None else str(self.correlation_id)
        return self.partition_key or trace or self.source_node_id or self.event_id


def announcement_id(operation_id: UUID) -> UUID:
    """The event id under which the fleet announces an operation that is not an event itself."""
    return sibling_uuid7(operation_id, f"{operation_id}:announcement".encode())


def topic_name(env: str, slug: str) -> str:
    """Where an event is published; `slug` is its type, with dashes or underscores.

    Raises OnexError VALIDATION_ERROR for what cannot be a topic.
    """
    return checked_topic(f"{env}.omninode_bridge.onex.evt.{slug.lower().replace('_', '-')}.v1")


def reducer_topic_name(event_type: str) -> str:
    """Where a reducer's event is published.   Raises as `topic_name`."""
    return checked_topic(f"omninode_bridge.reducer.events.{event_type.lower().replace('-', '_')}")


def is_dlq_topic(topic: str) -> bool:
    """Whether dead letters stand there; others than the fleet may write the suffix in capitals."""
    return topic[-len(DLQ_SUFFIX) :].lower() == DLQ_SUFFIX


def without_dlq(topic: str) -> str:
    """The topic whose dead letters, or theirs, stand on this one; any other topic as it is."""
    end = len(topic)
    while topic[max(0, end - len(DLQ_SUFFIX)) : end].lower() == DLQ_SUFFIX:
        end -= len(DLQ_SUFFIX)
    return topic[:end]


def checked_topic(topic: str) -> str:
    """The topic, if a bus takes such a name.   Raises OnexError VALIDATION_ERROR otherwise."""
    if not 1 <= len(topic) <= MAX_TOPIC_CHARS or topic in (".", "..") or not _TOPIC.fullmatch(topic):
        raise invalid(
            f"topic: {quoted(topic)} is not 1 to {MAX_TOPIC_CHARS} letters, digits, dots, dashes and underscores"
        )
    return topic
