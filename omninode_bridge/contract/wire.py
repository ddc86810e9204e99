"""How operations travel in a Celery message, and how their outcomes come back.

A message carries one JSON text: a list of operations. What does not parse is refused alone. The answer is one small
object: how many, and only the outcomes that are not `applied`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from pydantic import ValidationError

from omninode_bridge.contract.clock import TIMELESS, derived_uuid7, parse_instant
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import invalid
from omninode_bridge.contract.json_text import payload_text
from omninode_bridge.contract.names import repeatable
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.operation_types import BLOCKS, INTENT_TYPES, OPERATION_CLASSES
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.values import MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS, MAX_OPERATION_BYTES

Item = Operation | Refusal

_VALIDATORS = {name: cls.__pydantic_validator__.validate_python for name, cls in OPERATION_CLASSES.items()}
_ENVELOPE_FIELDS = ("operation_id", "correlation_id", "occurred_at", "digest", "event")
_BESIDE_CONTENT = ("operation_id", "digest", "event")
OWN_TIMES = (
    "completed_at",
    "started_at",
    "created_at",
    "last_aggregation_timestamp",
    "last_heartbeat",
)  # where an operation says when it happened, if it does not say so itself; in this order
MAX_ERRORS_SHOWN = 3
_KEY_ITSELF = "[key]"  # what pydantic adds to the place of a key that is wrong


def encode(item: Item) -> bytes:
    """One operation's or refusal's JSON.

    Raises OnexError VALIDATION_ERROR when an operation, without the event it was made of, is larger than
    `MAX_OPERATION_BYTES`.
    """
    text = item.__pydantic_serializer__.to_json(item, exclude_none=True)
    if len(text) > MAX_OPERATION_BYTES and isinstance(item, Operation):
        size = len(item.__pydantic_serializer__.to_json(item, exclude_none=True, exclude={"event"}))
        if size > MAX_OPERATION_BYTES:
            raise invalid(_too_large(size))
    return text


def _too_large(size: int) -> str:
    return f"operation: {size} bytes, at most {MAX_OPERATION_BYTES} are taken"


def encode_batch(encoded: Sequence[bytes]) -> str:
    """The text of a batch from what `encode` gave."""
    return (b"[" + b",".join(encoded) + b"]").decode()


def decode_batch(text: str, *, task_id: str) -> list[Item]:
    """The operations of a message, in order; each one that does not parse stands there as a refusal.

    A text that is no JSON list, or breaks a bound of the whole batch, becomes one refusal.
    """
    if len(text) > MAX_BATCH_BYTES or len(text.encode(errors="surrogatepass")) > MAX_BATCH_BYTES:
        return [_refused_text(text, f"batch: more than {MAX_BATCH_BYTES} bytes")]
    try:
        items = orjson.loads(text)
    except ValueError as error:
        return _decode_oddly(text, task_id=task_id, problem=str(error))
    return decode_items(items, task_id=task_id, checked_bytes=len(text) <= MAX_OPERATION_BYTES)


def decode_items(
    items: object, *, task_id: str, operation_type: str | None = None, checked_bytes: bool = False
) -> list[Item]:
    """The operations in a list, or of the one object, that some Celery producer sent; as `decode_batch`.

    operation_type  the type of those that do not name one (the task's)
    """
    given = items if isinstance(items, list | tuple) else [items]
    if len(given) > MAX_BATCH_OPERATIONS:
        message = f"batch: {len(given)} operations, at most {MAX_BATCH_OPERATIONS} are taken"
        return [refuse_operation(given, message, seed=f"{task_id}:batch")]
    decoded = [
        _decode_plain(raw) or decode_operation(raw, seed=f"{task_id}:{position}", operation_type=operation_type)
        for position, raw in enumerate(given)
    ]
    if checked_bytes:
        return decoded
    return [
        _within_bounds(item, raw, f"{task_id}:{n}") for n, (item, raw) in enumerate(zip(decoded, given, strict=True))
    ]


def _decode_plain(raw: object) -> Operation | None:
    """An operation just as `encode` writes it, which nearly all are, at the least cost.

    None for any other, and for one with a fault: `decode_operation` takes it or says why not.
    """
    if not isinstance(raw, dict):
        return None
    fields = raw.copy()
    operation_id, event = fields.pop("operation_id", None), fields.pop("event", None)
    kind = fields.get("operation_type")
    validate = _VALIDATORS.get(kind) if isinstance(kind, str) else None
    if validate is None or operation_id is None or fields.get("occurred_at") is None:
        return None
    if "data" not in fields or "digest" in fields:
        return None
    fields["digest"] = content_digest(fields)  # now they are what `_content` would copy once more
    fields["operation_id"] = operation_id
    if "event" in raw:
        fields["event"] = event
    try:
        operation: Operation = validate(fields)
    except (ValueError, RecursionError):
        return None
    return operation


def decode_operation(raw: object, *, seed: str, operation_type: str | None = None) -> Item:
    """One operation from what a producer sent, or its refusal.

    Three shapes: the wire's (`data` inside), a bare `*_data` block, and the data's fields alone. An operation without
    an id gets one derived from `seed`, the same at every delivery of the task.
    """
    if not isinstance(raw, dict):
        return refuse_operation(raw, "operation: not a JSON object", seed=seed)
    if raw.get("operation_type") == "refusal":
        return _decode_refusal(raw, seed=seed)
    fields = _wire_shape(raw, operation_type)
    kind = fields.get("operation_type")
    validate = _VALIDATORS.get(kind) if isinstance(kind, str) else None
    if validate is None:
        return refuse_operation(raw, "operation_type: not one of " + ", ".join(OPERATION_CLASSES), seed=seed)
    try:
        if fields.get("occurred_at") is None:
            fields["occurred_at"] = _own_time(fields.get("data"))
        if fields.get("operation_id") is None:
            fields["operation_id"] = derived_uuid7(parse_instant(fields["occurred_at"]), seed.encode())
        if fields.get("digest") is None:
            fields["digest"] = content_digest(_content(raw, operation_type))
        operation: Operation = validate(fields)
        return operation
    except ValidationError as error:
        return refuse_operation(raw, error_text(error), seed=seed, operation_type=kind)
    except (ValueError, RecursionError) as error:
        return refuse_operation(raw, f"occurred_at: {error}", seed=seed, operation_type=kind)


def refuse_operation(raw: object, message: str, *, seed: str, operation_type: str | None = None) -> Refusal:
    """The refusal of something that was meant as an operation, under its own id where it has a good one."""
    payload = payload_text(raw)
    fields = raw if isinstance(raw, dict) else {}
    return Refusal(
        operation_id=_given_id(fields.get("operation_id")) or derived_uuid7(TIMELESS, seed.encode()),
        refused_type=operation_type,
        correlation_id=_as_uuid(fields.get("correlation_id")),
        digest=_good_digest(fields.get("digest")) or content_digest(_content(raw, operation_type)),
        code=EnumCoreErrorCode.VALIDATION_ERROR,
        message=message,
        payload=payload,
        form="operation",
    )


def operation_digest(operation: Operation) -> str:
    """The digest that `decode_operation` gives to what `encode` makes of an operation without one."""
    return content_digest(_content(orjson.loads(encode(operation)), None))


def refusal_of(item: Item, code: str, message: str, digest: str | None = None) -> Refusal:
    """An item that was good until the fleet looked at it, refused under its own id."""
    if isinstance(item, Refusal):
        return item.model_copy(update={"code": code, "message": message})
    return Refusal(
        operation_id=item.operation_id,
        refused_type=item.operation_type,
        correlation_id=item.correlation_id,
        digest=digest or item.digest or operation_digest(item),
        code=code,
        message=message,
        payload=item.__pydantic_serializer__.to_json(item, exclude_none=True).decode(),
        form="operation",
        topic=item.event.topic if item.event is not None else None,
        partition_key=item.event.partition_key if item.event is not None else None,
    )


def content_digest(content: object) -> str:
    """32 hex digits: the first half of SHA-256 over canonical JSON (keys sorted, no white space)."""
    try:
        canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError):
        canonical = payload_text(content).encode(errors="surrogatepass")
    return hashlib.sha256(canonical).hexdigest()[:32]


def error_text(error: ValidationError) -> str:
    """The fields that are wrong and why, printable, without their values or what is no name: at most
    `MAX_ERRORS_SHOWN`."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{_field(one['loc'])}: {one['msg'].removeprefix('Value error, ')}" for one in errors[:MAX_ERRORS_SHOWN]]
    if len(errors) > MAX_ERRORS_SHOWN:
        shown.append(f"and {len(errors) - MAX_ERRORS_SHOWN} more")
    text = "; ".join(shown)[:500]
    return "".join(char if char.isprintable() else "?" for char in text)  # pydantic may quote a character: NUL, too


