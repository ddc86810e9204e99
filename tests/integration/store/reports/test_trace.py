"""What a trace tells of a workflow: by which ids it is found, and what is shown of long lists."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest

from omninode_bridge.contract.clock import now, uuid7
from omninode_bridge.contract.errors import OnexError
from store.generic.entities import ENTITIES
from store.reports import trace as report_trace
from store.reports.reports import ask
from store.write.apply import apply
from tests.asking import asked, items, keep_event
from tests.factories import execution, stamp, step, store_connection, transition

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as opened:
        yield opened


def test_a_trace_tells_a_workflow_whole_and_in_order(conn: Conn) -> None:
    id_, at = uuid4(), now() - timedelta(minutes=10)
    took = {"started_at": at, "completed_at": at + timedelta(seconds=1.5), "execution_time_ms": 7}
    moves = [("PENDING", "PROCESSING"), ("PROCESSING", "COMPLETED")]
    apply(
        conn,
        [
            execution(id_, state="COMPLETED", namespace="tests", **took),
            *[step(id_, step_order=number, step_name=f"s{number}") for number in (3, 1, 2)],
            *[
                transition(id_, from_state=before, to_state=after, occurred_at=at + timedelta(seconds=number))
                for number, (before, after) in enumerate(moves)
            ],
            stamp(id_, file_hash="abc"),
            step(uuid4()),
            transition(uuid4()),
        ],
    )
    keep_event(conn, "second", correlation_id=id_)
    keep_event(conn, "first", correlation_id=id_, id=uuid7(), created_at=at)
    trace = asked(conn, "trace_workflow", correlation_id=str(id_))
    assert trace["workflow"]["correlation_id"] == str(id_)
    assert [one["step_name"] for one in trace["steps"]] == ["s1", "s2", "s3"]
    assert [(one["from_state"], one["to_state"]) for one in trace["transitions"]] == moves
    assert [one["file_hash"] for one in trace["stamps"]] == ["abc"]
    assert [one["event_type"] for one in trace["events"]] == ["first", "second"]
    assert (trace["duration_ms"], trace["ended"], trace["failed_steps"]) == (1500.0, True, 0)
    assert trace["totals"] == {"steps": 3, "transitions": 2, "stamps": 1, "events": 2} and trace["truncated"] == []


def test_the_rows_of_a_trace_have_the_columns_that_users_see(conn: Conn) -> None:
    id_ = uuid4()
    apply(conn, [execution(id_), step(id_), transition(id_), stamp(id_)])
    trace = asked(conn, "trace_workflow", correlation_id=id_)
    rows = [trace["workflow"], trace["steps"][0], trace["transitions"][0], trace["stamps"][0]]
    kinds = ["workflow_execution", "workflow_step", "fsm_transition", "metadata_stamp"]
    assert [set(row) for row in rows] == [set(ENTITIES[kind].columns) for kind in kinds]


def test_without_both_ends_a_workflow_took_what_it_says(conn: Conn) -> None:
    id_ = uuid4()
    apply(conn, [execution(id_, completed_at=now(), execution_time_ms=7)])
    assert asked(conn, "trace_workflow", correlation_id=id_)["duration_ms"] == 7.0


def test_an_end_before_the_start_tells_no_time(conn: Conn) -> None:
    one, other, at = uuid4(), uuid4(), now()
    ends: dict[str, Any] = {"started_at": at, "completed_at": at - timedelta(seconds=5)}
    apply(conn, [execution(one, **ends), execution(other, execution_time_ms=7, **ends)])
    told = [asked(conn, "trace_workflow", correlation_id=id_)["duration_ms"] for id_ in (one, other)]
    assert told == [None, 7.0]


@pytest.mark.parametrize(
    ("state", "ended"), [("FAILED", True), ("cancelled", True), ("TIMEOUT", True), ("PROCESSING", False), ("X", False)]
)
def test_a_workflow_has_ended_by_its_state(conn: Conn, state: str, ended: bool) -> None:
    id_ = uuid4()
    apply(conn, [execution(id_, state=state)])
    assert asked(conn, "trace_workflow", correlation_id=id_)["ended"] is ended


def test_a_workflow_has_ended_when_it_told_its_completion(conn: Conn) -> None:
    id_ = uuid4()
    apply(conn, [execution(id_, state="ARCHIVED", completed_at=now())])
    assert asked(conn, "trace_workflow", correlation_id=id_)["ended"] is True


# ---- by which id ----------------------------------------------------------------------------------------------------


def test_a_row_older_than_the_fleet_is_found_by_its_id(conn: Conn) -> None:
    row, correlation_id = uuid4(), uuid4()
    conn.execute("insert into workflow_executions (id, correlation_id) values (%s, %s)", (row, correlation_id))
    apply(conn, [step(row), transition(row), transition(correlation_id)])
    by_id, by_correlation = (asked(conn, "trace_workflow", correlation_id=one) for one in (row, correlation_id))
    assert by_id == by_correlation
    assert (len(by_id["steps"]), len(by_id["transitions"]), by_id["duration_ms"]) == (1, 2, None)


def test_a_failed_workflow_is_found_by_the_workflow_id_that_the_list_of_them_shows(conn: Conn) -> None:
    told, silent, name = uuid4(), uuid4(), uuid4()
    apply(conn, [execution(told, state="FAILED", workflow_id=name), execution(silent, state="FAILED"), step(told)])
    for failed in items(conn, "find_failed_workflows"):
        trace = asked(conn, "trace_workflow", correlation_id=failed["workflow_id"])
        assert trace["workflow"]["correlation_id"] == failed["correlation_id"]
    assert len(asked(conn, "trace_workflow", correlation_id=name)["steps"]) == 1


def test_a_workflow_id_that_several_have_is_answered_with_whom_to_ask_for(conn: Conn) -> None:
    runs, name = [uuid4() for _ in range(2)], uuid4()
    for run in runs:
        apply(conn, [execution(run, workflow_id=name)])
    with pytest.raises(OnexError, match=f"CONFLICT: correlation_id: .* {name}; ask for one of {runs[1]}, {runs[0]}$"):
        asked(conn, "trace_workflow", correlation_id=name)


def test_a_correlation_id_goes_before_the_workflow_id_of_another(conn: Conn) -> None:
    id_ = uuid4()
    apply(conn, [execution(id_, namespace="meant"), execution(workflow_id=id_)])
    assert asked(conn, "trace_workflow", correlation_id=id_)["workflow"]["namespace"] == "meant"


def test_what_only_moved_has_a_trace_without_workflow(conn: Conn) -> None:
    id_ = uuid4()
    apply(conn, [transition(id_)])
    trace = asked(conn, "trace_workflow", correlation_id=id_)
    assert (trace["workflow"], len(trace["transitions"])) == (None, 1)


def test_a_trace_of_nothing_is_not_found(conn: Conn) -> None:
    with pytest.raises(OnexError, match="NOT_FOUND: correlation_id"):
        asked(conn, "trace_workflow", correlation_id=uuid4())


# ---- how much -------------------------------------------------------------------------------------------------------


def orders(trace: dict[str, Any]) -> list[int]:
    return [one["step_order"] for one in trace["steps"]]


def test_a_list_ends_at_the_limit_and_the_trace_names_it(conn: Conn) -> None:
    id_ = uuid4()
    apply(conn, [step(id_, step_order=number) for number in range(3)] + [stamp(id_)])
    assert asked(conn, "trace_workflow", correlation_id=id_, limit=3)["truncated"] == []
    apply(conn, [step(id_, step_order=3)])
    trace = asked(conn, "trace_workflow", correlation_id=id_, limit=3)
    assert (orders(trace), trace["truncated"]) == ([0, 1, 2], ["steps"])
    assert trace["totals"] == {"steps": 4, "transitions": 0, "stamps": 1, "events": 0}


def test_every_list_that_is_cut_is_named(conn: Conn) -> None:
    id_ = uuid4()
    apply(conn, [make(id_) for make in (step, transition, stamp) for _ in range(2)])
    for _ in range(2):
        keep_event(conn, correlation_id=id_)
    trace = asked(conn, "trace_workflow", correlation_id=id_, limit=1)
    assert trace["truncated"] == ["steps", "transitions", "stamps", "events"]
    assert [len(trace[name]) for name in trace["truncated"]] == [1] * 4 and set(trace["totals"].values()) == {2}


def test_a_failed_step_is_shown_however_far_down_it_is(conn: Conn) -> None:
    id_, bulk = uuid4(), {"text": "x" * 1_000}
    apply(conn, [step(id_, step_order=number, input_data=bulk) for number in range(5_000)])
    apply(conn, [step(id_, step_order=order, status="FAILED", error_message="boom") for order in (3, 9_999)])
    trace = asked(conn, "trace_workflow", correlation_id=id_)
    assert orders(trace) == [0, 1, 2, 3, *range(3, 998), 9_999]
    assert trace["steps"][-1]["error_message"] == "boom"
    assert (trace["totals"]["steps"], trace["failed_steps"], trace["truncated"]) == (5_002, 2, ["steps"])
    small = asked(conn, "trace_workflow", correlation_id=id_, limit=2)
    assert orders(small) == [3, 9_999]


def test_failed_steps_do_not_take_the_place_of_all_others(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_trace, "MOST_FAILED", 2)
    id_ = uuid4()
    apply(conn, [step(id_, step_order=number, status="FAILED" if number > 4 else "COMPLETED") for number in range(20)])
    trace = asked(conn, "trace_workflow", correlation_id=id_, limit=4)
    assert (orders(trace), trace["failed_steps"]) == ([0, 1, 5, 6], 15)


def test_ten_thousand_steps_are_shown_where_somebody_asks_for_them(conn: Conn) -> None:
    id_ = uuid4()
    apply(conn, [step(id_, step_order=number) for number in range(10_000)])
    assert len(asked(conn, "trace_workflow", correlation_id=id_)["steps"]) == 1_000
    through_an_adapter = asked(conn, "trace_workflow", correlation_id=id_, limit=10_000)
    assert 1_000 < len(through_an_adapter["steps"]) < 10_000 and len(orjson.dumps(through_an_adapter)) < 4 << 20
    whole = ask(conn, "trace_workflow", {"correlation_id": id_, "limit": 10_000}, timeout_ms=20_000, max_bytes=64 << 20)
    assert (len(whole["steps"]), whole["truncated"]) == (10_000, [])


def test_a_heavy_trace_keeps_to_its_bytes_and_spares_the_other_lists(conn: Conn) -> None:
    id_, heavy = uuid4(), {"text": "x" * 250_000}
    apply(conn, [step(id_, step_order=number, input_data=heavy) for number in range(14)])
    apply(conn, [stamp(id_), transition(id_)])
    keep_event(conn, correlation_id=id_)
    trace = asked(conn, "trace_workflow", correlation_id=id_)
    assert (orders(trace), trace["truncated"]) == (list(range(12)), ["steps"])
    assert [len(trace[name]) for name in ("transitions", "stamps", "events")] == [1, 1, 1]
