"""Queries over the entities, as they come over the bus: filters, order, a page of rows.

Everything is checked before PostgreSQL sees it: names against the entities, values against their columns. A filter is
`column` or `column__operator`; null means IS NULL, an empty list no row at all. See docs/events.md.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from psycopg import Connection, sql
from psycopg.errors import DataError, QueryCanceled
from psycopg.types.json import Jsonb

from omninode_bridge.clock import parse_instant
from omninode_bridge.enums import EnumCoreErrorCode
from omninode_bridge.errors import OnexError, invalid, quoted
from omninode_bridge.operation import AnswerQueryData
from omninode_bridge.values import INT64_MAX, JsonObject, check_json
from store.entities import Entity, Kind, entity_of

MAX_ROWS = 1000  # the platform's bound; also what is answered when none is named
MAX_OFFSET = 10_000
MAX_FILTERS = 50
MAX_LISTED = 1000  # values of one `in`

_OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_CASTS: dict[Kind, str] = {
    "uuid": "uuid",
    "text": "text",
    "instant": "timestamptz",
    "integer": "bigint",
    "number": "numeric",
    "json": "jsonb",
    "texts": "text[]",
    "uuids": "uuid[]",
}
_KNOWN = frozenset({"entity_type", "filters", "query_filters", "sort_by", "sort_order", "limit", "offset"})


class Filter(NamedTuple):
    """`value` is of the column's kind, None, or a list of such values for `in`."""

    column: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Query:
    """A checked query."""

    entity: Entity
    filters: tuple[Filter, ...]
    sort_by: str
    descending: bool
    limit: int
    offset: int


class AnsweredQueryData(AnswerQueryData):
    """A query with its answer, on its way to the outbox; never on the wire."""

    succeeded: bool
    answer: JsonObject


def parse(raw: Mapping[str, Any]) -> Query:
    """A query from what somebody sent; fields that no query has are passed over.

    Raises OnexError VALIDATION_ERROR that names what is wrong.
    """
    given = {name: raw[name] for name in _KNOWN if raw.get(name) is not None}
    entity = entity_of(given.get("entity_type"))
    filters = given.get("filters", given.get("query_filters", {}))
    if not isinstance(filters, Mapping) or len(filters) > MAX_FILTERS:
        raise invalid(f"filters: not an object of at most {MAX_FILTERS} filters")
    sort_by = given.get("sort_by", entity.newest_first)
    if entity.kind_of(sort_by) in ("json", "texts", "uuids"):
        raise invalid(f"sort_by: {sort_by} has no order")
    sort_order = given.get("sort_order", "desc")
    if not isinstance(sort_order, str) or sort_order.lower() not in ("asc", "desc"):
        raise invalid("sort_order: neither 'asc' nor 'desc'")
    return Query(
        entity=entity,
        filters=tuple(_filter(entity, key, value) for key, value in filters.items()),
        sort_by=sort_by,
        descending=sort_order.lower() == "desc",
        limit=_bounded(given, "limit", MAX_ROWS, default=MAX_ROWS),
        offset=_bounded(given, "offset", MAX_OFFSET, default=0),
    )


def run(conn: Connection[Any], query: Query, *, timeout_ms: int) -> list[dict[str, Any]]:
    """The rows as JSON objects: ids and instants as text, every column of the entity.

    Raises OnexError TIMEOUT when it takes longer, VALIDATION_ERROR for a value that only PostgreSQL found wrong.
    """
    text, values = select(query)
    try:
        with conn.transaction():
            conn.execute("set transaction read only")
            conn.execute("select set_config('statement_timeout', %s, true)", (str(timeout_ms),))
            return [row for (row,) in conn.execute(text, values)]
    except QueryCanceled as error:
        raise OnexError(EnumCoreErrorCode.TIMEOUT, f"query: took longer than {timeout_ms} ms") from error
    except DataError as error:
        raise invalid(f"filters: {error.diag.message_primary or 'refused by the database'}"[:200]) from error


