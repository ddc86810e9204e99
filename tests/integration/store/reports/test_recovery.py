"""What recovery gives back, page by page, and what it does when there is no time or no room for all of it."""

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from omninode_bridge.contract.clock import now
from omninode_bridge.contract.errors import OnexError
from store.reports import recovery
from store.reports.recovery import FRONT, PORTION_ROWS, Recovered, recover, statement
from store.write.apply import apply
from tests.factories import store_connection, transition

Conn = psycopg.Connection[Any]
WEEK = timedelta(days=7)
FILL = """
insert into fsm_states (
  entity_type, entity_id, current_state, previous_state, transition_count, last_transition_at, clock, metadata)
select
  %(kind)s, ('00000000-0000-4000-8000-' || to_char(i, 'FM000000000000'))::uuid, 'PROCESSING', 'PENDING', 2,
  now() - i * %(apart)s::interval, to_char(i, 'FM000000000000'), jsonb_build_object('n', i, 'note', %(note)s::text)
from generate_series(1, %(rows)s) as i
on conflict do nothing
"""


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as opened:
        yield opened


def fill(
    conn: Conn, rows: int, *, kind: str = "workflow_execution", apart_s: float = 1, note: str = "of a reducer"
) -> None:
    """`rows` machines; the n-th of them moved n times `apart_s` ago."""
    conn.execute(FILL, {"rows": rows, "kind": kind, "apart": timedelta(seconds=apart_s), "note": note})


def asked(conn: Conn, **bounds: Any) -> Recovered:
    return recover(conn, **{"within": WEEK, "rows_limit": 10_000, "timeout_s": 30.0, **bounds})


def numbers(answer: Recovered) -> list[int]:
    return [state["metadata"]["n"] for state in answer.states.values()]


def all_pages(ask: Callable[[str | None], Recovered]) -> list[int]:
    """The numbers of every page, one after the other, from the first to the one that names no next."""
    answer = ask(None)
    found = numbers(answer)
    while answer.next_page is not None:
        answer = ask(answer.next_page)
        found += numbers(answer)
    return found


def test_it_tells_where_each_workflow_stands(conn: Conn) -> None:
    workflow, at = uuid4(), now() - timedelta(minutes=1)
    first = transition(workflow, to_state="PROCESSING", occurred_at=at, from_state="PENDING")
    last = transition(workflow, to_state="COMPLETED", occurred_at=at + timedelta(seconds=1), from_state="PROCESSING")
    apply(conn, [last, first])
    ((known, state),) = asked(conn).states.items()
    assert datetime.fromisoformat(state.pop("last_transition_at")) == last.occurred_at  # zeros at its end are left out
    assert known == str(workflow)
    assert state == {
        "current_state": "COMPLETED",
        "previous_state": "PROCESSING",
        "transition_count": 2,
        "metadata": {},
    }


def test_metadata_of_the_last_move_comes_back(conn: Conn) -> None:
    fill(conn, 1, note="grüße \u2603")
    (state,) = asked(conn).states.values()
    assert state["metadata"] == {"n": 1, "note": "grüße \u2603"}


def test_an_instant_comes_back_as_aware_text_in_utc(conn: Conn) -> None:
    fill(conn, 3)
    for state in asked(conn).states.values():
        assert datetime.fromisoformat(state["last_transition_at"]).utcoffset() == timedelta(0)


def test_other_machines_and_those_that_rested_longer_are_left_out(conn: Conn) -> None:
    fill(conn, 20, apart_s=86_400)
    fill(conn, 20, kind="node")
    assert numbers(asked(conn)) == [1, 2, 3, 4, 5, 6]
    assert numbers(asked(conn, within=timedelta(days=3))) == [1, 2]
    assert asked(conn, within=timedelta(hours=1)) == Recovered()


def test_the_newest_come_first_and_the_rest_is_on_the_next_pages(conn: Conn) -> None:
    fill(conn, 2 * PORTION_ROWS + 7)
    assert numbers(asked(conn, rows_limit=3)) == [1, 2, 3]
    for limit in (20, PORTION_ROWS, PORTION_ROWS + 1, 10_000):
        found = all_pages(lambda page, limit=limit: asked(conn, rows_limit=limit, page=page))  # type: ignore[misc]
        assert found == list(range(1, 2 * PORTION_ROWS + 8))


def test_an_answer_that_holds_everything_names_no_next_page(conn: Conn) -> None:
    fill(conn, 2 * PORTION_ROWS)
    assert asked(conn, rows_limit=2 * PORTION_ROWS).next_page is None
    assert asked(conn, rows_limit=2 * PORTION_ROWS - 1).next_page is not None


