"""From a bus record to an operation: one pure function, and the tables that say what each event becomes.

A record becomes an operation of its family, an event that is only recorded, or a refusal; never an exception. The same
event gets the same operation id at every delivery, on any topic. See docs/events.md.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from pydantic import ValidationError

from omninode_bridge.bus.envelope import ModelOnexEnvelopeV1
from omninode_bridge.bus.records import (
    Malformed,
    Message,
    Record,
    as_uuid,
    digest_of,
    first,
    occurred_at,
    operation_id_of,
    read,
    unwrapped,
)
from omninode_bridge.contract.clock import TIMELESS
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.json_text import payload_text
from omninode_bridge.contract.operation import Data, Operation
from omninode_bridge.contract.operation_types import BLOCKS, OPERATION_CLASSES
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.values import MAX_OPERATION_BYTES
from omninode_bridge.contract.wire import encode, error_text

Fields = dict[str, Any]

_DATA_CLASSES: dict[str, type[Data]] = {
    name: cls.model_fields["data"].annotation  # type: ignore[misc]  # every `data` is a Data class
    for name, cls in OPERATION_CLASSES.items()
}
_KNOWN = {name: frozenset(cls.model_fields) for name, cls in _DATA_CLASSES.items()}
_VALIDATE_DATA = {name: cls.__pydantic_validator__.validate_python for name, cls in _DATA_CLASSES.items()}
_VALIDATE = {name: cls.__pydantic_validator__.validate_python for name, cls in OPERATION_CLASSES.items()}

_RECORD_EVENT = "record_event"
_WORKFLOW_ENTITIES = ("workflow", "workflow_execution")
_ENVELOPE_FIELDS = frozenset(ModelOnexEnvelopeV1.model_fields) - {"payload", "metadata"}
_BESIDE_A_STEP = frozenset({"workflow_id", "correlation_id", "timestamp", "published_at", "node_id", "step_data"})
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# An operation carries its payload in its data and again in its event: only a value larger than this can be too large.
_SURELY_SMALL_BYTES = MAX_OPERATION_BYTES // 5
_KEY_CHARS = 255


def map_record(
    topic: str, key: str | None, value: object, *, timestamp: int | str | None = None
) -> Operation | Refusal:
    """The operation that a bus record means, or its refusal. Never raises for what a record may hold.

    value      the parsed JSON; a str where the record's bytes were not JSON
    timestamp  the bus's own time of the record: milliseconds since 1970 or ISO text
    """
    delivered = message = Message(topic, key, value, timestamp)
    record: Record | None = None
    kind: str | None = None
    at: datetime | None = None
    try:
        message = unwrapped(delivered)
        record = read(message)
        kind = _operation_type(record)
        at = occurred_at(record)
        return _operation(record, kind, at)
    except ValidationError as error:
        problem = error_text(error)
    except Malformed as error:
        problem = str(error)
    return Refusal(
        operation_id=operation_id_of(message, at or TIMELESS),
        refused_type=kind,
        correlation_id=_trace_of(message) if record is None else record.trace_id,
        digest=digest_of(message),
        code=EnumCoreErrorCode.VALIDATION_ERROR,
        message=_storable(problem),
        payload=payload_text(value),
        form="record",
        source="bus",
        topic=_storable(topic),
        partition_key=_storable(key)[:_KEY_CHARS] if isinstance(key, str) else None,
    )


def _operation(record: Record, kind: str, at: datetime | None) -> Operation:
    event: Data | None
    if kind == _RECORD_EVENT:
        data, event = _event(record), None
    else:
        derive = _RULES[record.event_type].derive if record.block is None else _BLOCK_RULES.get(kind, _block)
        data = _VALIDATE_DATA[kind](derive(record, at))
        event = _event(record)
    operation: Operation = _VALIDATE[kind](
        {
            "operation_id": operation_id_of(record.message, at or TIMELESS),
            "correlation_id": record.trace_id,
            "occurred_at": at or TIMELESS,
            "digest": digest_of(record.message),
            "event": event,
            "data": data,
        }
    )
    if len(orjson.dumps(record.value)) > _SURELY_SMALL_BYTES:
        _check_size(operation)
    return operation


def _event(record: Record) -> Data:
    """The record as `event_logs` keeps it. Validated after the data, whose messages name the field more closely."""
    value, message = record.value, record.message
    event: Data = _VALIDATE_DATA[_RECORD_EVENT](
        {
            "event_type": record.event_type,
            "topic": message.topic if message.topic.strip() else None,
            "partition_key": message.key if isinstance(message.key, str) and message.key.strip() else None,
            "session_id": record.session_id,
            "payload": value["payload"] if record.is_envelope else value,
            "envelope": {k: v for k, v in value.items() if k != "payload"} if record.is_envelope else None,
        }
    )
    return event


def _check_size(operation: Operation) -> None:
    try:
        encode(operation)
    except OnexError as error:
        raise Malformed(error.message) from None
    event = operation.event
    size = 0 if event is None else len(event.__pydantic_serializer__.to_json(event, exclude_none=True))
    if size > MAX_OPERATION_BYTES:
        raise Malformed(f"event: {size} bytes, at most {MAX_OPERATION_BYTES} are taken")


def _trace_of(message: Message) -> UUID | None:
    return as_uuid(message.value.get("correlation_id")) if isinstance(message.value, dict) else None


def _storable(text: str) -> str:
    """Text that a text column and UTF-8 can hold."""
    return _UNSTORABLE.sub("\ufffd", text)


# ---- which operation ----------------------------------------------------------------------------------------------


def _operation_type(record: Record) -> str:
    if record.block is not None:
        return BLOCKS[record.block]
    rule = None if record.is_of_the_fleet else _RULES.get(record.event_type)
    if rule is None or not rule.applies(record.body):
        return _RECORD_EVENT
    return rule.operation_type


def _always(body: Fields) -> bool:
    return True


def _carries_bridge_state(body: Fields) -> bool:
    """Reducers use these event types for counts of their own as well, which are no bridge's state."""
    state = ("total_workflows_processed", "total_items_aggregated", "current_fsm_state")
    return body.get("bridge_id") is not None and any(body.get(name) is not None for name in state)