def select(query: Query) -> tuple[sql.Composed, list[Any]]:
    """The statement and its values. Ties are broken by the key, so that pages neither repeat nor skip rows."""
    entity = query.entity
    conditions: list[sql.Composable] = [sql.SQL("true")]
    values: list[Any] = []
    for one in query.filters:
        condition, wanted = _condition(entity, one)
        conditions.append(condition)
        values += wanted
    way = sql.SQL("desc" if query.descending else "asc")
    order = dict.fromkeys((query.sort_by, *entity.key))
    text = sql.SQL(
        "select to_jsonb(found) from (select {columns} from {table} where {conditions} order by {order}"
        " limit {limit} offset {offset}) as found"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, entity.columns)),
        table=sql.Identifier(entity.table),
        conditions=sql.SQL(" and ").join(conditions),
        order=sql.SQL(", ").join(sql.SQL("{} {} nulls last").format(sql.Identifier(name), way) for name in order),
        limit=sql.Literal(query.limit),
        offset=sql.Literal(query.offset),
    )
    return text, values


def answer(
    conn: Connection[Any],
    data: AnswerQueryData,
    *,
    timeout_ms: int,
    max_bytes: int,
    clock: Callable[[], float] = time.perf_counter,
) -> AnsweredQueryData:
    """The query with its rows, or with what was wrong with it; only an outage is raised.

    max_bytes  a larger answer is none: the bus would not take it
    """
    started = clock()
    try:
        rows = run(conn, parse(data.query), timeout_ms=timeout_ms)
        size = len(orjson.dumps(rows))
        if size > max_bytes:
            raise invalid(f"limit: the answer has {size} bytes, at most {max_bytes} are sent; ask for fewer rows")
    except OnexError as error:
        return AnsweredQueryData(query=data.query, succeeded=False, answer={"success": False, "error": str(error)})
    took_ms = round((clock() - started) * 1000, 3)
    told = {"success": True, "rows": rows, "rows_affected": len(rows), "execution_time_ms": took_ms}
    return AnsweredQueryData(query=data.query, succeeded=True, answer=told)


def _condition(entity: Entity, one: Filter) -> tuple[sql.Composable, list[Any]]:
    column = sql.Identifier(one.column)
    cast = sql.SQL(_CASTS[entity.columns[one.column]])
    if one.value is None:
        return sql.SQL("{} is null" if one.operator == "eq" else "{} is not null").format(column), []
    if one.operator == "in":
        return sql.SQL("{} = any(%s::{}[])").format(column, cast), [one.value]
    operator = sql.SQL(_OPERATORS[one.operator])
    return sql.SQL("{} {} %s::{}").format(column, operator, cast), [one.value]


def _filter(entity: Entity, key: str, value: object) -> Filter:
    column, _, operator = key.rpartition("__")
    if not column:
        column, operator = key, "eq"
    kind = entity.kind_of(column)
    if operator == "in":
        return Filter(column, operator, _listed(kind, column, value))
    if operator not in _OPERATORS:
        raise invalid(f"{column}: Unsupported operator {quoted(operator)}")
    if kind in ("json", "texts", "uuids") and operator not in ("eq", "ne"):
        raise invalid(f"{column}: has no order, so only eq, ne and in fit")
    if value is None and operator not in ("eq", "ne"):
        raise invalid(f"{column}__{operator}: null has no order")
    return Filter(column, operator, None if value is None else _value(kind, column, value))


def _listed(kind: Kind, column: str, value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_LISTED:
        raise invalid(f"{column}__in: not a list of at most {MAX_LISTED} values")
    if kind in ("texts", "uuids"):
        raise invalid(f"{column}: a list itself, so only eq and ne fit")
    if any(one is None for one in value):
        raise invalid(f"{column}__in: null is in no list; ask for it by {column}: null")
    return [_value(kind, column, one) for one in value]


def _value(kind: Kind, column: str, value: object) -> Any:
    """The value as its column has it. Raises OnexError VALIDATION_ERROR, without the value."""
    try:
        return _CONVERT[kind](value)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise invalid(f"{column}: not a value that {_CASTS[kind]} can be compared with") from None


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode()  # a lone surrogate is a ValueError
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > INT64_MAX:
        raise ValueError
    return value


def _number(value: object) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError
    return value


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


def _bounded(given: Mapping[str, Any], name: str, most: int, *, default: int) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise invalid(f"{name}: not an integer from 0 to {most}")
    return value
