"""Reports on terminals of any width: what is asked for stays, and what does not fit is named."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from tests.traces import START, WORKFLOW, at, event, stamp, step, trace, transition, workflow
from worker.reports.pages import LISTS, show
from worker.reports.tables import (
    CELL_CHARS,
    GAP,
    LEAST_CHARS,
    Column,
    as_duration,
    as_id,
    as_instant,
    as_message,
    as_number,
    as_text,
    show_rows,
)

WIDTHS = (40, 80, 120, 200)
WHY = "disk is full: cannot write chunk 17 of the file, nor any after it"
DAY = str(START.date())

NODE = {
    "node_id": "node-effect-1",
    "node_type": "effect",
    "namespace": "production",
    "node_version": "1.2.0",
    "liveness": "STALE",
    "health": "DEGRADED",
    "reported_health": "HEALTHY",
    "age_s": 93.0,
    "endpoint_url": "http://10.0.0.1:8080/health",
    "deregistered_at": at(0),
}
STAMP = stamp(5, workflow_id=WORKFLOW, namespace="production", file_hash="ab" * 32, intelligence_data={"kind": "code"})
ROWS: dict[str, dict[str, Any]] = {
    "find_failed_workflows": {
        "failed_at": at(0),
        "correlation_id": WORKFLOW,
        "workflow_type": "metadata_stamping",
        "namespace": "production",
        "error_code": "E_DISK",
        "error_message": WHY,
    },
    "step_timing": {
        "step_name": "validate_input",
        "step_type": "compute",
        "total_executions": 12_345,
        "avg_time_ms": 252_000,
        "min_time_ms": 42.5,
        "max_time_ms": 187_200_000,
    },
    "transition_failures": {
        "from_state": "PROCESSING",
        "to_state": "FAILED",
        "failure_count": 12,
        "last_failure_at": at(0),
    },
    "healthy_nodes": NODE,
    "list_nodes": NODE,
    "active_bridge_states": {"node_type": "reducer", "state": "AGGREGATING", "count": 7},
    "stamps_by_hash": STAMP,
    "stamps_with": STAMP,
    "events_with_error": {
        "created_at": at(0),
        "event_type": "stamp_workflow_failed",
        "correlation_id": WORKFLOW,
        "error": WHY,
    },
}
ASKED_FOR = {  # what a table is never without, by the beginning of its cell
    "find_failed_workflows": ["disk is", WORKFLOW],
    "step_timing": ["validate_i", "12,345", "4 min 12 s"],
    "transition_failures": ["PROCESSING", "12"],
    "healthy_nodes": ["node-effect-1", "DEGRADED"],
    "list_nodes": ["node-effect-1", "STALE", "DEGRADED"],
    "active_bridge_states": ["reducer", "AGGREGATI", "7"],
    "stamps_by_hash": ["stamp-1", "abababab"],
    "stamps_with": ["stamp-1", "abababab"],
    "events_with_error": ["disk is"],
}


def told(name: str, answer: Mapping[str, Any], width: int) -> str:
    """As a terminal of that width shows it."""
    to = Console(width=width, file=io.StringIO(), highlight=False)
    show(to, name, answer)
    assert isinstance(to.file, io.StringIO)
    shown = to.file.getvalue()
    assert all(len(line) <= width for line in shown.splitlines()), shown
    return shown


def table(rows: list[dict[str, Any]], columns: list[Column], width: int) -> list[str]:
    to = Console(width=width, file=io.StringIO(), highlight=False)
    show_rows(to, rows, columns)
    assert isinstance(to.file, io.StringIO)
    return [line.rstrip() for line in to.file.getvalue().splitlines()]


def unfolded(shown: str) -> str:
    """Without the breaks that a narrow terminal makes."""
    return "".join(shown.split())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", LISTS)
def test_no_list_loses_what_it_is_asked_for_and_each_column_is_shown_or_named(name: str, width: int) -> None:
    shown = told(name, {"items": [ROWS[name]] * 2, "truncated": False}, width)
    for cell in ASKED_FOR[name]:
        assert cell.replace(" ", "") in unfolded(shown), shown
    for column in LISTS[name]:
        assert ROWS[name].get(column.field) is None or column.heading in " ".join(shown.split()), shown


@pytest.mark.parametrize("name", LISTS)
def test_at_200_columns_nothing_is_left_out_and_at_80_it_is_a_table(name: str) -> None:
    answer = {"items": [ROWS[name]] * 2, "truncated": False}
    assert "not shown" not in told(name, answer, 200)
    assert len([line for line in told(name, answer, 80).splitlines() if not line.startswith(("times", "not "))]) <= 4


def whole_trace() -> dict[str, Any]:
    steps = [
        step("validate", 0, 250, step_type="compute"),
        step("write_chunks", 250, 500, step_order=2, step_type="effect", status="FAILED", error_message=WHY),
    ]
    events = [
        event(0, "stamp_workflow_started", topic="omninode.bridge.events"),
        event(750, "stamp_workflow_failed", topic="omninode.bridge.events", payload={"error": WHY}),
    ]
    row = workflow(current_state="FAILED", error_info={"message": WHY, "code": "E_DISK"})
    moves = [transition(0, triggered_by="orchestrator"), transition(750, "FAILED", triggered_by="orchestrator")]
    return trace(row, steps=steps, transitions=moves, stamps=[STAMP], events=events)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_trace_tells_which_step_failed_and_why_on_any_terminal(width: int) -> None:
    shown = told("trace_workflow", whole_trace(), width)
    (failed,) = [line for line in shown.splitlines() if "write_chu" in line]
    assert "FAILED" in failed and "disk is" in failed
    assert unfolded(f"error {WHY} (E_DISK)") in unfolded(shown), "the workflow's error is whole"
    assert WORKFLOW in unfolded(shown)
    assert "stamp_workflow_started" in shown and "stamp_workflow_failed" in shown
    assert [line for line in shown.splitlines() if line.endswith(("(1)", "(2)"))] == [
        "steps (2)",
        "transitions (2)",
        "stamps (1)",
        "events (2)",
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_session_tells_what_failed_on_any_terminal(width: int) -> None:
    timeline = [{**one, "time_diff_ms": 5.0} for one in whole_trace()["events"]]
    types = ["stamp_workflow_failed", "stamp_workflow_started"]
    answer = {"session_id": WORKFLOW, "total_events": 2_000, "event_types": types, "duration_ms": 750.0}
    shown = told("session_events", answer | {"timeline": timeline, "truncated": True}, width)
    assert "stamp_workflow_failed" in shown and "disk is" in shown and "timeline (2 of 2,000)" in shown
    assert "There is more than is shown." in shown


def test_a_cut_list_says_so() -> None:
    answer = {"items": [ROWS["step_timing"]], "truncated": True}
    assert "There is more than is shown." in told("step_timing", answer, 80)
    cut = trace(steps=[step()]) | {"truncated": ["steps"], "totals": dict.fromkeys(trace()["totals"], 0) | {"steps": 9}}
    assert "steps (1 of 9)" in told("trace_workflow", cut, 80)


def test_what_ended_before_it_began_is_not_timed() -> None:
    row = workflow(None, completed_at=at(-5_000), current_state="COMPLETED")
    shown = told("trace_workflow", trace(row) | {"duration_ms": -5_000.0}, 80)
    assert [line.split() for line in shown.splitlines() if line.startswith("took")] == [["took", "-"]]
    assert table([{"d": -1.0}, {"d": 2.0}], [as_duration("d")], 40) == ["   d", "   -", "2 ms"]


COLUMNS = [as_id("id"), as_text("name", goes=2), as_text("kind", goes=1), as_message("error", "error")]
ROW = {"id": "i" * 20, "name": "n" * 30, "kind": "k" * 12, "error": "e" * 400}


def test_long_texts_get_shorter_before_columns_go() -> None:
    least = 20 + 3 * (LEAST_CHARS + GAP)
    heading, row = table([ROW], COLUMNS, least)
    assert heading.split() == ["id", "name", "kind", "error"]
    assert row.split() == ["i" * 20, "nnnnnnnnn…", "kkkkkkkkk…", "eeeeeeeee…"]
    heading, row, note = table([ROW], COLUMNS, least - 1)
    assert (heading.split(), note) == (["id", "name", "error"], "not shown, for want of width: kind")
    assert row.split()[0] == "i" * 20


def test_the_columns_that_want_more_share_what_is_left() -> None:
    _, row = table([ROW], COLUMNS, 120)
    widths = [len(cell) for cell in row.split()]
    assert widths == [20, 30, 12, 120 - 20 - 30 - 12 - 3 * GAP], "the short ones are whole, the longest has the rest"


def test_where_not_even_those_that_stay_fit_each_row_is_told_line_by_line() -> None:
    shown = table([ROW, ROW], COLUMNS, 25)
    assert shown[0] == "id     " + "i" * 18 and "n" * 18 in shown[2], shown
    assert shown.count("") == 1 and not any("not shown" in line for line in shown)


def test_instants_of_one_day_are_times_of_day_and_the_day_is_told_once() -> None:
    columns = [as_instant("a"), as_instant("b"), as_number("n")]
    row: dict[str, Any] = {"a": at(0), "b": at(1), "n": 1_000}
    assert table([row, row | {"b": None}], columns, 80) == [
        f"times are UTC, of {DAY}",
        "a             b                 n",
        "10:15:30.000  10:15:30.001  1,000",
        "10:15:30.000  -             1,000",
    ]
    heading, shown = table([row | {"b": at(86_400_000)}], columns, 80)
    assert heading.split() == ["a", "(UTC)", "b", "(UTC)", "n"] and shown.count("2025-01-3") == 2
    assert table([{"a": "infinity"}], columns, 80) == ["a (UTC)", "infinity"]


def test_a_cell_is_one_printable_line_of_bounded_length() -> None:
    shown = table([{"name": "\x1b[31m[red]\n" + "x" * 300}], [as_text("name")], 200)
    assert shown[1].startswith(r"\x1b[31m[red]\nxxx") and len(shown[1]) == CELL_CHARS
    heading, wide, narrow = table([{"name": "文" * 20}, {"name": "a"}], [as_text("name"), as_id("id")], 12)
    assert (heading, wide, narrow) == ("name", "文" * 5 + " …", "a"), "a letter as wide as two counts as two"
