"""Keyset pages: each row once, however many tie or lack a value, whatever changes meanwhile; by index; and tokens."""

import base64
import json
from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from omninode_bridge.contract.clock import now
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from store.database.session import SESSION_SETTINGS
from store.generic import queries
from store.write.apply import apply
from tests import factories

Conn = psycopg.Connection[Any]
MANY = 100_000
MAX_BYTES = 4 * 1024 * 1024
# Ties in both columns; every third row has not started.
WORKFLOWS: LiteralString = """
    insert into workflow_executions (id, correlation_id, namespace, created_at, started_at)
    select i, i, 'n' || n %% 3, now() - n / 40 * interval '1 second',
      case when n %% 3 > 0 then now() - n / 50 * interval '1 second' end
    from (select n, gen_random_uuid() as i from generate_series(1, %(rows)s) as n) as made
"""


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with factories.store_connection(database) as connection:
        yield connection


def fill(conn: Conn, rows: int) -> None:
    conn.execute(WORKFLOWS, {"rows": rows})


def read(conn: Conn, *, max_bytes: int = MAX_BYTES, **request: Any) -> dict[str, Any]:
    request = {"operation_type": "query", "entity_type": "workflow_execution", "limit": 1000} | request
    return queries.read(conn, request, timeout_ms=20_000, max_bytes=max_bytes)[0]


def pages(conn: Conn, *, max_bytes: int = MAX_BYTES, **request: Any) -> Iterator[list[dict[str, Any]]]:
    page: str | None = ""
    while page is not None:
        answer = read(conn, max_bytes=max_bytes, **request, page=page)
        yield answer["items"]
        page = answer["next_page"]


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in items]


def refusal(conn: Conn, **request: Any) -> str:
    with pytest.raises(OnexError) as caught:
        read(conn, **request)
    assert caught.value.error_code is EnumCoreErrorCode.VALIDATION_ERROR
    return caught.value.message


def test_a_hundred_thousand_rows_are_each_seen_once_by_page_and_by_offset(conn: Conn) -> None:
    fill(conn, MANY)
    conn.execute("analyze workflow_executions")
    order: Any = {"sort_by": "started_at", "strict_jsonb_validation": False}
    by_page = [id_ for items in pages(conn, **order) for id_ in ids(items)]
    assert len(by_page) == MANY == len(set(by_page))
    for offset in range(0, MANY, 9000):  # some suffice: they are cut from the same order
        assert ids(read(conn, **order, offset=offset)["items"]) == by_page[offset : offset + 1000]
    assert read(conn, **order, offset=MANY)["items"] == []
    by_offset = [
        id_ for offset in range(0, MANY, 1000) for id_ in ids(read(conn, offset=offset, sort_order="asc")["items"])
    ]
    assert by_offset == sorted(by_page)  # the default order is the key's


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
@pytest.mark.parametrize("sort_by", ["started_at", "namespace", "created_at", "correlation_id"])
def test_filters_hold_on_every_page(conn: Conn, sort_by: str, sort_order: str) -> None:
    fill(conn, 300)
    order: Any = {"sort_by": sort_by, "sort_order": sort_order, "query_filters": {"namespace__in": ["n0", "n2"]}}
    seen = [id_ for items in pages(conn, **order, limit=17) for id_ in ids(items)]
    assert seen == ids(read(conn, **order)["items"]) and len(set(seen)) == 200


def test_rows_that_come_and_go_meanwhile_move_no_other(conn: Conn) -> None:
    fill(conn, 100)
    before = ids(read(conn)["items"])
    seen: list[str] = []
    for number, items in enumerate(pages(conn, limit=10)):
        seen += ids(items)
        conn.execute("delete from workflow_executions where id = %s", (seen[-1],))  # the one that the token names
        passed = UUID(int=2**128 - 1 - number)  # the pages come down from the greatest
        conn.execute("insert into workflow_executions (id, correlation_id) values (%(id)s, %(id)s)", {"id": passed})
    assert seen == before


