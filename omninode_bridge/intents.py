"""From an intent to an operation: what a reducer asks the store effect to do, in every shape that reducers use.

An intent becomes the operation of its type or a refusal; never an exception. Its payload is copied at once, so the
caller's lists may change later. The same intent gets the same operation id, however often it is asked for. See
docs/intents.md.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from omninode_bridge.clock import TIMELESS, derived_uuid7, is_uuid7, now, parse_instant, uuid7, uuid7_millis
from omninode_bridge.enums import EnumCoreErrorCode, EnumIntentType
from omninode_bridge.errors import OnexError, quoted
from omninode_bridge.intent_payloads import MEANINGS, Fields, instant
from omninode_bridge.jsontext import payload_text
from omninode_bridge.operation import Operation, operation_of
from omninode_bridge.plain import plain
from omninode_bridge.records import Malformed, as_uuid
from omninode_bridge.refusal import Refusal
from omninode_bridge.values import MAX_OPERATION_BYTES
from omninode_bridge.wire import Item, encode, error_text

OPERATION_TYPE_OF = {
    EnumIntentType.PUBLISH_EVENT: "publish_event",
    EnumIntentType.PERSIST_STATE: "persist_state",
    EnumIntentType.PERSIST_FSM_TRANSITION: "persist_fsm_transition_intent",
    EnumIntentType.RECOVER_FSM_STATES: "recover_fsm_states",
}

_TYPE_OF_NAME = {kind.lower(): kind for kind in EnumIntentType}
_NO_LETTER = re.compile("[^a-z]")
_SUBJECTS = ("aggregation_id", "workflow_id", "correlation_id", "bridge_id", "node_id")  # what an intent is about
_TRACES = ("correlation_id", "aggregation_id", "workflow_id")
_HISTORY = "transition_history"  # a live list of all that came before: neither kept nor part of the identity
# An operation can be larger than its intent, where there are thousands of namespaces; but not so many times.
_SURELY_SMALL_BYTES = MAX_OPERATION_BYTES // 16


def _named(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


class ModelIntent(BaseModel):
    """What a reducer asks for. Plain dicts and any object with these attributes are taken as well.

    intent_type  a value of `EnumIntentType`, in any case and with or without underscores
    target       the platform's routing; not looked at
    priority     higher first
    intent_id    a UUIDv7 under which it counts once; derived from type, payload and timestamp when not given
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    intent_type: Annotated[str, BeforeValidator(_named)]
    target: str = ""
    payload: dict[str, Any] = Field(default_factory=dict)
    priority: Annotated[int, Field(strict=True, ge=0)] = 0
    intent_id: UUID | None = None


def intent_item(intent: object) -> Item:
    """The operation that an intent asks for, or its refusal. Never raises for what an intent may hold."""
    given = _read(intent)
    try:
        return _item(given)
    except ValidationError as error:
        problem = error_text(error).removeprefix("operation: ")
    except OnexError as error:
        problem = error.message
    except Malformed as error:
        problem = str(error)
    return _refusal(given, problem)


def intent_type_of(intent: object) -> EnumIntentType | None:
    """The type of an intent, however it is written; None for an unknown one."""
    return _type_named(_read(intent).intent_type)


def intent_type_text(intent: object) -> str:
    """The type of an intent as `EnumIntentType` writes it; an unknown one as it was given."""
    named = _named(_read(intent).intent_type)
    return str(_type_named(named) or (named if isinstance(named, str) else ""))


def event_type_text(intent: object) -> str:
    """The event type of a PublishEvent intent, as it was given."""
    payload = _read(intent).payload
    named = _named(payload.get("event_type")) if isinstance(payload, Mapping) else None
    return named if isinstance(named, str) else ""


def priority_of(intent: object) -> int:
    """The priority of an intent; 0 where it is none."""
    priority = _read(intent).priority
    return priority if _is_priority(priority) else 0


# ---- reading ------------------------------------------------------------------------------------------------------


class _Given(NamedTuple):
    """The fields of an intent, none of them checked."""

    intent_type: Any
    target: Any
    payload: Any
    priority: Any
    intent_id: Any


def _read(intent: object) -> _Given:
    if isinstance(intent, Mapping):
        given = _Given(*(intent.get(name) for name in _Given._fields))
    else:
        given = _Given(*(getattr(intent, name, None) for name in _Given._fields))
    return given._replace(payload=given.payload.model_dump()) if isinstance(given.payload, BaseModel) else given


def _type_named(value: object) -> EnumIntentType | None:
    named = _named(value)
    return _TYPE_OF_NAME.get(_NO_LETTER.sub("", named.lower())) if isinstance(named, str) else None


