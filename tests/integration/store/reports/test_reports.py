"""What each report answers, and what it refuses to be asked."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from omninode_bridge.contract.clock import now
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence import queries
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, ModelDatabaseOperationOutput, request_of
from store.generic.carry_out import carry_out
from store.generic.entities import ENTITIES
from store.reports import reports
from store.reports.parameters import Given, Terms
from store.reports.reports import REPORTS, ask
from store.write.apply import apply
from store.write.batch import Limits
from tests.asking import asked, items, keep_event
from tests.factories import bridge_state, execution, heartbeat, stamp, step, store_connection, transition

Conn = psycopg.Connection[Any]
AGO = timedelta(minutes=1)


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as opened:
        yield opened


# ---- many workflows -------------------------------------------------------------------------------------------------


def test_failed_workflows_are_the_latest_first_with_their_reason(conn: Conn) -> None:
    at = now() - timedelta(hours=1)
    told = {"error_info": {"message": "disk", "code": "E42"}}
    of = {name: uuid4() for name in ("message", "info", "silent", "old", "fine")}
    apply(
        conn,
        [
            execution(of["message"], state="FAILED", completed_at=at, error_message="boom", namespace="tests"),
            execution(of["info"], state="FAILED", completed_at=at + AGO, **told),
            execution(of["silent"], state="FAILED"),
            execution(of["old"], state="FAILED", completed_at=at - timedelta(hours=2)),
            execution(of["fine"], state="COMPLETED", completed_at=at),
        ],
    )
    found = items(conn, "find_failed_workflows", time_range_hours=2)
    assert [UUID(one["correlation_id"]) for one in found] == [of["silent"], of["info"], of["message"]]
    assert [(one["error_message"], one["error_code"]) for one in found] == [
        (None, None),
        ("disk", "E42"),
        ("boom", None),
    ]
    assert datetime.fromisoformat(found[2]["failed_at"]) == at and found[2]["namespace"] == "tests"
    assert len(items(conn, "find_failed_workflows")) == 4
    assert items(conn, "find_failed_workflows", limit=1) == found[:1]


def test_a_list_of_long_errors_ends_before_an_answer_is_full(conn: Conn) -> None:
    at, told, ids = now(), "\U0001f525" * 2_000, [uuid4() for _ in range(600)]
    ended = [at - number * timedelta(seconds=1) for number in range(len(ids))]
    apply(
        conn,
        [
            execution(id_, state="FAILED", completed_at=end, error_message=told)
            for id_, end in zip(ids, ended, strict=True)
        ],
    )
    found = asyncio.run(queries.find_failed_workflows(node=DirectNode(conn), limit=1000))
    assert 350 < len(found) < 400
    assert [UUID(one["correlation_id"]) for one in found] == ids[: len(found)]


def test_steps_are_timed_by_name_and_type(conn: Conn) -> None:
    at = now() - timedelta(hours=1)
    hashed: dict[str, Any] = {"step_name": "hash", "step_type": "compute", "created_at": at}
    apply(
        conn,
        [
            step(execution_time_ms=10, **hashed),
            step(started_at=at, completed_at=at + timedelta(milliseconds=30), **hashed),
            step(started_at=at, completed_at=at - AGO, **hashed),
            step(execution_time_ms=9000, **{**hashed, "created_at": at - timedelta(hours=2)}),
            step(step_name="route", created_at=at),
        ],
    )
    row = conn.execute("select id from workflow_executions limit 1").fetchone()
    conn.execute(
        "insert into workflow_steps (id, workflow_id, step_name, step_order, status, execution_time_ms)"
        " values (uuid_v7(), %s, 'hash', 1, 'FAILED', 5)",
        row,
    )
    assert items(conn, "step_timing", time_range_hours=2) == [
        {
            "step_name": "hash",
            "step_type": "compute",
            "avg_time_ms": 20.0,
            "min_time_ms": 10,
            "max_time_ms": 30,
            "total_executions": 3,
        },
        {
            "step_name": "route",
            "step_type": None,
            "avg_time_ms": None,
            "min_time_ms": None,
            "max_time_ms": None,
            "total_executions": 1,
        },
    ]


def test_moves_to_failure_are_counted_by_where_they_came_from(conn: Conn) -> None:
    at = now() - timedelta(hours=1)
    apply(
        conn,
        [
            *[transition(to_state="FAILED", from_state="PROCESSING", occurred_at=at) for _ in range(2)],
            transition(to_state="FAILED", occurred_at=at),
            transition(to_state="FAILED", from_state="PENDING", occurred_at=at - timedelta(hours=2)),
            transition(to_state="COMPLETED", from_state="PROCESSING", occurred_at=at),
        ],
    )
    found = items(conn, "transition_failures", time_range_hours=2)
    assert [(one["from_state"], one["failure_count"]) for one in found] == [("PROCESSING", 2), (None, 1)]
    assert datetime.fromisoformat(found[0]["last_failure_at"]) == at


# ---- events ---------------------------------------------------------------------------------------------------------


def test_a_session_is_a_timeline_with_its_gaps(conn: Conn) -> None:
    session, at = uuid4(), now() - timedelta(hours=1)
    for name, seconds in (("b", 1.0), ("a", 0.0), ("b", 3.5), ("old", -7200.0)):
        keep_event(conn, name, session_id=session, created_at=at + timedelta(seconds=seconds))
    keep_event(conn, "other", session_id=uuid4(), created_at=at)
    told = asked(conn, "session_events", session_id=session, time_range_hours=2)
    timeline = told.pop("timeline")
    assert told == {
        "session_id": str(session),
        "total_events": 3,
        "event_types": ["a", "b"],
        "duration_ms": 3500.0,
        "truncated": False,
    }
    assert [(one["event_type"], one["time_diff_ms"]) for one in timeline] == [("a", None), ("b", 1000.0), ("b", 2500.0)]


def test_events_that_were_kept_together_stand_as_they_happened(conn: Conn) -> None:
    session, at = uuid4(), datetime.now(UTC) - timedelta(minutes=5)
    millis = int(at.timestamp() * 1000)
    for name, later_ms in (("second", 250), ("first", 0)):
        id_ = UUID(int=(millis + later_ms) << 80 | 7 << 76 | 2 << 62)
        keep_event(conn, name, session_id=session, id=id_)
    timeline = asked(conn, "session_events", session_id=session)["timeline"]
    assert [(one["event_type"], one["time_diff_ms"]) for one in timeline] == [("first", None), ("second", 250.0)]


def test_an_unknown_session_has_no_events(conn: Conn) -> None:
    told = asked(conn, "session_events", session_id=uuid4())
    assert (told["total_events"], told["timeline"], told["duration_ms"]) == (0, [], None)


def test_a_heavy_session_is_cut_and_says_so(conn: Conn) -> None:
    session = uuid4()
    for _ in range(14):
        keep_event(conn, session_id=session, payload=Jsonb({"text": "x" * 250_000}))
    told = asked(conn, "session_events", session_id=session)
    assert (told["total_events"], len(told["timeline"]), told["truncated"]) == (14, 12, True)


def test_events_that_tell_of_an_error_are_found_newest_first(conn: Conn) -> None:
    at = now()
    for hours in (3, 2, 1):
        keep_event(conn, f"h{hours}", payload=Jsonb({"error": {"n": hours}}), created_at=at - timedelta(hours=hours))
    keep_event(conn, payload=Jsonb({"status": "error"}))
    found = items(conn, "events_with_error", time_range_hours=2.5)
    assert [(one["event_type"], one["error"]) for one in found] == [("h1", {"n": 1}), ("h2", {"n": 2})]
    assert items(conn, "events_with_error", limit=1) == found[:1]


# ---- nodes and bridges ----------------------------------------------------------------------------------------------


def test_a_list_of_heavy_nodes_ends_before_an_answer_is_full(conn: Conn) -> None:
    apply(conn, [heartbeat(f"n{number:03}", metadata={"text": "x" * 6_000}) for number in range(800)])
    found = asyncio.run(queries.healthy_nodes(node=DirectNode(conn)))
    assert 450 < len(found) < 500 and [one["node_id"] for one in found] == [f"n{n:03}" for n in range(len(found))]


def test_bridges_at_work_are_counted(conn: Conn) -> None:
    states = [("reducer", "AGGREGATING")] * 2 + [("reducer", "PERSISTING"), ("reducer", "IDLE"), (None, "COMPLETED")]
    apply(conn, [bridge_state(node_type=kind, current_fsm_state=state) for kind, state in states])
    assert items(conn, "active_bridge_states") == [
        {"node_type": "reducer", "state": "AGGREGATING", "count": 2},
        {"node_type": "reducer", "state": "PERSISTING", "count": 1},
    ]


# ---- stamps and namespaces ------------------------------------------------------------------------------------------


def test_stamps_of_a_file_are_the_newest_first(conn: Conn) -> None:
    at = now()
    apply(conn, [stamp(file_hash="ABC", stamp_id=f"s{n}", created_at=at - n * AGO) for n in range(3)] + [stamp()])
    found = items(conn, "stamps_by_hash", file_hash="aBc", limit=2)
    assert [one["stamp_id"] for one in found] == ["s0", "s1"]
    assert set(found[0]) == set(ENTITIES["metadata_stamp"].columns)


def test_stamps_are_found_by_what_their_analysis_contains(conn: Conn) -> None:
    analysis = {"analysis_type": "security", "scores": {"confidence": 0.9, "risk": 2}}
    apply(conn, [stamp(stamp_id="s", intelligence_data=analysis), stamp(intelligence_data={"analysis_type": "x"})])
    for part in ({"analysis_type": "security"}, {"scores": {"risk": 2}}):
        assert [one["stamp_id"] for one in items(conn, "stamps_with", intelligence=part)] == ["s"]
    assert items(conn, "stamps_with", intelligence={"scores": {"risk": 3}}) == []


def test_a_namespace_in_numbers(conn: Conn) -> None:
    at = now() - timedelta(hours=1)
    apply(
        conn,
        [
            stamp(file_metadata={"size_bytes": 10, "content_type": "text/plain"}),
            stamp(file_metadata={"size": 5.0, "content_type": "text/plain"}),
            stamp(file_metadata={"file_size": "no number", "file_type": "pdf"}),
            stamp(),
            bridge_state(total_size_bytes=99, total_items_aggregated=3),
            execution(state="COMPLETED", execution_time_ms=10, namespace="tests"),
            execution(
                state="COMPLETED", started_at=at, completed_at=at + timedelta(milliseconds=30), namespace="tests"
            ),
            execution(state="COMPLETED", started_at=at, completed_at=at - AGO, namespace="tests"),
            execution(state="FAILED", execution_time_ms=5000, namespace="tests"),
            execution(state="FAILED", namespace="other"),
        ],
    )
    assert asked(conn, "namespace_stats", namespace="tests") == {
        "namespace": "tests",
        "total_stamps": 4,
        "total_size_bytes": 15,
        "unique_file_types": 2,
        "file_types": ["pdf", "text/plain"],
        "avg_processing_time_ms": 20.0,
        "workflows_by_state": {"COMPLETED": 3, "FAILED": 1},
        "aggregated": {
            "bridges": 1,
            "total_workflows_processed": 0,
            "total_items_aggregated": 3,
            "total_size_bytes": 99,
        },
    }


def test_where_no_stamp_tells_its_size_the_bridges_do(conn: Conn) -> None:
    apply(conn, [stamp(), bridge_state(total_size_bytes=90), bridge_state(total_size_bytes=9)])
    assert asked(conn, "namespace_stats", namespace="tests")["total_size_bytes"] == 99


def test_an_unknown_namespace_is_empty(conn: Conn) -> None:
    told = asked(conn, "namespace_stats", namespace="nowhere")
    assert (told["total_stamps"], told["total_size_bytes"], told["avg_processing_time_ms"]) == (0, 0, None)


# ---- asking ---------------------------------------------------------------------------------------------------------

NEEDED: dict[str, dict[str, Any]] = {
    "trace_workflow": {"correlation_id": str(uuid4())},
    "namespace_stats": {"namespace": "tests"},
    "session_events": {"session_id": str(uuid4())},
    "stamps_by_hash": {"file_hash": "ab"},
    "stamps_with": {"intelligence": {"a": 1}},
    "get_node": {"node_id": "node-1"},
}


def test_a_report_that_there_is_not_is_refused(conn: Conn) -> None:
    with pytest.raises(OnexError, match="report: not one of trace_workflow, "):
        asked(conn, "drop_everything")


def test_a_report_that_takes_too_long_says_so(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(conn: Conn, given: Given, terms: Terms) -> dict[str, Any]:
        conn.execute("select pg_sleep(30)")
        return {}

    monkeypatch.setitem(reports.REPORTS, "slow", slow)
    with pytest.raises(OnexError, match="TIMEOUT: slow: took longer than 50 ms"):
        ask(conn, "slow", {}, timeout_ms=50)


def test_a_value_that_only_the_database_finds_wrong_is_refused(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(conn: Conn, given: Given, terms: Terms) -> dict[str, Any]:
        conn.execute("select 1 / %s", (0,)).fetchone()
        return {}

    monkeypatch.setitem(reports.REPORTS, "wrong", wrong)
    with pytest.raises(OnexError, match="VALIDATION_ERROR: query_filters: holds a value that the database refuses"):
        ask(conn, "wrong", {}, timeout_ms=5000)
    assert asked(conn, "namespace_stats", namespace="tests")["total_stamps"] == 0


class DirectNode:
    """An adapter on one connection."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn

    async def process(self, operation_input: ModelDatabaseOperationInput, /) -> ModelDatabaseOperationOutput:
        request, id_ = request_of(operation_input), operation_input.operation_id
        return ModelDatabaseOperationOutput(**carry_out(self._conn, request, operation_id=id_, limits=Limits()))


def test_every_report_has_its_function_in_the_api(conn: Conn) -> None:
    id_, node = uuid4(), DirectNode(conn)
    given: dict[str, dict[str, Any]] = {**NEEDED, "trace_workflow": {"correlation_id": id_}}
    apply(conn, [execution(id_), stamp(file_hash="ab", intelligence_data={"a": 1}), heartbeat()])
    for name in REPORTS:
        answer = asyncio.run(getattr(queries, name)(node=node, **given.get(name, {})))
        expected = ask(conn, name, given.get(name, {}), timeout_ms=5000)
        assert _ageless(answer) == _ageless(expected.get("items", expected))


def _ageless(answer: Any) -> Any:
    """The same without the age of nodes, which grows while one asks."""
    if isinstance(answer, list):
        return [_ageless(one) for one in answer]
    return {name: value for name, value in answer.items() if name != "age_s"}


def test_the_api_raises_by_the_code_of_the_answer(conn: Conn) -> None:
    with pytest.raises(OnexError, match="NOT_FOUND") as caught:
        asyncio.run(queries.trace_workflow(correlation_id=uuid4(), node=DirectNode(conn)))
    assert caught.value.context["operation"] == "trace_workflow"