def test_the_last_page_says_so_even_when_it_is_full(conn: Conn) -> None:
    assert read(conn, page="") == {"items": [], "next_page": None}
    fill(conn, 20)
    assert [len(items) for items in pages(conn, limit=10)] == [10, 10]
    assert "next_page" not in read(conn, limit=10)


def test_a_page_ends_before_what_would_not_fit(conn: Conn) -> None:
    big = [factories.execution(metadata={"text": "x" * 10_000}) for _ in range(20)]
    assert all(outcome.committed for outcome in apply(conn, big))
    seen = [ids(items) for items in pages(conn, max_bytes=35_000)]
    assert [len(items) for items in seen] == [3] * 6 + [2]
    assert [id_ for items in seen for id_ in items] == ids(read(conn)["items"])
    assert [len(items) for items in pages(conn, max_bytes=5_000)] == [1] * 20


@pytest.mark.parametrize("sort_by", ["created_at", "started_at"])
def test_a_row_that_is_larger_than_any_answer_is_read_alone(conn: Conn, sort_by: str) -> None:
    """By what none lacks, and by what the second row lacks: two statements."""
    large = factories.execution(metadata={"text": "x" * 10_000}, started_at=now())
    for batch in ([factories.execution() for _ in range(3)], [large]):
        assert all(outcome.committed for outcome in apply(conn, batch))
    seen = [ids(items) for items in pages(conn, sort_by=sort_by, max_bytes=5_000)]
    assert [len(items) for items in seen] == [1, 3]
    with pytest.raises(OnexError, match="limit: the answer has more than 5000 bytes"):
        read(conn, sort_by=sort_by, max_bytes=5_000)
    assert ids(read(conn, sort_by=sort_by, limit=1, max_bytes=5_000)["items"]) == seen[0]
    by_key = {"correlation_id": str(large.data.correlation_id)}  # type: ignore[attr-defined]  # a workflow's data
    assert ids(read(conn, query_filters=by_key, max_bytes=5_000)["items"]) == seen[0], "nothing else is found"


@pytest.mark.parametrize("value", ["infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "12026-01-01 00:00:00+00"])
def test_an_instant_that_python_has_not_is_no_hindrance(conn: Conn, value: str) -> None:
    fill(conn, 9)
    conn.execute(
        "update workflow_executions set created_at = %s where id in (select id from workflow_executions limit 4)",
        (value,),
    )
    asked: Any = {"sort_by": "created_at", "strict_jsonb_validation": False}
    assert len({id_ for items in pages(conn, **asked, limit=2) for id_ in ids(items)}) == 9


def token(conn: Conn, **request: Any) -> str:
    return str(read(conn, **request, limit=2, page="")["next_page"])


def changed(text: str, position: int, value: Any) -> str:
    told = json.loads(base64.urlsafe_b64decode(text))
    told[position] = value
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode()


def test_a_token_is_good_for_its_own_order_only(conn: Conn) -> None:
    fill(conn, 5)
    good = token(conn, sort_by="created_at")
    assert len(read(conn, sort_by="created_at", page=good)["items"]) == 3
    for other in ({}, {"sort_by": "started_at"}, {"sort_by": "created_at", "sort_order": "asc"}):
        assert refusal(conn, **other, page=good).startswith("page: of a query with another")
    assert refusal(conn, entity_type="node_heartbeat", page=token(conn)).startswith("page: of a query with another")


@pytest.mark.parametrize("page", ["x", "!!!!", "é", "bnVsbA==", "W10=", "e30=", "MQ==", "[" * 5000, 7, ["a"], True])
def test_what_is_no_token_is_refused(conn: Conn, page: Any) -> None:
    assert refusal(conn, page=page) == 'page: neither "" nor what an answer gave as next_page'


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (3, None),
        (3, "1 or 1=1"),
        (3, "'; drop table operations; --"),
        (3, True),
        (3, "x" * 1000),
        (3, ["2026-11-01T00:00:00+00:00"]),
        (4, ["'; drop table operations; --"]),
        (4, [None]),
        (4, [{}]),
        (4, []),
        (4, "0" * 32),
        (0, "operations"),
    ],
)
def test_a_forged_token_is_data_and_not_repeated(conn: Conn, position: int, value: Any) -> None:
    fill(conn, 5)
    message = refusal(conn, sort_by="created_at", page=changed(token(conn, sort_by="created_at"), position, value))
    assert message.startswith("page: ") and "drop" not in message and "1=1" not in message
    assert len(read(conn)["items"]) == 5