# ---- what the fields are -----------------------------------------------------------------------------------------


def _given(kind: str, source: Fields) -> Fields:
    """The fields that the operation knows and the event gives."""
    known = _KNOWN[kind]
    return {name: value for name, value in source.items() if name in known and value is not None}


def _default(fields: Fields, name: str, *values: Any) -> None:
    """Set a field that the event does not name to the first value there is."""
    if name not in fields:
        value = first(*values)
        if value is not None:
            fields[name] = value


def _namespace(record: Record) -> Any:
    return first(record.body.get("namespace"), record.envelope_metadata.get("namespace"))


def _execution_around(record: Record, fields: Fields) -> Fields:
    """What an execution takes from around its fields."""
    _default(fields, "namespace", _namespace(record))
    _default(fields, "session_id", record.body.get("session_id"), as_uuid(record.envelope_metadata.get("session_id")))
    return fields


def _execution(record: Record, *, state: str, metadata: tuple[str, ...] = ()) -> Fields:
    fields = _given("persist_workflow_execution", record.body)
    fields.pop("workflow_id", None)
    fields["correlation_id"] = record.workflow_id
    fields.setdefault("current_state", state)
    told = {name: record.body[name] for name in metadata if record.body.get(name) is not None}
    held = fields.get("metadata", {})
    if told and isinstance(held, dict):
        fields["metadata"] = {**held, **told}
    return _execution_around(record, fields)


def _started(record: Record, at: datetime | None) -> Fields:
    fields = _execution(record, state="PROCESSING", metadata=("mode",))
    _default(fields, "started_at", at)
    return fields


def _completed(record: Record, at: datetime | None) -> Fields:
    return _ended(record, at, _execution(record, state="COMPLETED"))


def _failed(record: Record, at: datetime | None) -> Fields:
    return _ended(record, at, _execution(record, state="FAILED", metadata=("retry_count", "error_type")))


def _ended(record: Record, at: datetime | None, fields: Fields) -> Fields:
    _default(fields, "completed_at", at)
    _default(fields, "execution_time_ms", record.body.get("processing_time_ms"))
    _default(fields, "error_message", record.body.get("error"))
    return fields


def _step(record: Record, at: datetime | None) -> Fields:
    body = record.body
    fields = _given("persist_workflow_step", body)
    used = set(fields)
    for name, source in (("step_name", "step_type"), ("step_name", "step_id"), ("error_message", "error")):
        if name not in fields and body.get(source) is not None:
            fields[name] = body[source]
            used.add(source)
    fields["workflow_id"] = record.workflow_id
    fields.setdefault("step_order", 0)
    fields.setdefault("status", "COMPLETED")
    _default(fields, "created_at", at)
    aside = used | _BESIDE_A_STEP | (_ENVELOPE_FIELDS if body is record.value else frozenset())
    rest = {name: value for name, value in body.items() if name not in aside and value is not None}
    held = fields.get("step_data", {})
    if rest and isinstance(held, dict):
        fields["step_data"] = {**held, **rest}
    return fields


def _stamp(record: Record, at: datetime | None) -> Fields:
    fields = _given("persist_metadata_stamp", record.body)
    fields["workflow_id"] = record.workflow_id
    if "stamp_data" not in fields:  # published_at changes with every publishing and says nothing of the stamp
        fields["stamp_data"] = {name: value for name, value in record.body.items() if name != "published_at"}
    _default(fields, "namespace", _namespace(record))
    _default(fields, "created_at", at)
    return fields


