"""Reads over the entities: rows in order, by offset or page after page; how many there are; whether there is any.

Two vocabularies: `parse`, `run` and `answer` for queries that came over the bus (docs/events.md), `read` for the
generic operations. Everything is checked before PostgreSQL sees it; each statement has a time limit, and the several of
one query see one moment.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from psycopg import Connection, sql

from omninode_bridge.contract.enums import EnumEntityType
from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.names import check_name
from omninode_bridge.contract.query_operation import AnswerQueryData
from omninode_bridge.contract.values import MAX_BATCH_BYTES
from omninode_bridge.persistence.entities import MADE_BY_DATABASE, takes_null
from omninode_bridge.persistence.models import MAX_LIMIT, MAX_OFFSET
from store.database.bounded_read import reading, told
from store.database.errors import Fate, fate_of
from store.database.errors import condition_of as what_was_said
from store.database.session import limit_of
from store.generic.answers import ROW_BYTES, fitting, rows_of, size_of
from store.generic.entities import ENTITIES, Entity, entity_of
from store.generic.filters import UNORDERED, Filter, condition_of, parse_filters
from store.generic.filters import conditions as conditions
from store.generic.pages import Order, Part, Position, parts, position, token, whole
from store.outbox.announcements import AnsweredQueryData
from store.write.batch import Limits
from store.write.canary import demand_rows

MAX_ROWS = MAX_LIMIT  # also what is answered when no limit is named
TOO_LARGE = "limit: the answer has more than {} bytes, and no more are sent; ask for fewer rows"

_KNOWN = frozenset({"entity_type", "filters", "query_filters", "sort_by", "sort_order", "limit", "offset"})
Statement = tuple[bytes, list[Any]]  # the names in it come from the entities alone


@dataclass(frozen=True, slots=True)
class Query:
    """A checked query. Of one that is paged, `after` is where its page begins, and `offset` is 0."""

    entity: Entity
    filters: tuple[Filter, ...]
    order: Order
    limit: int
    offset: int
    paged: bool = False
    after: Position | None = None


def parse(raw: Mapping[str, Any]) -> Query:
    """A query from what somebody sent over the bus; fields that no query has are passed over.

    Raises OnexError VALIDATION_ERROR that names what is wrong.
    """
    given = {name: raw[name] for name in _KNOWN if raw.get(name) is not None}
    entity = entity_of(given.get("entity_type"))
    filters = given.get("filters", given.get("query_filters", {}))
    checked = parse_filters(entity, filters, field="filters")
    return _query(given, entity, checked, sort_by=entity.newest_first)


def parse_generic(request: Mapping[str, Any]) -> Query:
    """The same of a generic operation: by key unless it says otherwise, page after page if it has a `page`."""
    given = {name: value for name, value in request.items() if value is not None}
    entity = entity_of(given.get("entity_type"))
    filters = parse_filters(entity, given.get("query_filters", {}), field="query_filters")
    return _query(given, entity, filters, sort_by=entity.key[0], page=given.get("page"))


def run(
    conn: Connection[Any], query: Query, *, timeout_ms: int, max_bytes: int = MAX_BATCH_BYTES
) -> list[dict[str, Any]]:
    """The rows as JSON objects: ids and instants as text, every column of the entity. `conn` is in autocommit mode.

    Raises OnexError TIMEOUT when a statement takes longer, VALIDATION_ERROR for more than `max_bytes` of rows and for a
    value that only PostgreSQL found wrong, DATABASE_QUERY_ERROR for JSON that cannot be read.
    """
    texts = _texts(conn, query, query.limit, timeout_ms=timeout_ms, max_bytes=max_bytes)
    if size_of(texts) > max_bytes:
        raise invalid(TOO_LARGE.format(max_bytes))
    return rows_of(query.entity, texts, strict=False)


def read(
    conn: Connection[Any],
    request: Mapping[str, Any],
    *,
    timeout_ms: int,
    max_bytes: int,
    row_bytes: int = ROW_BYTES,
) -> tuple[dict[str, Any], int]:
    """A generic query, count or exists: its result_data and rows_affected. `conn` is in autocommit mode.

    A page ends before what would not fit into `max_bytes`, but its first row may have `row_bytes`; its `next_page` goes
    on there.
    Raises OnexError as `run` does, and DATABASE_QUERY_ERROR, with the field, for a row that its model does not take,
    unless strict_jsonb_validation is false.
    """
    entity = entity_of(request.get("entity_type"))
    operation, filters = str(request.get("operation_type")).strip().lower(), request.get("query_filters")
    if operation == "query":
        return _items(conn, request, timeout_ms=timeout_ms, max_bytes=max_bytes, row_bytes=row_bytes)
    if operation not in ("count", "exists"):
        raise invalid("operation_type: not one of query, count, exists")
    if operation == "exists" and not filters:
        raise invalid("query_filters: exists has none, and they are required")
    condition, values = conditions(entity, {} if filters is None else filters)
    found = f"count(*) from {entity.table} where {condition}"
    if operation == "exists":
        found = f"exists (select from {entity.table} where {condition})"
    statement = f"select {found}".encode(), values
    ((answered,),) = _fetch(conn, statement, timeout_ms=timeout_ms, field="query_filters")
    return {operation: answered}, 0


def statements(query: Query, limit: int, max_bytes: int) -> list[Statement]:
    """What finds the rows as JSON texts: one statement, or two of which the second goes on where the first ended.

    PostgreSQL stops sending after the row behind the one that goes beyond `max_bytes`: what an answer takes up in
    memory has a bound, and whether there is more is known even where the first row is too large.
    """
    stretches = [whole(query.order)] if query.offset else parts(query.order, query.after)
    return [_statement(query, stretch, limit, max_bytes) for stretch in stretches]


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
        rows = run(conn, parse(data.query), timeout_ms=timeout_ms, max_bytes=max_bytes)
    except OnexError as error:
        return _failed(data, str(error))
    except Exception as error:
        if fate_of(error) is not Fate.SUSPECT:
            raise
        demand_rows(conn, error, Limits())
        return _failed(data, f"the database failed at the query while it takes others: {what_was_said(error)}")
    took_ms = round((clock() - started) * 1000, 3)
    told = {"success": True, "rows": rows, "rows_affected": len(rows), "execution_time_ms": took_ms}
    return AnsweredQueryData(query=data.query, succeeded=True, answer=told)


def _failed(data: AnswerQueryData, message: str) -> AnsweredQueryData:
    return AnsweredQueryData(query=data.query, succeeded=False, answer={"success": False, "error": message})


def _query(
    given: Mapping[str, Any], entity: Entity, filters: tuple[Filter, ...], *, sort_by: str, page: object = None
) -> Query:
    """`sort_by` is for a query that names none."""
    sort_by = check_name(given.get("sort_by", sort_by), "sort_by")
    if entity.kind_of(sort_by) in UNORDERED:
        raise invalid(f"sort_by: {sort_by} has no order")
    sort_order = given.get("sort_order", "desc")
    if not isinstance(sort_order, str) or sort_order.lower() not in ("asc", "desc"):
        raise invalid("sort_order: neither 'asc' nor 'desc'")
    order = Order(entity, sort_by, sort_order.lower() == "desc", nullable=sort_by in _NULLABLE[entity.table])
    limit = _bounded(given, "limit", MAX_LIMIT, default=MAX_ROWS)
    offset = _bounded(given, "offset", MAX_OFFSET, default=0)
    if page is None:
        return Query(entity, filters, order, limit, offset)
    if "offset" in given:
        raise invalid("offset: a page begins where the last one ended, not at an offset; give one of the two")
    if limit == 0:
        raise invalid("limit: a page has at least one row")
    return Query(entity, filters, order, limit, offset=0, paged=True, after=position(order, page))


def _items(
    conn: Connection[Any], request: Mapping[str, Any], *, timeout_ms: int, max_bytes: int, row_bytes: int
) -> tuple[dict[str, Any], int]:
    query, strict = parse_generic(request), request.get("strict_jsonb_validation")
    if strict is not None and not isinstance(strict, bool):
        raise invalid("strict_jsonb_validation: neither true nor false")
    wanted = query.limit + 1 if query.paged else query.limit  # one more shows whether there is a next page
    texts = _texts(conn, query, wanted, timeout_ms=timeout_ms, max_bytes=max_bytes)
    told = fitting(texts[: query.limit], max_bytes, row_bytes)
    more = len(told) < len(texts)
    if more and not (query.paged and told):
        raise invalid(TOO_LARGE.format(max_bytes if told else max(max_bytes, row_bytes)))
    rows = rows_of(query.entity, told, strict=strict is not False)
    result: dict[str, Any] = {"items": rows}
    if query.paged:
        result["next_page"] = token(query.order, rows[-1]) if more else None
    return result, len(rows)


def _texts(conn: Connection[Any], query: Query, limit: int, *, timeout_ms: int, max_bytes: int) -> list[str]:
    """At most `limit` rows; two at least, if there are, and then those that fit and a few more."""
    field = "filters" if query.after is None else "page"
    asked = statements(query, limit, max_bytes)
    if len(asked) == 1:
        return [row for (row,) in _fetch(conn, asked[0], timeout_ms=timeout_ms, field=field)]
    texts: list[str] = []
    with reading(conn, timeout_ms=timeout_ms, field=field):
        for text, values in asked:
            texts += [row for (row,) in conn.execute(text, values)]
            if len(texts) >= limit or len(fitting(texts, max_bytes)) < len(texts):
                break
    return texts[:limit]


def _statement(query: Query, stretch: Part, limit: int, max_bytes: int | None) -> Statement:
    condition, values = condition_of(query.entity, query.filters)
    # row_to_json writes the text at once, without making a jsonb of it first: half the time. "offset 0" keeps
    # PostgreSQL from making each text anew wherever it is named.
    text = (
        "select row from (select row, sum(octet_length(row)) over (rows between unbounded preceding and 2 preceding)"
        " as before_last from (select row_to_json(found)::text as row from"
        f" (select {_columns(query.entity)} from {query.entity.table} where {condition} and {stretch.condition}"
        f" order by {stretch.order} limit {limit:d} offset {query.offset:d}) as found"
        " offset 0) as texts) as sizes where before_last is null or before_last <= %s"
    )
    return text.encode(), [*values, *stretch.values, max_bytes]


@cache
def _columns(entity: Entity) -> str:
    return sql.SQL(", ").join(map(sql.Identifier, entity.columns)).as_string()


def _fetch(conn: Connection[Any], statement: Statement, *, timeout_ms: int, field: str) -> list[tuple[Any, ...]]:
    """The rows that one statement finds, with one wait for PostgreSQL. Raises as `reading` does."""
    text, values = statement
    if limit_of(conn) == timeout_ms:
        with told(timeout_ms=timeout_ms, field=field):
            return conn.execute(text, values).fetchall()
    with reading(conn, timeout_ms=timeout_ms, field=field):
        cursor = conn.execute(text, values)
    return cursor.fetchall()


def _bounded(given: Mapping[str, Any], name: str, most: int, *, default: int) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise invalid(f"{name}: not an integer from 0 to {most}")
    return value


_ALWAYS_THERE = MADE_BY_DATABASE - {"heartbeat_received_at"}  # which is made when a first heartbeat comes
_NULLABLE = {
    entity.table: frozenset(
        column for column in entity.columns if column not in _ALWAYS_THERE and takes_null(EnumEntityType(name), column)
    )
    for name, entity in ENTITIES.items()
}
