"""The `fleet` commands that ask the database, as somebody types them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from omninode_bridge.contract.clock import now, uuid7
from store.reports.reports import REPORTS
from store.write.apply import apply
from tests.conftest import fleet
from tests.factories import bridge_state, execution, heartbeat, stamp, step, store_connection, transition

pytestmark = pytest.mark.acceptance

WORKFLOW, SESSION = UUID(int=0xAA), UUID(int=0xBB)
STARTED = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
HOSTILE = "\x1b[31m[red]boom[/red]\n" + "x" * 300
WIDTH = 160


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with store_connection(database) as opened:
        yield opened


@pytest.fixture
def asked(conn: psycopg.Connection[Any], database: str) -> str:
    """The URL of a database in which each report finds something."""
    times = {"started_at": STARTED, "completed_at": STARTED + timedelta(seconds=1.5)}
    apply(
        conn,
        [
            execution(WORKFLOW, state="COMPLETED", namespace="tests", workflow_type="stamping", **times),
            step(WORKFLOW, execution_time_ms=1234, error_message=HOSTILE),
            transition(WORKFLOW, from_state="PENDING", to_state="FAILED", triggered_by="timer"),
            stamp(WORKFLOW, file_hash="abc", file_metadata={"size": 5}, intelligence_data={"kind": "security"}),
            execution(uuid4(), state="FAILED", completed_at=now(), error_message=HOSTILE, namespace="tests"),
            heartbeat("node-fresh", node_type="reducer"),
            heartbeat("node-stale", node_type="reducer", last_heartbeat=STARTED),
            bridge_state(node_type="reducer", current_fsm_state="AGGREGATING"),
        ],
    )
    conn.execute(
        "insert into event_logs (id, event_type, correlation_id, session_id, payload) values (%s, 'made', %s, %s, %s)",
        (uuid7(), WORKFLOW, SESSION, Jsonb({"error": HOSTILE})),
    )
    return database


def run(url: str, *words: str | Path, code: int = 0) -> str:
    """The command's output. The command must end with that exit code."""
    done = fleet(*words, environment={"OMNINODE_DATABASE_URL": url})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def lines(output: str) -> list[str]:
    """What a person sees: no control signs, no line too wide."""
    found = output.splitlines()
    assert all(line.isprintable() and len(line) <= WIDTH for line in found), output
    return found


def line_of(output: str, *words: str) -> str:
    """The one line that has these words."""
    (line,) = [line for line in lines(output) if all(word in line for word in words)]
    return line


def test_a_trace_reads_from_top_to_bottom(asked: str) -> None:
    told = run(asked, "trace", str(WORKFLOW))
    assert line_of(told, "workflow", str(WORKFLOW)) and line_of(told, "took", "1.5 s")
    assert line_of(told, "started (UTC)", "2026-01-05 10:00:00.000")
    assert r"\x1b[31m[red]boom[/red]\nxxx" in line_of(told, "validate_input", "1.23 s", "…")
    assert line_of(told, "PENDING", "FAILED", "timer")
    assert r"\x1b[31m[red]boom" in line_of(told, "made", "recorded")
    titles = [line for line in lines(told) if line.endswith("(1)")]
    assert titles == ["steps (1)", "transitions (1)", "stamps (1)", "events (1)"]


def test_a_trace_for_programs_is_one_object(asked: str) -> None:
    trace = json.loads(run(asked, "trace", str(WORKFLOW), "--json"))
    assert (trace["duration_ms"], trace["truncated"], len(trace["steps"])) == (1500.0, [], 1)
    assert trace["steps"][0]["error_message"] == HOSTILE


def test_a_long_trace_is_told_as_far_as_asked_for_and_how_long_it_is(
    asked: str, conn: psycopg.Connection[Any], tmp_path: Path
) -> None:
    apply(conn, [step(WORKFLOW, step_order=number) for number in range(2, 6)])
    told = run(asked, "trace", str(WORKFLOW), "--limit", "2")
    assert line_of(told, "steps (2 of 5)") and line_of(told, "There is more than is shown.")
    assert len(json.loads(run(asked, "trace", str(WORKFLOW), "--json"))["steps"]) == 5
    file = tmp_path / "trace.html"
    run(asked, "trace", str(WORKFLOW), "--limit", "2", "--html", file)
    assert "steps (2 of 5)" in file.read_text(encoding="utf-8")
    assert "Invalid value for '--limit'" in run(asked, "trace", str(WORKFLOW), "--limit", "10001", code=2)


