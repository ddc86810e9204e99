"""From an intent to an operation: what a reducer asks the store effect to do, in every shape that reducers use.

An intent becomes the operation of its type or a refusal; never an exception. Its payload is copied at once, so the
caller's lists may change later. The same intent gets the same operation id, however often it is asked for, and however
it is written. See docs/intents.md.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from omninode_bridge.bus.records import Malformed, as_uuid
from omninode_bridge.contract.clock import TIMELESS, derived_uuid7, is_uuid7, now, parse_instant, uuid7, uuid7_millis
from omninode_bridge.contract.enums import EnumCoreErrorCode, EnumIntentType
from omninode_bridge.contract.errors import OnexError, quoted
from omninode_bridge.contract.json_text import payload_text
from omninode_bridge.contract.json_values import plain
from omninode_bridge.contract.names import repeatable
from omninode_bridge.contract.operation import Data, Operation
from omninode_bridge.contract.operation_types import operation_of
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.values import MAX_OPERATION_BYTES
from omninode_bridge.contract.wire import Item, encode, error_text
from omninode_bridge.intents.payloads import MEANINGS, Fields, instant

OPERATION_TYPE_OF = {
    EnumIntentType.PUBLISH_EVENT: "publish_event",
    EnumIntentType.PERSIST_STATE: "persist_state",
    EnumIntentType.PERSIST_FSM_TRANSITION: "persist_fsm_transition_intent",
    EnumIntentType.RECOVER_FSM_STATES: "recover_fsm_states",
}

INTENT = "intent"  # the `refused_type` of what came as an intent, and is of no type that there is

_TYPE_OF_NAME = {kind.lower(): kind for kind in EnumIntentType}
_BETWEEN_WORDS = re.compile(r"[\s_-]")
_TYPE_COMES_FIRST = re.compile(r'\{"intent_type": ?(?=")')  # so `_Given` has it, and an intent's text
_UNREADABLE = "<cannot be read>"  # stands for a field whose owner's code failed: no field may have such a value
_SUBJECTS = ("aggregation_id", "workflow_id", "correlation_id", "bridge_id", "node_id")  # what an intent is about
_TRACES = ("correlation_id", "aggregation_id", "workflow_id")
_HISTORY = "transition_history"  # a live list of all that came before: neither kept nor part of the identity
# An operation can be larger than its intent, where there are thousands of namespaces; but not so many times.
_SURELY_SMALL_BYTES = MAX_OPERATION_BYTES // 16


def _named(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


class ModelIntent(BaseModel):
    """What a reducer asks for. Plain dicts and any object with these attributes are taken as well.

    intent_type  a value of `EnumIntentType`, in any case, with or without underscores, dashes and white space
    target       the platform's routing; not looked at
    priority     higher first
    intent_id    a UUIDv7 under which it counts once; derived from what the intent means when not given
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    intent_type: Annotated[str, BeforeValidator(_named)]
    target: str = ""
    payload: dict[str, Any] = Field(default_factory=dict)
    priority: Annotated[int, Field(strict=True, ge=0)] = 0
    intent_id: UUID | None = None


def intent_item(intent: object) -> Item:
    """The operation that an intent asks for, or its refusal. Never raises, whatever the intent is and holds."""
    try:
        return _item(_read(intent))
    except ValidationError as error:
        problem = error_text(error).removeprefix("operation: ")
    except OnexError as error:
        problem = error.message
    except Malformed as error:
        problem = str(error)
    except Exception as error:  # somebody's object, whose own code failed
        problem = f"intent: {type(error).__name__} while it was read"
    return refused_intent(intent, problem)


def refused_intent(intent: object, problem: str) -> Refusal:
    """What an intent that is not carried out is kept as: under its own id, else under one of its content."""
    given = _read(intent)
    kind = own_id = trace = None
    text, at = payload_text(_UNREADABLE), TIMELESS
    with suppress(Exception):  # as in `intent_item`
        kind = _type_named(given.intent_type)
        own_id = _good_id(given.intent_id)
        text, trace, at = _intent_text(intent, given), _trace_told(given.payload), _time_told(given.payload)
    return Refusal(
        operation_id=own_id or derived_uuid7(at, text.encode()),
        refused_type=INTENT if kind is None else OPERATION_TYPE_OF[kind],
        correlation_id=trace,
        digest=hashlib.sha256(text.encode()).hexdigest()[:32],
        code=EnumCoreErrorCode.VALIDATION_ERROR,
        message=problem,
        payload=text,
        form="operation",
    )


def listed(intents: object) -> list[object]:
    """The intents that somebody gave as a list, or as anything else to go through.

    A mapping, a model, any object with an `intent_type`, text, and what nobody can go through, is one intent.
    """
    is_one = isinstance(intents, str | bytes | Mapping | BaseModel) or _field(intents, "intent_type") is not None
    return list(intents) if isinstance(intents, Iterable) and not is_one else [intents]


def intent_type_of(intent: object) -> EnumIntentType | None:
    """The type of an intent, however it is written; None for an unknown one."""
    return _type_named(_read(intent).intent_type)


def intent_type_text(intent: object) -> str:
    """The type of an intent as `EnumIntentType` writes it; an unknown one as it was given."""
    named = _named(_read(intent).intent_type)
    return str(_type_named(named) or (named if isinstance(named, str) else ""))


