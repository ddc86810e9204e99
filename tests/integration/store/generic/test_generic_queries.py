"""Generic reads against Python over the same rows: every entity, column, operator and order; and what is refused."""

import json
import operator
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from omninode_bridge.contract.enums import EnumCoreErrorCode, EnumEntityType
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence.entities import checked_fields
from store.database.pool import Pool, PoolConfig
from store.generic import queries
from store.generic.entities import ENTITIES, Entity, Kind
from store.write.apply import apply
from tests import factories

Conn = psycopg.Connection[Any]
Row = dict[str, Any]

ROWS = 40
IDS = [UUID(int=number << 80 | 7 << 76 | 2 << 62) for number in range(1, ROWS + 1)]
EPOCH = datetime(2026, 11, 1, tzinfo=UTC)
POOLS: dict[Kind, list[Any]] = {  # few values, so that rows tie; JSON as it travels
    "uuid": [str(id_) for id_ in IDS[:4]],
    "text": ["a", "B", "ab", "it's", 'q"; --', "%_", "Ünï", ""],
    "instant": [(EPOCH + timedelta(microseconds=number * 333_333)).isoformat() for number in range(5)],
    "integer": [1, 2, 7, 2**31 - 1],
    "number": [0, 0.1, 2.5, 12.34, 99999999.99],
    "json": [{}, {"a": 1}, {"a": [1, "x", None]}, {"n": 1e22}],
    "texts": [[], ["a"], ["a", "b"]],
    "uuids": [[], [str(IDS[0])], [str(IDS[1]), str(IDS[0])]],
}
CLOSED = {"liveness": ["FRESH", "STALE", "DEAD"]}  # columns that take no other text
UNORDERED = ("json", "texts", "uuids")
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda found, listed: found in listed,
}
ENTITY_TYPES = [name for name in ENTITIES if name != "node_health_metrics"]


def typed(kind: Kind, value: Any) -> Any:
    """A JSON value as Python compares it."""
    if value is None:
        return None
    if kind == "instant":
        return datetime.fromisoformat(value)
    if kind == "number":
        return Decimal(str(value))
    return UUID(value) if kind == "uuid" else value


def typed_row(entity: Entity, row: Row) -> Row:
    return {name: typed(kind, row[name]) for name, kind in entity.columns.items()}


def written(entity_type: str, column: str, value: Any) -> Any:
    """Text as a write puts it, or as it is where no write takes it."""
    if isinstance(value, list) and column != "unique_file_types":
        return [written(entity_type, column, one) for one in value]
    try:
        return checked_fields(EnumEntityType(entity_type), {column: value}, partial=True)[column]
    except OnexError:
        return value


def key_of(entity: Entity, row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in entity.key)


def nullable_columns(conn: Conn, entity: Entity) -> set[str]:
    found = conn.execute(
        "select column_name from information_schema.columns where table_name = %s and is_nullable = 'YES'",
        (entity.table,),
    )
    return {name for (name,) in found}