def test_a_token_may_name_a_missing_value_only_where_there_may_be_one(conn: Conn) -> None:
    fill(conn, 6)
    page = changed(token(conn, sort_by="started_at"), 3, None)
    assert all(row["started_at"] is None for row in read(conn, sort_by="started_at", page=page)["items"])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"page": "", "offset": 0}, "offset: a page begins"),
        ({"page": "", "offset": 5}, "offset: a page begins"),
        ({"page": "", "limit": 0}, "limit: a page has at least one row"),
    ],
)
def test_a_page_has_neither_offset_nor_no_rows(conn: Conn, request_: dict[str, Any], message: str) -> None:
    assert refusal(conn, **request_).startswith(message)


@pytest.fixture
def grown(database_any: str) -> Iterator[Conn]:
    """Tables large enough that reading them whole would be wrong; the planner left as PostgreSQL has it."""
    with factories.store_connection(database_any) as conn:
        fill(conn, 20_000)
        conn.execute(
            "insert into fsm_transitions (id, entity_id, entity_type, to_state, transition_event)"
            " select uuid_v7(), gen_random_uuid(), 'x', 'A', 'e' from generate_series(1, 20000)"
        )
        conn.execute(
            "insert into bridge_states (bridge_id, namespace, current_fsm_state)"
            " select gen_random_uuid(), 'n' || n % 3, 'IDLE' from generate_series(1, 20000) as n"
        )
        conn.execute("analyze")
        for name in SESSION_SETTINGS:
            conn.execute(sql.SQL("reset {}").format(sql.Identifier(name)))
        yield conn


def rows_touched(plan: dict[str, Any]) -> int:
    """Of all the scans below a node."""
    below = sum(rows_touched(child) for child in plan.get("Plans", []))
    if "Scan" in plan["Node Type"] and plan["Node Type"] != "Subquery Scan":
        loops = int(plan["Actual Loops"])
        return below + int((plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * loops)
    return below


def plan_in_the_middle(conn: Conn, asked: dict[str, Any]) -> dict[str, Any]:
    """Of the first statement for the fifty-first page."""
    page = ""
    for _ in range(50):
        page = read(conn, **asked, strict_jsonb_validation=False, page=page)["next_page"]
    text, values = queries.statements(queries.parse_generic(asked | {"page": page}), 101, MAX_BYTES)[0]
    found = conn.execute(b"explain (analyze, timing off, format json) " + text, values).fetchone()
    assert found is not None
    plan: dict[str, Any] = found[0][0]["Plan"]
    return plan


def test_a_page_in_the_middle_touches_little_more_than_its_own_rows(grown: Conn) -> None:
    sorts = {
        "workflow_execution": (None, "created_at", "started_at"),
        "fsm_transition": (None,),
        "bridge_state": (None,),
    }
    for entity_type, sort_by, sort_order in [
        (entity_type, sort_by, sort_order)
        for entity_type, columns in sorts.items()
        for sort_by in columns
        for sort_order in ("asc", "desc")
    ]:
        asked = {"entity_type": entity_type, "sort_by": sort_by, "sort_order": sort_order, "limit": 100}
        plan = plan_in_the_middle(grown, asked)
        assert plan["Actual Rows"] == 101
        assert rows_touched(plan) < 400, (asked, json.dumps(plan, indent=1))
