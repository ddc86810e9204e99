"""Filters over an entity: names, operators and values, all checked before PostgreSQL sees them.

A filter is `column` or `column__operator`, where the operator is what follows the last `__`. None means IS NULL (with
`ne` IS NOT NULL), an empty `in` no row at all; as in SQL, no comparison finds a row that has NULL there.
Text is put as a write of that column puts it (upper case, aliases, ...), so that what was written is found again.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache, lru_cache
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import TypeAdapter, ValidationError

from omninode_bridge.contract.clock import parse_instant
from omninode_bridge.contract.errors import invalid, quoted
from omninode_bridge.contract.names import check_name, is_name
from omninode_bridge.contract.values import INT64_MAX, check_json
from store.generic.entities import MODELS, Entity, Kind

MAX_FILTERS = 50
MAX_LISTED = 1000  # values of one `in`

_OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
UNORDERED: tuple[Kind, ...] = ("json", "texts", "uuids")
CASTS: dict[Kind, str] = {
    "uuid": "uuid",
    "text": "text",
    "instant": "timestamptz",
    "integer": "bigint",
    "number": "numeric",
    "json": "jsonb",
    "texts": "text[]",
    "uuids": "uuid[]",
}


class Filter(NamedTuple):
    """`value` is of the column's kind, None, or a list of such values for `in`."""

    column: str
    operator: str
    value: Any


def conditions(entity: Entity, filters: Mapping[str, Any], *, field: str = "query_filters") -> tuple[str, list[Any]]:
    """What goes after WHERE, and its values; `true` for no filter.

    field  where the filters were given, for the message
    Raises OnexError VALIDATION_ERROR that names what is wrong.
    """
    return condition_of(entity, parse_filters(entity, filters, field=field))


def parse_filters(entity: Entity, filters: object, *, field: str) -> tuple[Filter, ...]:
    """Checked filters. Raises OnexError VALIDATION_ERROR that names what is wrong."""
    if not isinstance(filters, Mapping) or len(filters) > MAX_FILTERS:
        raise invalid(f"{field}: not an object of at most {MAX_FILTERS} filters")
    return tuple(_filter(entity, key, value, field) for key, value in filters.items())


def condition_of(entity: Entity, filters: Sequence[Filter]) -> tuple[str, list[Any]]:
    """The filters joined by AND, and their values."""
    texts = (_condition(one.column, one.operator, entity.columns[one.column], one.value is None) for one in filters)
    return " and ".join(texts) or "true", [one.value for one in filters if one.value is not None]


def converted(kind: Kind, column: str, value: object) -> Any:
    """The value as its column has it. Raises OnexError VALIDATION_ERROR, without the value."""
    try:
        return _CONVERT[kind](value)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise invalid(f"{column}: not a value that {CASTS[kind]} can be compared with") from None


@lru_cache(maxsize=1024)
def _condition(name: str, operator: str, kind: Kind, is_null: bool) -> str:
    column = sql.Identifier(name).as_string()
    if is_null:
        return f"{column} is null" if operator == "eq" else f"{column} is not null"
    if operator == "in":
        return f"{column} = any(%s::{CASTS[kind]}[])"
    return f"{column} {_OPERATORS[operator]} %s::{CASTS[kind]}"


def _filter(entity: Entity, key: object, value: object, field: str) -> Filter:
    column, operator = _parts(key)
    column = check_name(column, field)
    if operator != "in" and operator not in _OPERATORS:
        shown = f" {quoted(operator)}" if is_name(operator) else ""
        raise invalid(f"{column}: Unsupported operator{shown}")
    kind = entity.kind_of(column)
    if operator == "in":
        return Filter(column, operator, _listed(entity, column, value))
    if kind in UNORDERED and operator not in ("eq", "ne"):
        raise invalid(f"{column}: has no order, so only eq, ne and in fit")
    if value is None and operator not in ("eq", "ne"):
        raise invalid(f"{column}__{operator}: null has no order")
    return Filter(column, operator, None if value is None else _as_written(entity, column, value))


def _parts(key: object) -> tuple[object, str]:
    if not isinstance(key, str):
        return key, "eq"
    column, mark, operator = key.rpartition("__")
    return (column, operator) if mark and column else (key, "eq")


def _listed(entity: Entity, column: str, value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_LISTED:
        raise invalid(f"{column}__in: not a list of at most {MAX_LISTED} values")
    if entity.kind_of(column) in ("texts", "uuids"):
        raise invalid(f"{column}: a list itself, so only eq and ne fit")
    if any(one is None for one in value):
        raise invalid(f"{column}__in: null is in no list; ask for it by {column}: null")
    return [_as_written(entity, column, one) for one in value]


def _as_written(entity: Entity, column: str, value: object) -> Any:
    """The value as its column has it. Text that no write would take is compared as it was given."""
    kind = entity.kind_of(column)
    found = converted(kind, column, value)
    if kind not in ("text", "texts"):
        return found
    try:
        return _written(entity, column).validate_python(found)
    except ValidationError:
        return found


@cache
def _written(entity: Entity, column: str) -> TypeAdapter[Any]:
    """What a write makes of a column's value."""
    field = MODELS[entity.table].model_fields[column]
    kind: Any = field.annotation
    return TypeAdapter(Annotated[(kind, *field.metadata)] if field.metadata else kind)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    check_json(value)
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > INT64_MAX:
        raise ValueError
    return value


def _number(value: object) -> Decimal:
    """By its shortest text: psycopg takes no list of integers and floats, and float8 has fewer digits than it shows."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= INT64_MAX:
        raise ValueError
    return Decimal(str(value))


def _json(value: object) -> Jsonb:
    check_json(value)
    return Jsonb(value)


def _all(convert: Callable[[object], Any], value: object) -> list[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError
    return [convert(one) for one in value]


_CONVERT: dict[Kind, Callable[[Any], Any]] = {
    "uuid": lambda value: UUID(_text(value)),
    "text": _text,
    "instant": lambda value: parse_instant(_text(value)),
    "integer": _integer,
    "number": _number,
    "json": _json,
    "texts": lambda value: _all(_text, value),
    "uuids": lambda value: _all(lambda one: UUID(_text(one)), value),
}
