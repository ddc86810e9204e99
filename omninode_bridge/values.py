"""Field types of the contract: what is normalised, and what is refused before PostgreSQL has to.

Null means "not given" everywhere, so optional fields take None. Text is stripped; text with NUL or lone surrogates,
numbers outside their column and anything that JSON cannot carry are refused by field name.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from omninode_bridge.clock import parse_instant

MAX_OPERATION_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_BATCH_OPERATIONS = 1000
MAX_JSON_DEPTH = 100  # PostgreSQL and orjson both go deeper; nobody's metadata does

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

_HEALTH_ALIASES = {"CRITICAL": "UNHEALTHY", "RECOVERING": "DEGRADED"}
_ENTITY_ALIASES = {"workflow": "workflow_execution"}


def _clean(max_chars: int) -> Callable[[str], str]:
    """No NUL; and not too long after a change of case, which can lengthen text."""

    def check(value: str) -> str:
        if "\0" in value:
            raise ValueError("text with NUL")
        if len(value) > max_chars:
            raise ValueError(f"text of more than {max_chars} characters")
        return value

    return check


def _plain(max_chars: int, *, min_chars: int = 1) -> Any:
    return Annotated[
        str,
        StringConstraints(strict=True, strip_whitespace=True, min_length=min_chars, max_length=max_chars),
        AfterValidator(_clean(max_chars)),
    ]


def _upper(max_chars: int) -> Any:
    return Annotated[
        str,
        StringConstraints(strict=True, strip_whitespace=True, to_upper=True, min_length=1, max_length=max_chars),
        AfterValidator(_clean(max_chars)),
    ]


def _lower(max_chars: int) -> Any:
    return Annotated[
        str,
        StringConstraints(strict=True, strip_whitespace=True, to_lower=True, min_length=1, max_length=max_chars),
        AfterValidator(_clean(max_chars)),
    ]


def check_json(value: object, *, path: str = "", depth: int = 0) -> None:
    """Raise ValueError, with the path inside the value, for what a jsonb column or the wire cannot hold."""
    if value is None or value is True or value is False:
        return
    kind = type(value)
    if kind is str:
        _check_json_text(value, path)  # type: ignore[arg-type]  # kind is str
    elif kind is int:
        if not -INT64_MAX - 1 <= value <= INT64_MAX:  # type: ignore[operator]  # kind is int
            raise ValueError(f"{path or 'value'}: integer of more than 64 bits")
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]  # kind is float
            raise ValueError(f"{path or 'value'}: not a finite number")
    elif depth >= MAX_JSON_DEPTH:
        raise ValueError(f"{path[:200]}: nested more than {MAX_JSON_DEPTH} deep")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{path or 'value'}: a key that is not text")
            _check_json_text(key, path)
            check_json(item, path=f"{path}.{key}" if path else key, depth=depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_json(item, path=f"{path}[{index}]", depth=depth + 1)
    else:
        raise ValueError(f"{path or 'value'}: {kind.__name__} is not a JSON value")


def _check_json_text(text: str, path: str) -> None:
    if "\0" in text:
        raise ValueError(f"{path or 'value'}: text with NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{path or 'value'}: text with a lone surrogate") from None


def _json_object(value: dict[str, Any]) -> dict[str, Any]:
    if value:
        check_json(value)
    return value


def _json_list(value: list[Any]) -> list[Any]:
    check_json(value)
    return value


def _uuid7(value: UUID) -> UUID:
    if value.version != 7:
        raise ValueError("not a UUID of version 7")
    return value


def _health(value: str) -> str:
    return _HEALTH_ALIASES.get(value, value)


def _entity_type(value: str) -> str:
    return _ENTITY_ALIASES.get(value, value)


Instant = Annotated[datetime, BeforeValidator(parse_instant)]
OperationId = Annotated[UUID, AfterValidator(_uuid7)]
Digest = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{32}$")]

Name50 = _plain(50)
Name100 = _plain(100)
Name255 = _plain(255)
Url500 = _plain(500)
Message2000 = _plain(2000, min_chars=0)
State = _upper(50)
Health = Annotated[_upper(50), AfterValidator(_health)]
NodeType = _lower(100)
EntityType = Annotated[_lower(100), AfterValidator(_entity_type)]
AggregationType = _lower(50)
FileHash = Annotated[
    str, StringConstraints(strict=True, strip_whitespace=True, to_lower=True, pattern=r"^[0-9a-fA-F]{1,128}$")
]
MetadataVersion = _plain(10)

Count32 = Annotated[int, Field(strict=True, ge=0, le=INT32_MAX)]
Count64 = Annotated[int, Field(strict=True, ge=0, le=INT64_MAX)]
Version32 = Annotated[int, Field(strict=True, ge=1, le=INT32_MAX)]
Rate = Annotated[float, Field(ge=0, le=99_999_999.99, allow_inf_nan=False)]

JsonObject = Annotated[dict[str, Any], AfterValidator(_json_object)]
JsonList = Annotated[list[Any], AfterValidator(_json_list)]