def fill(conn: Conn, entity: Entity) -> list[Row]:
    """Rows of few values and many nulls, as Python has them."""
    draw, nullable = random.Random(entity.table), nullable_columns(conn, entity)
    rows = []
    for number in range(ROWS):
        row = {
            name: None if name in nullable and draw.random() < 0.3 else draw.choice(CLOSED.get(name, POOLS[kind]))
            for name, kind in entity.columns.items()
        }
        if "id" in row:
            row["id"] = str(IDS[number])
        if entity.table == "workflow_executions":
            row["correlation_id"] = str(IDS[-number - 1])
        if entity.table == "bridge_states":
            row |= {"bridge_id": str(IDS[number // 3]), "namespace": f"n{number % 3}"}
        if entity.table == "node_registrations":
            row["node_id"] = f"node-{number}"
        rows.append(row)
    columns = sql.SQL(", ").join(map(sql.Identifier, entity.columns))
    conn.execute(
        sql.SQL("insert into {0} ({1}) select {1} from jsonb_populate_recordset(null::{0}, %s)").format(
            sql.Identifier(entity.table), columns
        ),
        (Jsonb(rows),),
    )
    return [typed_row(entity, row) for row in rows]


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with factories.store_connection(database_any) as connection:
        yield connection


@pytest.fixture
def filled(conn: Conn) -> dict[str, list[Row]]:
    """Rows of every entity; workflows first, whose ids are what the others refer to."""
    return {name: fill(conn, ENTITIES[name]) for name in ENTITY_TYPES}


def read(conn: Conn, operation: str = "query", **request: Any) -> dict[str, Any]:
    request = {"entity_type": "workflow_execution", "strict_jsonb_validation": False} | request
    result, affected = queries.read(
        conn, {"operation_type": operation} | request, timeout_ms=5000, max_bytes=4 * 1024 * 1024
    )
    assert affected == len(result.get("items", []))
    return result


def pages(conn: Conn, **request: Any) -> Iterator[list[Row]]:
    page: str | None = ""
    while page is not None:
        answer = read(conn, **request, page=page)
        yield answer["items"]
        page = answer["next_page"]


def refusal(conn: Conn, operation: str = "query", **request: Any) -> OnexError:
    with pytest.raises(OnexError) as caught:
        read(conn, operation, **request)
    return caught.value


def comparisons(kind: Kind, pool: list[Any]) -> Iterator[tuple[str, Any]]:
    """Every operator that fits, with a value that rows have, and one that none may have; None and lists."""
    yield from (("__eq", None), ("__ne", None), ("", None))
    for value in (pool[1], pool[-1]):
        yield "", value
        for name in ("eq", "ne") if kind in UNORDERED else ("eq", "ne", "gt", "gte", "lt", "lte"):
            yield f"__{name}", value
    if kind not in ("texts", "uuids"):
        yield from (("__in", pool[:2]), ("__in", []))


def matches(kind: Kind, found: Any, suffix: str, value: Any) -> bool:
    name = suffix.removeprefix("__") or "eq"
    if value is None:
        return (found is None) is (name == "eq")
    wanted = [typed(kind, one) for one in value] if name == "in" else typed(kind, value)
    return found is not None and COMPARE[name](found, wanted)


@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_every_operator_on_every_column_finds_what_python_finds(
    conn: Conn, filled: dict[str, list[Row]], entity_type: str
) -> None:
    entity, rows = ENTITIES[entity_type], filled[entity_type]
    found_some = 0
    for column, kind in entity.columns.items():
        for suffix, value in comparisons(kind, CLOSED.get(column, POOLS[kind])):
            asked: Any = {"entity_type": entity_type, "query_filters": {column + suffix: value}}
            wanted = written(entity_type, column, value) if kind in ("text", "texts") else value
            expected = [row for row in rows if matches(kind, row[column], suffix, wanted)]
            items = [typed_row(entity, row) for row in read(conn, **asked)["items"]]
            by_key = sorted(expected, key=lambda row: key_of(entity, row), reverse=True)
            assert items == by_key, (column, suffix, value)
            assert read(conn, "count", **asked) == {"count": len(expected)}
            assert read(conn, "exists", **asked) == {"exists": bool(expected)}
            found_some += 0 < len(expected) < len(rows)
    assert found_some > 2 * len(entity.columns), "the rows tell operators apart"


@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_every_order_is_pythons_by_offset_and_by_page(
    conn: Conn, filled: dict[str, list[Row]], entity_type: str
) -> None:
    entity, rows = ENTITIES[entity_type], filled[entity_type]
    sortable = [name for name, kind in entity.columns.items() if kind not in UNORDERED]
    for column in sortable:
        for sort_order in ("asc", "desc"):
            asked: Any = {"entity_type": entity_type, "sort_by": column, "sort_order": sort_order}
            expected = [key_of(entity, row) for row in in_order(entity, rows, column, sort_order == "desc")]

            def keys(items: list[Row]) -> list[tuple[Any, ...]]:
                return [key_of(entity, typed_row(entity, row)) for row in items]

            assert keys(read(conn, **asked)["items"]) == expected, asked
            assert [key for items in pages(conn, **asked, limit=7) for key in keys(items)] == expected, asked
            by_offset = [read(conn, **asked, limit=9, offset=offset)["items"] for offset in range(0, ROWS, 9)]
            assert keys([row for items in by_offset for row in items]) == expected, asked


def in_order(entity: Entity, rows: list[Row], column: str, descending: bool) -> list[Row]:
    """By value, then key; rows without a value last, in both directions."""
    told = [row for row in rows if row[column] is not None]
    untold = [row for row in rows if row[column] is None]
    told.sort(key=lambda row: (row[column], key_of(entity, row)), reverse=descending)
    return told + sorted(untold, key=lambda row: key_of(entity, row), reverse=descending)


def test_a_column_is_ordered_as_one_without_nulls_only_where_the_table_says_so(conn: Conn) -> None:
    for entity_type in ENTITY_TYPES:
        entity = ENTITIES[entity_type]
        ordered = {name for name, kind in entity.columns.items() if kind not in UNORDERED}
        known = {
            name for name in ordered if queries.parse({"entity_type": entity_type, "sort_by": name}).order.nullable
        }
        assert known == nullable_columns(conn, entity) & ordered


def test_health_metrics_are_the_nodes(conn: Conn) -> None:
    assert all(outcome.committed for outcome in apply(conn, [factories.heartbeat("node-1")]))
    nodes = read(conn, entity_type="NODE_HEALTH_METRICS", strict_jsonb_validation=True)["items"]
    assert nodes == read(conn, entity_type="node_heartbeat")["items"] and nodes[0]["node_id"] == "node-1"


def test_everything_is_counted_without_filters_but_exists_needs_some(conn: Conn) -> None:
    assert read(conn, "count") == {"count": 0} == read(conn, "count", query_filters={})
    assert all(outcome.committed for outcome in apply(conn, [factories.execution() for _ in range(3)]))
    assert read(conn, "count") == {"count": 3}
    for without in ('{"query_filters": null}', '{"query_filters": {}}', "{}"):
        error = refusal(conn, "exists", **json.loads(without))
        assert error.error_code is EnumCoreErrorCode.VALIDATION_ERROR
        assert "query_filters" in error.message and "required" in error.message


@pytest.mark.parametrize("operation", ["query", "count", "exists"])
def test_an_entity_that_is_none_is_named_before_anything_else(conn: Conn, operation: str) -> None:
    error = refusal(conn, operation, entity_type="secrets", query_filters={"; drop": 1}, limit=-1)
    assert error.message.startswith("entity_type: not one of workflow_execution")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"query_filters": {"1; drop table x": 1}}, "query_filters: SQL identifier contains invalid characters"),
        ({"query_filters": {"namespace__like": "a"}}, "namespace: Unsupported operator 'like'"),
        ({"query_filters": [1]}, "query_filters: not an object"),
        ({"sort_by": "id desc"}, "sort_by: SQL identifier contains invalid characters"),
        ({"sort_by": ["id"]}, "sort_by: SQL identifier must be a non-empty string"),
        ({"sort_by": "metadata"}, "sort_by: metadata has no order"),
        ({"sort_by": "clocks"}, "'clocks': no column"),
        ({"sort_order": "desc; drop"}, "sort_order: neither"),
        ({"limit": 1001}, "limit: not an integer from 0 to 1000"),
        ({"limit": False}, "limit: not an integer"),
        ({"limit": "1"}, "limit: not an integer"),
        ({"offset": 100_001}, "offset: not an integer from 0 to 100000"),
        ({"offset": True}, "offset: not an integer"),
        ({"strict_jsonb_validation": "yes"}, "strict_jsonb_validation: neither"),
    ],
)
def test_what_is_wrong_with_a_request_is_named(conn: Conn, request_: dict[str, Any], message: str) -> None:
    error = refusal(conn, **request_)
    assert error.error_code is EnumCoreErrorCode.VALIDATION_ERROR
    assert message in error.message


