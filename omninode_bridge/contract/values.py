"""Field types of the contract: what is normalised, and what is refused before PostgreSQL has to.

Null means "not given" everywhere, so optional fields take None. Text is stripped; text with NUL or lone surrogates,
numbers outside their column and anything that JSON cannot carry are refused by field name.
"""

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from omninode_bridge.contract.clock import is_uuid7, parse_instant
from omninode_bridge.contract.names import repeatable

MAX_OPERATION_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_BATCH_OPERATIONS = 1000
MAX_PATH_CHARS = 120  # of a path inside somebody's value, in a message
MAX_JSON_DEPTH = 100  # PostgreSQL and orjson both go deeper; nobody's metadata does

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
_INT64_MIN = -(2**63)
_UINT64_MAX = 2**64 - 1  # of JSON: a float of that size comes back from jsonb as an integer

_HEALTH_ALIASES = {"CRITICAL": "UNHEALTHY", "RECOVERING": "DEGRADED"}
_ENTITY_ALIASES = {"workflow": "workflow_execution"}
_EVENT_NAME = re.compile("[a-z0-9_]+")
_TOPIC = re.compile("[A-Za-z0-9._-]+")
MAX_TOPIC_CHARS = 249  # Kafka's bound


def _clean(max_chars: int) -> Callable[[str], str]:
    """No NUL; and not too long after a change of case, which can lengthen text."""

    def check(value: str) -> str:
        if "\0" in value:
            raise ValueError("text with NUL")
        if len(value) > max_chars:
            raise ValueError(f"text of more than {max_chars} characters")
        return value

    return check


def _plain(max_chars: int, *more: AfterValidator, min_chars: int = 1) -> Any:
    return Annotated[
        str,
        StringConstraints(strict=True, strip_whitespace=True, min_length=min_chars, max_length=max_chars),
        AfterValidator(_clean(max_chars)),
        *more,
    ]


def _upper(max_chars: int, *more: AfterValidator) -> Any:
    return Annotated[
        str,
        StringConstraints(strict=True, strip_whitespace=True, to_upper=True, min_length=1, max_length=max_chars),
        AfterValidator(_clean(max_chars)),
        *more,
    ]


def _lower(max_chars: int, *more: AfterValidator) -> Any:
    return Annotated[
        str,
        StringConstraints(strict=True, strip_whitespace=True, to_lower=True, min_length=1, max_length=max_chars),
        AfterValidator(_clean(max_chars)),
        *more,
    ]


def check_json(value: object) -> None:
    """Raise ValueError, with the path inside the value, for what a jsonb column or the wire cannot hold."""
    if not _is_clean(value, 0):
        _find_fault(value, "", 0)


def _is_clean(value: Any, depth: int) -> bool:
    """The common case, without keeping track of where it is."""
    kind = type(value)
    if kind is dict:
        if depth >= MAX_JSON_DEPTH:
            return False
        for key, item in value.items():
            if type(key) is not str or "\0" in key or not (key.isascii() or _encodes(key)):
                return False
            if not _is_clean(item, depth + 1):
                return False
        return True
    if kind is str:
        return "\0" not in value and (value.isascii() or _encodes(value))
    if kind is int:
        return bool(_INT64_MIN <= value <= _UINT64_MAX)
    if kind is list:
        return depth < MAX_JSON_DEPTH and all(_is_clean(item, depth + 1) for item in value)
    return value is None or kind is bool or (kind is float and math.isfinite(value))


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _find_fault(value: object, path: str, depth: int) -> None:
    """Walk again and say where it is. Finds nothing in subclasses of str, int, dict and list that hold clean values."""
    where = path[:MAX_PATH_CHARS] or "value"
    if isinstance(value, str):
        _check_text(value, where)
    elif value is None or isinstance(value, bool):
        return
    elif isinstance(value, int):
        if not _INT64_MIN <= value <= _UINT64_MAX:
            raise ValueError(f"{where}: integer of more than 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: not a finite number")
    elif depth >= MAX_JSON_DEPTH:
        raise ValueError(f"{where}: nested more than {MAX_JSON_DEPTH} deep")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where}: a key that is not text")
            _check_text(key, where)
            _find_fault(item, f"{path}.{repeatable(key)}" if path else repeatable(key), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _find_fault(item, f"{path}[{index}]", depth + 1)
    else:
        raise ValueError(f"{where}: {type(value).__name__} is not a JSON value")


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise ValueError(f"{where}: text with NUL")
    if not _encodes(text):
        raise ValueError(f"{where}: text with a lone surrogate")


def _json_object(value: dict[str, Any]) -> dict[str, Any]:
    if value and not _is_clean(value, 0):
        _find_fault(value, "", 0)
    return value


def _json_list(value: list[Any]) -> list[Any]:
    check_json(value)
    return value


def _uuid7(value: UUID) -> UUID:
    if not is_uuid7(value):
        raise ValueError("not a UUID of version 7")
    return value


def _health(value: str) -> str:
    return _HEALTH_ALIASES.get(value, value)


def _entity_type(value: str) -> str:
    return _ENTITY_ALIASES.get(value, value)


def _event_name(value: str) -> str:
    name = value.replace("-", "_")
    if not _EVENT_NAME.fullmatch(name):
        raise ValueError("not letters, digits, dashes and underscores")
    return name


def _topic(value: str) -> str:
    if value in (".", "..") or not _TOPIC.fullmatch(value):
        raise ValueError("not letters, digits, dots, dashes and underscores")
    return value


Instant = Annotated[datetime, BeforeValidator(parse_instant)]
OperationId = Annotated[UUID, AfterValidator(_uuid7)]
Digest = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{32}$")]

Name50 = _plain(50)
Name100 = _plain(100)
Name255 = _plain(255)
Url500 = _plain(500)
Message2000 = _plain(2000, min_chars=0)
State = _upper(50)
Health = _upper(50, AfterValidator(_health))
NodeType = _lower(100)
EntityType = _lower(100, AfterValidator(_entity_type))
AggregationType = _lower(50)
EventName = _lower(100, AfterValidator(_event_name))
Topic = _plain(MAX_TOPIC_CHARS - len(".dlq"), AfterValidator(_topic))  # what the bus refuses goes to `<topic>.dlq`
FileHash = Annotated[
    str, StringConstraints(strict=True, strip_whitespace=True, to_lower=True, pattern=r"^[0-9a-fA-F]{1,128}$")
]
MetadataVersion = _plain(10)

Count32 = Annotated[int, Field(strict=True, ge=0, le=INT32_MAX)]
Count64 = Annotated[int, Field(strict=True, ge=0, le=INT64_MAX)]
Version32 = Annotated[int, Field(strict=True, ge=1, le=INT32_MAX)]
Rate = Annotated[float, Field(strict=True, ge=0, le=99_999_999.99, allow_inf_nan=False)]

JsonObject = Annotated[dict[str, Any], AfterValidator(_json_object)]
JsonList = Annotated[list[Any], AfterValidator(_json_list)]
