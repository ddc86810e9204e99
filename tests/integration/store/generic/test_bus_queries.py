"""Queries over the entities: what they find, in which order, and what is said of those that are wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.query_operation import AnswerQueryData
from store.generic import queries
from store.generic.entities import ENTITIES
from store.outbox.announcements import AnsweredQueryData
from store.write.apply import apply
from tests import factories

START = datetime(2026, 11, 1, tzinfo=UTC)
WORKFLOWS = [UUID(int=number, version=4) for number in range(1, 8)]
HIDDEN = {"clocks", "contributed_workflows_processed", "contributed_items_aggregated", "contributed_size_bytes"} | {
    "stalled_at",
    "liveness_announced",
}
KINDS = {
    "uuid": "uuid",
    "character varying": "text",
    "text": "text",
    "timestamp with time zone": "instant",
    "integer": "integer",
    "bigint": "integer",
    "numeric": "number",
    "jsonb": "json",
}


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A store with seven workflows, the first six of them started a minute apart, and some of everything else."""
    with factories.store_connection(database) as connection:
        workflows = [
            factories.execution(
                WORKFLOWS[number],
                state="COMPLETED" if number % 2 else "PROCESSING",
                started_at=None if number == 6 else START + timedelta(minutes=number),
                execution_time_ms=number,
                namespace="odd" if number % 2 else "it's; drop table x--",
                metadata={"n": number},
            )
            for number in range(7)
        ]
        others = [factories.step(WORKFLOWS[0]), factories.transition(WORKFLOWS[0]), factories.stamp(WORKFLOWS[0])]
        others += [factories.bridge_state(WORKFLOWS[0], unique_file_types=["a", "b"]), factories.heartbeat("node-1")]
        assert all(outcome.committed for outcome in apply(connection, [*workflows, *others]))
        yield connection


def found(conn: psycopg.Connection[Any], **query: Any) -> list[dict[str, Any]]:
    rows = queries.run(conn, queries.parse({"entity_type": "workflow_execution"} | query), timeout_ms=5000)
    assert all(set(row) == set(ENTITIES["workflow_execution"].columns) for row in rows)
    return rows


def numbers(conn: psycopg.Connection[Any], **filters: Any) -> list[int]:
    return sorted(row["execution_time_ms"] for row in found(conn, filters=filters))


def test_the_entities_are_the_tables_without_what_the_fold_keeps_for_itself(conn: psycopg.Connection[Any]) -> None:
    for entity in ENTITIES.values():
        columns = conn.execute(
            "select column_name, data_type, udt_name from information_schema.columns where table_name = %s",
            (entity.table,),
        ).fetchall()
        lists = {"_text": "texts", "_uuid": "uuids"}
        kinds = {name: lists[udt] if kind == "ARRAY" else KINDS[kind] for name, kind, udt in columns}
        assert {name: kind for name, kind in kinds.items() if name not in HIDDEN} == entity.columns
        assert set(entity.key) <= set(entity.columns) and entity.columns[entity.newest_first] == "instant"


@pytest.mark.parametrize("entity_type", ENTITIES)
def test_every_entity_can_be_asked_for(conn: psycopg.Connection[Any], entity_type: str) -> None:
    rows = queries.run(conn, queries.parse({"entity_type": entity_type.upper()}), timeout_ms=5000)
    assert len(rows) == (7 if entity_type == "workflow_execution" else 1)
    assert set(rows[0]) == set(ENTITIES[entity_type].columns)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6]),
        ({"execution_time_ms": 3}, [3]),
        ({"execution_time_ms__eq": 3}, [3]),
        ({"execution_time_ms__ne": 3}, [0, 1, 2, 4, 5, 6]),
        ({"execution_time_ms__gt": 4}, [5, 6]),
        ({"execution_time_ms__gte": 4}, [4, 5, 6]),
        ({"execution_time_ms__lt": 1}, [0]),
        ({"execution_time_ms__lte": 1}, [0, 1]),
        ({"execution_time_ms__in": [1, 5, 99]}, [1, 5]),
        ({"execution_time_ms__in": []}, []),
        ({"started_at": None}, [6]),
        ({"started_at__ne": None}, [0, 1, 2, 3, 4, 5]),
        ({"started_at__gte": "2026-11-01T00:04:00Z"}, [4, 5]),
        ({"started_at__lt": "2026-11-01T01:01:00+01:00"}, [0]),
        ({"namespace": "it's; drop table x--"}, [0, 2, 4, 6]),
        ({"namespace": "odd", "execution_time_ms__gt": 1}, [3, 5]),
        ({"namespace": "' or 1=1 --"}, []),
        ({"correlation_id__in": [str(WORKFLOWS[2])]}, [2]),
        ({"metadata": {"n": 5}}, [5]),
        ({"metadata__in": [{"n": 1}, {"n": 2}]}, [1, 2]),
    ],
)
def test_filters_are_joined_by_and(conn: psycopg.Connection[Any], filters: dict[str, Any], expected: list[int]) -> None:
    assert numbers(conn, **filters) == expected