def test_a_row_that_its_model_does_not_take_is_told_by_field_or_shown_as_it_is(conn: Conn) -> None:
    assert all(outcome.committed for outcome in apply(conn, [factories.execution() for _ in range(2)]))
    conn.execute(
        "update workflow_executions set metadata = '[1]' where id = (select min(id::text)::uuid from {0})".replace(
            "{0}", "workflow_executions"
        )
    )
    error = refusal(conn, strict_jsonb_validation=True)
    assert error.error_code is EnumCoreErrorCode.DATABASE_QUERY_ERROR
    assert error.message.startswith("metadata: ") and "correlation_id" in error.message
    assert refusal(conn, strict_jsonb_validation=None).message == error.message, "strict unless told otherwise"
    assert sorted(str(row["metadata"]) for row in read(conn)["items"]) == ["[1]", "{}"]
    assert len(read(conn, strict_jsonb_validation=True, query_filters={"metadata": {}})["items"]) == 1


def test_numbers_come_back_as_they_were_told(conn: Conn) -> None:
    metadata = {"large": 1e22, "small": 1e-7, "whole": 2**63 - 1, "tenth": 0.1}
    assert all(outcome.committed for outcome in apply(conn, [factories.execution(metadata=metadata)]))
    assert read(conn, strict_jsonb_validation=True)["items"][0]["metadata"] == metadata
    conn.execute("update workflow_executions set metadata = jsonb_build_object('n', 10::numeric ^ 400)")
    error = refusal(conn)
    assert error.error_code is EnumCoreErrorCode.DATABASE_QUERY_ERROR and "cannot be read" in error.message