def test_machines_that_moved_at_one_instant_are_neither_skipped_nor_repeated(conn: Conn) -> None:
    fill(conn, 25, apart_s=0)
    found = all_pages(lambda page: asked(conn, rows_limit=4, page=page))
    assert found == list(range(25, 0, -1))  # by id then, greatest first


def test_an_answer_stops_where_its_bytes_are_used_up(conn: Conn) -> None:
    fill(conn, 600, note="x" * 2000)
    answer = asked(conn, max_bytes=100_000)
    assert 100_000 <= len(json.dumps(answer.states)) < 105_000
    assert not answer.partial
    assert all_pages(lambda page: asked(conn, max_bytes=100_000, page=page)) == list(range(1, 601))


def test_bytes_are_counted_as_they_travel(conn: Conn) -> None:
    fill(conn, 600, note="\u2603" * 500)  # six bytes each in a task's result
    assert len(json.dumps(asked(conn, max_bytes=100_000).states)) < 105_000


def test_every_page_makes_progress_however_large_a_workflow_is(conn: Conn) -> None:
    fill(conn, 3, note="x" * 2000)
    assert all_pages(lambda page: asked(conn, max_bytes=1, page=page)) == [1, 2, 3]


def test_time_that_is_up_between_two_portions_gives_what_was_read(conn: Conn) -> None:
    fill(conn, 4 * PORTION_ROWS)
    clock = itertools.count()  # a second passes with every look
    answer = asked(conn, timeout_s=3.5, now=lambda: float(next(clock)))
    assert answer.partial
    assert numbers(answer) == list(range(1, len(answer.states) + 1))
    assert 0 < len(answer.states) < 4 * PORTION_ROWS
    rest = all_pages(lambda page: asked(conn, page=page or answer.next_page))
    assert numbers(answer) + rest == list(range(1, 4 * PORTION_ROWS + 1))


def test_time_that_is_up_in_a_statement_gives_what_was_read(conn: Conn, database: str) -> None:
    fill(conn, 3)
    with psycopg.connect(database) as other:
        other.execute("lock table fsm_states in access exclusive mode")
        answer = asked(conn, timeout_s=0.05)
        assert answer == Recovered({}, partial=True, next_page=FRONT.name())
        conn.execute("set lock_timeout to 20")  # a worker's connections have one
        assert asked(conn, timeout_s=30).partial
    assert numbers(asked(conn, page=answer.next_page)) == [1, 2, 3]
    row = conn.execute("show statement_timeout").fetchone()
    assert row == ("0",)  # the connection is as it was


def test_no_time_at_all_is_a_partial_answer_too(conn: Conn) -> None:
    fill(conn, 3)
    assert asked(conn, timeout_s=0.0) == Recovered({}, partial=True, next_page=FRONT.name())


def test_one_answer_is_of_one_moment(conn: Conn, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "PORTION_ROWS", 2)
    fill(conn, 6)
    looks = itertools.count()

    def one_moves_while_it_is_read() -> float:
        if next(looks) == 2:
            with store_connection(database) as other:
                other.execute("update fsm_states set last_transition_at = now() where metadata ->> 'n' = '6'")
        return 0.0

    assert numbers(asked(conn, now=one_moves_while_it_is_read)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "page",
    ["", "/", "x", "infinity/", "infinity/x", "2026-01-05/00000000-0000-4000-8000-000000000000", f"now/{UUID(int=1)}"],
)
def test_a_page_that_no_answer_has_named_is_refused(conn: Conn, page: str) -> None:
    with pytest.raises(OnexError) as refused:
        asked(conn, page=page)
    assert refused.value.error_code == "VALIDATION_ERROR"
    assert refused.value.message == "page: not one that an answer has named"


def test_it_goes_by_its_index_alone(database_any: str) -> None:
    with store_connection(database_any) as conn:
        fill(conn, 20_000, apart_s=100)
        fill(conn, 5_000, kind="node")
        conn.execute("analyze fsm_states")
        for name in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
            conn.execute(psycopg.sql.SQL("reset {}").format(psycopg.sql.Identifier(name)))
        question = {"before": FRONT.moved_at, "before_id": FRONT.entity_id, "within": WEEK, "rows_limit": 1001}
        plan = "\n".join(row[0] for row in conn.execute("explain " + statement("recover_fsm_states"), question))
    assert "Index Scan using idx_fsm_states_recovery" in plan, plan
    assert "Sort" not in plan, plan