def test_pages_neither_repeat_nor_skip_rows_that_tie(conn: psycopg.Connection[Any]) -> None:
    pages = [found(conn, sort_by="namespace", sort_order="ASC", limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    rows = [row for page in pages for row in page]
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    assert [(row["namespace"], row["correlation_id"]) for row in rows] == sorted(
        (row["namespace"], row["correlation_id"]) for row in rows
    )
    assert len({row["id"] for row in rows}) == 7


def test_rows_that_lack_what_is_sorted_by_come_last(conn: psycopg.Connection[Any]) -> None:
    for order in ("asc", "desc"):
        assert found(conn, sort_by="started_at", sort_order=order)[-1]["execution_time_ms"] == 6
    assert found(conn, sort_by="started_at", limit=1)[0]["execution_time_ms"] == 5
    assert found(conn, limit=0) == []


def test_lists_are_compared_whole(conn: psycopg.Connection[Any]) -> None:
    for types, rows in ((["a", "b"], 1), (["a"], 0)):
        query = queries.parse({"entity_type": "bridge_state", "filters": {"unique_file_types": types}})
        assert len(queries.run(conn, query, timeout_ms=5000)) == rows


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"entity_type": "secrets"}, "entity_type: not one of workflow_execution"),
        ({"entity_type": None}, "entity_type: not one of"),
        ({"filters": [1]}, "filters: not an object"),
        ({"filters": {"nobody": 1}}, "'nobody': no column of workflow_executions"),
        ({"filters": {"clocks": {}}}, "'clocks': no column"),
        ({"filters": {"id; drop table x": 1}}, "filters: SQL identifier contains invalid characters"),
        ({"filters": {"": 1}}, "filters: SQL identifier must be a non-empty string"),
        ({"filters": {"namespace__like": "a"}}, "namespace: Unsupported operator 'like'"),
        ({"filters": {"metadata__gt": {}}}, "metadata: has no order"),
        ({"filters": {"started_at__gt": None}}, "started_at__gt: null has no order"),
        ({"filters": {"started_at": "yesterday"}}, "started_at: not a value"),
        ({"filters": {"execution_time_ms": True}}, "execution_time_ms: not a value"),
        ({"filters": {"execution_time_ms": 2**63}}, "execution_time_ms: not a value"),
        ({"filters": {"id": "x"}}, "id: not a value that uuid"),
        ({"filters": {"namespace": "a\0b"}}, "namespace: not a value"),
        ({"filters": {"namespace": "\ud800"}}, "namespace: not a value"),
        ({"filters": {"namespace__in": "a"}}, "namespace__in: not a list"),
        ({"filters": {"namespace__in": [None]}}, "namespace__in: null"),
        ({"sort_by": "metadata"}, "sort_by: metadata has no order"),
        ({"sort_by": "1"}, "sort_by: SQL identifier contains invalid characters"),
        ({"sort_by": "a" * 64}, "sort_by: SQL identifier is too long"),
        ({"sort_by": "nobody"}, "'nobody': no column"),
        ({"sort_order": "up"}, "sort_order: neither"),
        ({"limit": 1001}, "limit: not an integer from 0 to 1000"),
        ({"limit": True}, "limit: not an integer"),
        ({"offset": -1}, "offset: not an integer from 0 to 100000"),
    ],
)
def test_what_is_wrong_with_a_query_is_named(query: dict[str, Any], message: str) -> None:
    with pytest.raises(OnexError, match=r"^VALIDATION_ERROR: ") as caught:
        queries.parse({"entity_type": "workflow_execution"} | query)
    assert message in caught.value.message and len(caught.value.message) < 250


def test_an_answer_holds_rows_or_what_was_wrong(conn: psycopg.Connection[Any]) -> None:
    def answer(max_bytes: int = 100_000, **query: Any) -> AnsweredQueryData:
        return queries.answer(conn, AnswerQueryData(query=query), timeout_ms=5000, max_bytes=max_bytes)

    good = answer(entity_type="workflow_execution", filters={"execution_time_ms__in": [1, 2]})
    assert good.succeeded and good.answer["success"] is True and good.answer["rows_affected"] == 2
    assert [row["correlation_id"] for row in good.answer["rows"]] and good.answer["execution_time_ms"] > 0
    wrong = answer(entity_type="x")
    assert not wrong.succeeded and wrong.answer["error"].startswith("VALIDATION_ERROR: entity_type")
    large = answer(max_bytes=100, entity_type="workflow_execution")
    assert not large.succeeded and "ask for fewer rows" in large.answer["error"]


def test_a_query_that_takes_too_long_is_given_up(conn: psycopg.Connection[Any], database: str) -> None:
    query = queries.parse({"entity_type": "workflow_execution"})
    with psycopg.connect(database) as other:
        other.execute("lock table workflow_executions")
        with pytest.raises(OnexError, match="longer than 50 ms") as caught:
            queries.run(conn, query, timeout_ms=50)
    assert caught.value.error_code is EnumCoreErrorCode.TIMEOUT
    assert len(queries.run(conn, query, timeout_ms=5000)) == 7, "the connection works on"


def test_a_query_changes_nothing(conn: psycopg.Connection[Any]) -> None:
    before = conn.execute("select count(*) from operations").fetchone()
    found(conn, filters={"correlation_id": str(uuid4())})
    assert conn.execute("select count(*) from operations").fetchone() == before