def encode_outcomes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The small JSON object that a task returns: `rest` lists [position, status, code, message] of what is not
    applied; `details`, where there are any, [position, detail]."""
    rest: list[list[Any]] = []
    for position, outcome in enumerate(outcomes):
        if outcome.status == "duplicate":
            rest.append([position, outcome.status])
        elif outcome.status == "refused":
            rest.append([position, outcome.status, outcome.code, outcome.message])
    answer = {"operations": len(outcomes), "applied": len(outcomes) - len(rest), "rest": rest}
    details = [[position, one.detail] for position, one in enumerate(outcomes) if one.detail is not None]
    return answer | {"details": details} if details else answer


def decode_outcomes(result: Mapping[str, Any], operation_ids: Sequence[UUID]) -> list[Outcome]:
    """One outcome per operation of a batch, in its order, from what the task returned.

    Raises OnexError VALIDATION_ERROR when the answer is not about that many operations.
    """
    if result.get("operations") != len(operation_ids):
        raise invalid(f"operations: answer about {result.get('operations')!r}, asked about {len(operation_ids)}")
    outcomes = [Outcome(operation_id, "applied") for operation_id in operation_ids]
    for position, status, *why in result["rest"]:
        outcomes[position] = Outcome(operation_ids[position], status, *why)
    for position, detail in result.get("details", ()):
        outcomes[position] = outcomes[position]._replace(detail=detail)
    return outcomes


def summary(items: Sequence[Item]) -> str:
    """What Flower shows instead of payloads: "120 operations: 80 workflow_step, 40 node_heartbeat"."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item.operation_type] = counts.get(item.operation_type, 0) + 1
    return summary_of(counts)