def test_a_failure_is_told_however_the_workflow_told_it(asked: str, conn: psycopg.Connection[Any]) -> None:
    info = {"message": "no answer", "code": "E7"}
    apply(conn, [execution(UUID(int=0xCC), state="FAILED", completed_at=now(), error_info=info)])
    assert line_of(run(asked, "failed"), "E7", "no answer")
    assert line_of(run(asked, "trace", str(UUID(int=0xCC))), "error", "no answer (E7)")


def test_a_trace_for_a_browser_is_a_file(asked: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.html"
    assert run(asked, "trace", str(WORKFLOW), "--html", file) == ""
    page = file.read_text(encoding="utf-8")
    assert "<svg" in page and str(WORKFLOW) in page and "[red]" in page


def test_what_is_not_there_is_one_line_and_leaves_no_file(asked: str, tmp_path: Path) -> None:
    file, unknown = tmp_path / "trace.html", uuid4()
    said = run(asked, "trace", str(unknown), "--html", file, code=1)
    assert said == f"Error: NOT_FOUND: correlation_id: nothing is known of {unknown}\n"
    assert not file.exists()


@pytest.mark.parametrize("words", [("trace", str(WORKFLOW)), ("stats", "a"), ("nodes", "--all"), ("failed",)])
def test_a_database_that_is_away_is_one_line_without_its_password(words: tuple[str, ...]) -> None:
    said = run("postgresql://u:hunter2@127.0.0.1:1/x", *words, code=1)
    assert said.startswith("Error: SERVICE_UNAVAILABLE: database: ")
    assert said.count("\n") == 1 and "hunter2" not in said


def test_failed_workflows_are_listed_with_their_reason(asked: str) -> None:
    assert r"\x1b[31m[red]boom[/red]" in line_of(run(asked, "failed"), "tests")
    (item,) = json.loads(run(asked, "failed", "--hours", "0.5", "--limit", "1", "--json"))["items"]
    assert item["error_message"] == HOSTILE


def test_a_namespace_is_told_in_numbers(asked: str) -> None:
    told = run(asked, "stats", "tests")
    assert line_of(told, "size", "5 bytes") and line_of(told, "workflows", "COMPLETED 1, FAILED 1")
    assert json.loads(run(asked, "stats", "tests", "--json"))["avg_processing_time_ms"] == 1500.0


def test_a_session_is_told_event_by_event(asked: str) -> None:
    assert line_of(run(asked, "session", str(SESSION)), "made", "recorded")
    assert json.loads(run(asked, "session", str(SESSION), "--json"))["total_events"] == 1
    assert line_of(run(asked, "session", str(uuid4())), "events", "0")


GIVEN = {
    "trace_workflow": f"correlation_id={WORKFLOW}",
    "namespace_stats": "namespace=tests",
    "session_events": f"session_id={SESSION}",
    "stamps_by_hash": "file_hash=abc",
    "stamps_with": 'intelligence={"kind": "security"}',
    "events_with_error": "limit=5",
    "step_timing": "time_range_hours=0.5",
    "list_nodes": "include_deregistered=true",
    "get_node": "node_id=node-stale",
}


@pytest.mark.parametrize("name", REPORTS)
def test_any_report_is_told_by_its_name(asked: str, name: str) -> None:
    words = [name, GIVEN[name]] if name in GIVEN else [name]
    told = lines(run(asked, "report", *words))
    assert len(told) >= 2 and told != ["none"]


def test_a_wrong_parameter_of_a_report_is_named(asked: str) -> None:
    assert "VALIDATION_ERROR: limit: not an integer" in run(asked, "report", "step_timing", "limit=0", code=1)
    assert "limit: not a number" in run(asked, "report", "step_timing", "limit=many", code=2)
    wrong = run(asked, "report", "list_nodes", "include_deregistered=yes", code=2)
    assert "include_deregistered: not a number, true, false or a JSON object" in wrong
    assert "limit: not KEY=VALUE" in run(asked, "report", "step_timing", "limit", code=2)


def test_without_a_database_url_the_command_says_so_by_name() -> None:
    done = fleet("stats", "tests")
    assert done.returncode == 2 and "OMNINODE_DATABASE_URL: missing" in done.stderr