def test_an_answer_has_a_bound_in_bytes_and_postgresql_stops_there(conn: Conn) -> None:
    big = [factories.execution(metadata={"text": "x" * 10_000}) for _ in range(50)]
    assert all(outcome.committed for outcome in apply(conn, big))
    request = {"operation_type": "query", "entity_type": "workflow_execution"}
    with pytest.raises(OnexError, match="VALIDATION_ERROR: limit: the answer has more than 30000 bytes"):
        queries.read(conn, request, timeout_ms=5000, max_bytes=30_000)
    query = queries.parse({"entity_type": "workflow_execution"})
    ((text, values),) = queries.statements(query, 1000, 30_000)
    assert len(conn.execute(text, values).fetchall()) == 4, "and one that says whether there is more"
    assert len(queries.read(conn, request | {"limit": 2}, timeout_ms=5000, max_bytes=30_000)[0]["items"]) == 2


@pytest.mark.parametrize("operation", ["query", "count", "exists"])
def test_a_read_that_takes_too_long_is_given_up(conn: Conn, database_any: str, operation: str) -> None:
    asked = {"operation_type": operation, "entity_type": "workflow_execution", "query_filters": {"namespace": "a"}}
    with psycopg.connect(database_any) as other:
        other.execute("lock table workflow_executions")
        with pytest.raises(OnexError, match="longer than 50 ms") as caught:
            queries.read(conn, asked, timeout_ms=50, max_bytes=1000)
    assert caught.value.error_code is EnumCoreErrorCode.TIMEOUT
    assert queries.read(conn, asked, timeout_ms=5000, max_bytes=1000)[1] == 0, "the connection works on"
    assert conn.execute("show statement_timeout").fetchone() == ("0",)


@pytest.mark.parametrize(("own_ms", "asked_ms"), [(50, 50), (30_000, 50), (50, 5000)])
def test_the_limit_that_counts_is_the_readers_whatever_the_connections_own(
    conn: Conn, database_any: str, own_ms: int, asked_ms: int
) -> None:
    asked = {"operation_type": "count", "entity_type": "workflow_execution"}
    pool = Pool(PoolConfig(database_any, "test", statement_timeout_ms=own_ms, lock_timeout_ms=600_000))
    pool.open()
    try:
        with pool.connection() as pooled, psycopg.connect(database_any) as other:
            other.execute("lock table workflow_executions")
            if asked_ms > own_ms:
                threading.Timer(0.3, other.rollback).start()
                assert queries.read(pooled, asked, timeout_ms=asked_ms, max_bytes=1000)[0] == {"count": 0}
                return
            with pytest.raises(OnexError, match=f"TIMEOUT: query: took longer than {asked_ms} ms"):
                queries.read(pooled, asked, timeout_ms=asked_ms, max_bytes=1000)
            other.rollback()
            assert queries.read(pooled, asked, timeout_ms=asked_ms * 100, max_bytes=1000)[0] == {"count": 0}
    finally:
        pool.close()


def test_a_read_could_not_write_if_it_tried(conn: Conn) -> None:
    """A view whose rows are made by a function that writes stands for whatever might."""
    conn.execute("create table written (n integer)")
    conn.execute(
        "create function writes() returns uuid language sql as 'insert into written values (1); select uuid_v7()'"
    )
    conn.execute("alter table workflow_executions rename to told")
    names = [name for name in ENTITIES["workflow_execution"].columns if name != "session_id"]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    conn.execute(
        sql.SQL("create view workflow_executions as select writes() as session_id, {} from told").format(columns)
    )
    conn.execute("insert into told (correlation_id) values (uuid_v7())")
    conn.execute("select session_id from workflow_executions")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        read(conn)
    assert conn.execute("select count(*) from written").fetchone() == (1,)
