"""Lists of reports with rows that are large, or many: none hides another, and each list says whether it is all."""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from omninode_bridge.contract.clock import now
from store.write.apply import apply
from tests.asking import asked, items, keep_event
from tests.factories import bridge_state, execution, heartbeat, stamp, step, store_connection, transition

Conn = psycopg.Connection[Any]
LARGE = {"scores": [sys.float_info.max] * 12_000}  # 3.7 MB, for PostgreSQL writes each in 309 digits
SESSION = UUID(int=1)
WORKFLOW = UUID(int=2)


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as opened:
        yield opened


def keep_stamp(conn: Conn, large: bool) -> None:
    told = {"kind": "k", **(LARGE if large else {})}
    apply(conn, [stamp(WORKFLOW, file_hash="ab", intelligence_data=told)])


def keep_error(conn: Conn, large: bool) -> None:
    payload = Jsonb({"error": "disk", **(LARGE if large else {})})
    keep_event(conn, "large" if large else "small", payload=payload, session_id=SESSION, correlation_id=WORKFLOW)


def keep_step(conn: Conn, large: bool) -> None:
    apply(conn, [step(WORKFLOW, output_data=LARGE if large else {})])


def keep_move(conn: Conn, large: bool) -> None:
    apply(conn, [transition(WORKFLOW, metadata=LARGE if large else {})])


ROWS: list[tuple[str, dict[str, Any], str, Callable[[Conn, bool], None], str]] = [
    ("stamps_by_hash", {"file_hash": "ab"}, "items", keep_stamp, "intelligence_data"),
    ("stamps_with", {"intelligence": {"kind": "k"}}, "items", keep_stamp, "intelligence_data"),
    ("events_with_error", {}, "items", keep_error, "payload"),
    ("session_events", {"session_id": SESSION}, "timeline", keep_error, "payload"),
    ("trace_workflow", {"correlation_id": WORKFLOW}, "stamps", keep_stamp, "intelligence_data"),
    ("trace_workflow", {"correlation_id": WORKFLOW}, "events", keep_error, "payload"),
    ("trace_workflow", {"correlation_id": WORKFLOW}, "steps", keep_step, "output_data"),
    ("trace_workflow", {"correlation_id": WORKFLOW}, "transitions", keep_move, "metadata"),
]


@pytest.mark.parametrize(("name", "parameters", "listed", "keep", "omitted"), ROWS)
def test_a_large_row_comes_without_what_is_large_and_hides_no_other(
    conn: Conn, name: str, parameters: dict[str, Any], listed: str, keep: Callable[[Conn, bool], None], omitted: str
) -> None:
    for large in (False, True, False):
        keep(conn, large)
    answer = asked(conn, name, **parameters)
    small, large_row, other = answer[listed]
    assert (large_row["omitted"], omitted in large_row) == ([omitted], False)
    assert set(small) == set(other) == set(large_row) - {"omitted"} | {omitted}
    assert not answer["truncated"]


def test_an_error_stays_with_an_event_that_is_too_large_to_be_shown(conn: Conn) -> None:
    keep_error(conn, large=True)
    (found,) = items(conn, "events_with_error")
    assert found["error"] == "disk"


def test_a_workflow_that_is_too_large_is_told_with_its_lists(conn: Conn) -> None:
    id_ = uuid4()
    apply(conn, [execution(id_, input_data=LARGE, metadata={"small": True}), step(id_)])
    trace = asked(conn, "trace_workflow", correlation_id=id_)
    assert (trace["workflow"]["omitted"], trace["workflow"]["metadata"]) == (["input_data"], {"small": True})
    assert len(trace["steps"]) == 1


# ---- whether a list is all ------------------------------------------------------------------------------------------


def keep_two_of_each(conn: Conn) -> None:
    at = now() - timedelta(minutes=1)
    apply(
        conn,
        [
            *[execution(state="FAILED", completed_at=at) for _ in range(2)],
            *[step(step_name=name, execution_time_ms=1) for name in ("a", "b")],
            *[transition(from_state=state, to_state="FAILED") for state in ("PENDING", "PROCESSING")],
            *[heartbeat(node_id) for node_id in ("a", "b")],
            *[stamp(file_hash="ab", intelligence_data={"kind": "k"}) for _ in range(2)],
        ],
    )
    for _ in range(2):
        keep_error(conn, large=False)


LISTS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("find_failed_workflows", "step_timing", "transition_failures", "events_with_error")},
    **{name: {} for name in ("healthy_nodes", "list_nodes")},
    "stamps_by_hash": {"file_hash": "ab"},
    "stamps_with": {"intelligence": {"kind": "k"}},
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_says_whether_there_is_more(conn: Conn, name: str) -> None:
    keep_two_of_each(conn)
    for limit, shown, truncated in ((1, 1, True), (2, 2, False), (3, 2, False)):
        answer = asked(conn, name, **LISTS[name], limit=limit)
        assert (len(answer["items"]), answer["truncated"]) == (shown, truncated)


def test_a_list_of_nothing_is_all(conn: Conn) -> None:
    for name, parameters in LISTS.items():
        assert asked(conn, name, **parameters) == {"items": [], "truncated": False}


def test_all_bridges_at_work_are_told_up_to_a_thousand_groups(conn: Conn) -> None:
    apply(conn, [bridge_state(node_type=f"t{number}", current_fsm_state="BUSY") for number in range(1001)])
    answer = asked(conn, "active_bridge_states")
    assert (len(answer["items"]), answer["truncated"]) == (1000, True)


def test_a_list_that_ends_before_its_limit_says_so(conn: Conn) -> None:
    apply(conn, [stamp(file_hash="ab", file_metadata={"text": "x" * 250_000}) for _ in range(14)])
    answer = asked(conn, "stamps_by_hash", file_hash="ab")
    assert (len(answer["items"]), answer["truncated"]) == (12, True)