def summary_of(counts: Mapping[str, int]) -> str:
    """As `summary`, from how often each operation type occurs."""
    total = sum(counts.values())
    short = {_short(name): count for name, count in counts.items()}
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(short.items(), key=lambda kv: (-kv[1], kv[0])))
    return f"{total} operation{'s' if total != 1 else ''}" + (f": {kinds}" if kinds else "")


def _short(operation_type: str) -> str:
    """The name of a persist operation by its table; an intent keeps its whole name."""
    if operation_type in INTENT_TYPES:
        return operation_type
    return operation_type.removeprefix("persist_").removeprefix("update_")


def _wire_shape(raw: Mapping[str, Any], operation_type: str | None) -> dict[str, Any]:
    """The three shapes brought to one."""
    kind = raw.get("operation_type") or operation_type
    if "data" in raw:
        return {**raw, "operation_type": kind}
    blocks = [name for name in BLOCKS if raw.get(name) is not None]
    if len(blocks) == 1:
        rest = {key: value for key, value in raw.items() if key not in BLOCKS}
        return {**rest, "operation_type": kind or BLOCKS[blocks[0]], "data": raw[blocks[0]]}
    fields: dict[str, Any] = {"operation_type": kind}
    data: dict[str, Any] = {}
    for key, value in raw.items():
        if key in _ENVELOPE_FIELDS:
            fields[key] = value
        elif key != "operation_type":
            data[key] = value
    if kind == "persist_workflow_execution" and "correlation_id" in raw:
        data["correlation_id"] = raw["correlation_id"]
    return {**fields, "data": data}


def _content(raw: object, operation_type: str | None) -> object:
    """What the digest is of: everything as sent but the id itself and what the sender noted beside it."""
    if not isinstance(raw, dict):
        return raw
    content = raw.copy()
    for beside in _BESIDE_CONTENT:
        content.pop(beside, None)
    if operation_type is not None:
        content.setdefault("operation_type", operation_type)
    return content


def _own_time(data: object) -> object:
    if isinstance(data, dict):
        for name in OWN_TIMES:
            if data.get(name) is not None:
                return data[name]
    return TIMELESS


def _within_bounds(item: Item, raw: object, seed: str) -> Item:
    if isinstance(item, Operation) and isinstance(raw, dict):
        size = len(payload_text({key: value for key, value in raw.items() if key != "event"}).encode())
        if size > MAX_OPERATION_BYTES:
            return refuse_operation(raw, _too_large(size), seed=seed, operation_type=item.operation_type)
    return item


def _decode_refusal(raw: Mapping[str, Any], *, seed: str) -> Refusal:
    try:
        return Refusal.model_validate(raw)
    except ValidationError as error:
        return refuse_operation(raw, error_text(error), seed=seed)


def _decode_oddly(text: str, *, task_id: str, problem: str) -> list[Item]:
    """A batch with one operation that strict JSON refuses (NaN, a lone surrogate) still has good neighbours."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return [_refused_text(text, f"batch: not JSON: {problem}")]
    return decode_items(items, task_id=task_id)


def _refused_text(text: str, message: str) -> Refusal:
    raw = text.encode(errors="surrogatepass")
    return Refusal(
        operation_id=derived_uuid7(TIMELESS, raw),
        digest=hashlib.sha256(raw).hexdigest()[:32],
        code=EnumCoreErrorCode.VALIDATION_ERROR,
        message=message,
        payload=json.dumps(text),
        form="operation",
    )


def _given_id(value: object) -> UUID | None:
    given = _as_uuid(value)
    return given if given is not None and given.version == 7 else None


def _as_uuid(value: object) -> UUID | None:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _good_digest(value: object) -> str | None:
    good = isinstance(value, str) and len(value) == 32 and all(c in "0123456789abcdef" for c in value)
    return value if good else None  # type: ignore[return-value]  # good means text


def _field(loc: tuple[int | str, ...]) -> str:
    parts = loc[1:] if loc[:1] == ("data",) and len(loc) > 1 else loc
    names = [part if part == _KEY_ITSELF else repeatable(part) for part in parts]
    return ".".join(map(str, names)) or "operation"