def refused_type_text(text: str) -> str:
    """The type that a refused intent gives itself, from the text it is kept as (or the beginning of that), fit to be
    shown; empty where it gives none."""
    place = _TYPE_COMES_FIRST.match(text)
    try:
        named = "" if place is None else json.JSONDecoder().raw_decode(text, place.end())[0]
    except ValueError:
        return ""
    return named if not named or repeatable(named) == named else quoted(named)


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
    given = _Given(*(_field(intent, name) for name in _Given._fields))
    return given._replace(payload=_as_dict(given.payload))


def _field(intent: object, name: str) -> Any:
    try:
        return intent.get(name) if isinstance(intent, Mapping) else getattr(intent, name, None)
    except Exception:
        return _UNREADABLE


def _as_dict(payload: Any) -> Any:
    """A mapping or a model as a dict; anything else as it is."""
    if type(payload) is dict:
        return payload
    try:
        if isinstance(payload, BaseModel):
            return payload.model_dump()
        return dict(payload.items()) if isinstance(payload, Mapping) else payload
    except Exception:
        return _UNREADABLE


def _type_named(value: object) -> EnumIntentType | None:
    named = _named(value)  # may be of a class of somebody's, whose own lower() fails
    return _TYPE_OF_NAME.get(_BETWEEN_WORDS.sub("", str.lower(named))) if isinstance(named, str) else None


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


def _as_sent(kind: EnumIntentType, payload: Fields) -> bytes:
    """What tells apart two intents of one id: the type, and the payload with every instant written in one form."""
    return orjson.dumps([kind, _one_form(payload)], option=orjson.OPT_SORT_KEYS)


def _as_meant(data: Data, at: datetime, trace: UUID | None) -> bytes:
    """What tells apart two intents without ids: what each of them means, however it is written.

    What was not given is left out, so that a field which the contract gains changes no id.
    """
    told = {name: value for name, value in data.model_dump(mode="json").items() if value is not None}
    when = at.isoformat(timespec="microseconds")
    return orjson.dumps([data.OPERATION_TYPE, _one_form(told), when, trace], option=orjson.OPT_SORT_KEYS)


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


def _derivable(payload: Fields, at: datetime | None) -> datetime:
    """The instant of an intent that an id can be derived from.   Raises Malformed for any other."""
    if at is None:
        raise Malformed("intent_id: missing, and without a timestamp it cannot be derived")
    data = payload.get("data")
    places = (payload, data) if isinstance(data, dict) else (payload,)
    if not any(place.get(name) for place in places for name in _SUBJECTS):
        raise Malformed(f"intent_id: missing, and without one of {', '.join(_SUBJECTS)} it cannot be derived")
    return at


# ---- what an intent becomes ---------------------------------------------------------------------------------------


def _item(given: _Given) -> Operation:
    kind = _type_named(given.intent_type)
    if kind is None:
        raise Malformed(f"intent_type: {quoted(given.intent_type)} is none of {', '.join(EnumIntentType)}")
    if given.priority is not None and not _is_priority(given.priority):
        raise Malformed("priority: not an integer of at least 0")
    payload = _copied(given.payload)
    data, at = MEANINGS[kind](payload)
    trace = _trace(payload)
    id_ = _given_id(given.intent_id)
    if id_ is None and kind is not EnumIntentType.RECOVER_FSM_STATES:
        at = _derivable(payload, at)
        identity = _as_meant(data, at, trace)
        id_ = derived_uuid7(at, identity)
    else:
        identity = _as_sent(kind, payload)
        at = at or (now() if id_ is None else _time_of(id_))
        id_ = id_ or uuid7()  # a question changes nothing: it may be asked under any id
    operation = operation_of(
        data,
        operation_id=id_,
        correlation_id=trace,
        occurred_at=at,
        digest=hashlib.sha256(identity).hexdigest()[:32],
    )
    if len(identity) > _SURELY_SMALL_BYTES:
        encode(operation)
    return operation


def _trace(payload: Fields) -> UUID | None:
    """The first id for tracing that is a UUID; what is none costs the intent nothing."""
    data = payload.get("data")
    places = (payload, data) if isinstance(data, dict) else (payload,)
    for name in _TRACES:
        for place in places:
            value = place.get(name)
            found = value if isinstance(value, UUID) else as_uuid(value)
            if found is not None:
                return found
    return None


# ---- refusals -----------------------------------------------------------------------------------------------------


def _intent_text(intent: object, given: _Given) -> str:
    payload = given.payload
    if isinstance(payload, dict):
        payload = {name: item for name, item in payload.items() if name != _HISTORY}
    fields = given._replace(intent_type=_named(given.intent_type), payload=payload)._asdict()
    told = {name: value for name, value in fields.items() if value is not None}
    return payload_text(told or intent)  # what has no field of an intent is kept as it came


def _good_id(value: object) -> UUID | None:
    try:
        return _given_id(value)
    except Malformed:
        return None


def _trace_told(payload: object) -> UUID | None:
    return _trace(payload) if isinstance(payload, dict) else None


def _time_told(payload: object) -> datetime:
    try:
        return (instant(payload, "") if isinstance(payload, dict) else None) or TIMELESS
    except Malformed:
        return TIMELESS