def _is_priority(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _copied(payload: object) -> Fields:
    """The payload as JSON values, without the history. Raises Malformed, with the path inside it, for what has no
    such form."""
    if payload is None:
        return {}
    if not isinstance(payload, Mapping):
        raise Malformed("payload: not an object")
    try:
        copied: Fields = plain({name: value for name, value in payload.items() if name != _HISTORY}, "payload")
    except ValueError as error:
        raise Malformed(str(error)) from None
    return copied


# ---- identity -----------------------------------------------------------------------------------------------------


def _identity(kind: EnumIntentType, payload: Fields) -> bytes:
    """What tells this intent from another: its type, and its payload with every instant written in one form."""
    return orjson.dumps([kind, _one_form(payload)], option=orjson.OPT_SORT_KEYS)


def _one_form(value: Any) -> Any:
    if isinstance(value, str):
        return _one_instant(value) if 16 <= len(value) <= 40 and value[4] == "-" and value[10] in "T " else value
    if isinstance(value, dict):
        return {name: _one_form(item) for name, item in value.items()}
    return [_one_form(item) for item in value] if isinstance(value, list) else value


def _one_instant(text: str) -> str:
    try:
        return parse_instant(text).isoformat(timespec="microseconds")
    except ValueError:
        return text


def _given_id(value: object) -> UUID | None:
    """The id that an intent names.   Raises Malformed for one that cannot be an operation's."""
    if value is None:
        return None
    id_ = value if isinstance(value, UUID) else as_uuid(value)
    if id_ is None:
        raise Malformed(f"intent_id: {quoted(value)} is not a UUID")
    if not is_uuid7(id_):
        raise Malformed("intent_id: not a UUID of version 7")
    return id_


def _time_of(id_: UUID) -> datetime:
    try:
        return TIMELESS + timedelta(milliseconds=uuid7_millis(id_))
    except OverflowError:
        raise Malformed("intent_id: its time lies outside the years 1 to 9999") from None


def _check_derivable(payload: Fields, at: datetime | None) -> None:
    if at is None:
        raise Malformed("intent_id: missing, and without a timestamp it cannot be derived")
    data = payload.get("data")
    places = (payload, data) if isinstance(data, dict) else (payload,)
    if not any(place.get(name) for place in places for name in _SUBJECTS):
        raise Malformed(f"intent_id: missing, and without one of {', '.join(_SUBJECTS)} it cannot be derived")


# ---- what an intent becomes ---------------------------------------------------------------------------------------


def _item(given: _Given) -> Operation:
    kind = _type_named(given.intent_type)
    if kind is None:
        raise Malformed(f"intent_type: {quoted(given.intent_type)} is none of {', '.join(EnumIntentType)}")
    if given.priority is not None and not _is_priority(given.priority):
        raise Malformed("priority: not an integer of at least 0")
    payload = _copied(given.payload)
    data, at = MEANINGS[kind](payload)
    identity = _identity(kind, payload)
    id_ = _given_id(given.intent_id)
    if id_ is not None:
        at = at or _time_of(id_)
    elif kind is EnumIntentType.RECOVER_FSM_STATES:  # a question changes nothing: it may be asked under any id
        id_, at = uuid7(), at or now()
    else:
        _check_derivable(payload, at)
        id_ = derived_uuid7(at or TIMELESS, identity)
    operation = operation_of(
        data,
        operation_id=id_,
        correlation_id=_trace(payload),
        occurred_at=at or TIMELESS,
        digest=hashlib.sha256(identity).hexdigest()[:32],
    )
    if len(identity) > _SURELY_SMALL_BYTES:
        encode(operation)
    return operation


def _trace(payload: Mapping[str, Any]) -> UUID | None:
    """The first id for tracing that is a UUID; what is none costs the intent nothing."""
    data = payload.get("data")
    places = (payload, data) if isinstance(data, Mapping) else (payload,)
    for name in _TRACES:
        for place in places:
            value = place.get(name)
            found = value if isinstance(value, UUID) else as_uuid(value)
            if found is not None:
                return found
    return None


# ---- refusals -----------------------------------------------------------------------------------------------------


def _refusal(given: _Given, problem: str) -> Refusal:
    """What an intent that cannot be carried out is kept as: under its own id, else under one of its content."""
    kind = _type_named(given.intent_type)
    text = _intent_text(given)
    return Refusal(
        operation_id=_good_id(given.intent_id) or derived_uuid7(_time_told(given.payload), text.encode()),
        refused_type=OPERATION_TYPE_OF.get(kind) if kind is not None else None,
        correlation_id=_trace(given.payload) if isinstance(given.payload, Mapping) else None,
        digest=hashlib.sha256(text.encode()).hexdigest()[:32],
        code=EnumCoreErrorCode.VALIDATION_ERROR,
        message=problem,
        payload=text,
        form="operation",
    )


def _intent_text(given: _Given) -> str:
    payload = given.payload
    if isinstance(payload, Mapping):
        payload = {name: item for name, item in payload.items() if name != _HISTORY}
    fields = given._replace(intent_type=_named(given.intent_type), payload=payload)._asdict()
    return payload_text({name: value for name, value in fields.items() if value is not None})


def _good_id(value: object) -> UUID | None:
    try:
        return _given_id(value)
    except Malformed:
        return None


def _time_told(payload: object) -> datetime:
    try:
        return (instant(dict(payload), "") if isinstance(payload, Mapping) else None) or TIMELESS
    except Malformed:
        return TIMELESS