def _transition(record: Record, at: datetime | None) -> Fields:
    fields = _given("persist_fsm_transition", record.body)
    _entity(record, fields)
    trigger = first(record.body.get("trigger"), fields.get("transition_event"), record.event_type)
    fields["transition_event"] = trigger
    if "transition_data" not in fields and "metadata" in fields:
        fields["transition_data"] = fields.pop("metadata")
    return fields


def _entity(record: Record, fields: Fields) -> None:
    """The machine that moved: a workflow's, unless the event says otherwise."""
    entity_type = fields.setdefault("entity_type", "workflow_execution")
    if isinstance(entity_type, str) and entity_type.strip().lower() in _WORKFLOW_ENTITIES:
        data = record.data
        _default(fields, "entity_id", data.get("workflow_id"), data.get("correlation_id"), record.workflow_id)


def _bridge_state(record: Record, at: datetime | None) -> Fields:
    fields = _given("persist_bridge_state", record.data)
    _default(fields, "namespace", _namespace(record), "unknown")
    return fields


def _heartbeat(record: Record, at: datetime | None) -> Fields:
    fields = _given("update_node_heartbeat", record.body)
    _default(fields, "node_id", record.value.get("source_node_id"))
    _default(fields, "health_status", record.body.get("status"))
    _default(fields, "last_heartbeat", at)
    _default(fields, "namespace", _namespace(record))
    return fields


# ---- the same, where a block names its fields itself -----------------------------------------------------------------


def _execution_block(record: Record, at: datetime | None) -> Fields:
    fields = _given("persist_workflow_execution", record.data)
    if "correlation_id" not in fields:
        _default(fields, "correlation_id", fields.pop("workflow_id", None), record.workflow_id)
    rule = _RULES.get(record.event_type)
    if rule is not None:
        _default(fields, "current_state", rule.state)
    return _execution_around(record, fields)


def _step_block(record: Record, at: datetime | None) -> Fields:
    fields = _given("persist_workflow_step", record.data)
    _default(fields, "workflow_id", record.data.get("correlation_id"), record.workflow_id)
    return fields


def _stamp_block(record: Record, at: datetime | None) -> Fields:
    fields = _given("persist_metadata_stamp", record.data)
    _default(fields, "namespace", _namespace(record))
    return fields


def _transition_block(record: Record, at: datetime | None) -> Fields:
    fields = _given("persist_fsm_transition", record.data)
    _entity(record, fields)
    return fields


def _heartbeat_block(record: Record, at: datetime | None) -> Fields:
    fields = _given("update_node_heartbeat", record.data)
    _default(fields, "namespace", _namespace(record))
    return fields


def _block(record: Record, at: datetime | None) -> Fields:
    """Of a type that has no rule: the block's own fields and no others."""
    return _given(_operation_type(record), record.data)


# ---- the tables ---------------------------------------------------------------------------------------------------

Derive = Callable[[Record, datetime | None], Fields]


class _Rule(NamedTuple):
    """What an event becomes: `state` is the one that a workflow is in after it, `applies` whether it becomes that."""

    operation_type: str
    derive: Derive
    state: str | None = None
    applies: Callable[[Fields], bool] = _always


_STARTED = _Rule("persist_workflow_execution", _started, "PROCESSING")
_COMPLETED = _Rule("persist_workflow_execution", _completed, "COMPLETED")
_FAILED = _Rule("persist_workflow_execution", _failed, "FAILED")
_STEP = _Rule("persist_workflow_step", _step)
_STAMP = _Rule("persist_metadata_stamp", _stamp)
_TRANSITION = _Rule("persist_fsm_transition", _transition)
_PERHAPS_BRIDGE_STATE = _Rule("persist_bridge_state", _bridge_state, applies=_carries_bridge_state)

_RULES: dict[str, _Rule] = {
    "workflow_started": _STARTED,
    "stamp_workflow_started": _STARTED,
    "workflow_completed": _COMPLETED,
    "stamp_workflow_completed": _COMPLETED,
    "workflow_failed": _FAILED,
    "stamp_workflow_failed": _FAILED,
    "step_completed": _STEP,
    "workflow_step_completed": _STEP,
    "stamp_created": _STAMP,
    "metadata_stamp_created": _STAMP,
    "state_transition": _TRANSITION,
    "workflow_state_transition": _TRANSITION,
    "fsm_state_transitioned": _TRANSITION,
    "state_aggregation_completed": _Rule("persist_bridge_state", _bridge_state),
    "aggregation_completed": _PERHAPS_BRIDGE_STATE,
    "state_persisted": _PERHAPS_BRIDGE_STATE,
    "node_heartbeat": _Rule("update_node_heartbeat", _heartbeat),
}

_BLOCK_RULES: dict[str, Derive] = {
    "persist_workflow_execution": _execution_block,
    "persist_workflow_step": _step_block,
    "persist_bridge_state": _bridge_state,
    "persist_fsm_transition": _transition_block,
    "persist_metadata_stamp": _stamp_block,
    "update_node_heartbeat": _heartbeat_block,
}
