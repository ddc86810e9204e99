"""Questions to tables with many days: the locks that they take, and that no row of any day is missed."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from omninode_bridge.contract.clock import millis
from store.housekeeping import partitions
from store.reports import days
from store.reports.parameters import USUAL
from store.reports.reports import REPORTS, ask
from tests import servers
from tests.factories import store_connection
from tests.servers import PostgresServer

Conn = psycopg.Connection[Any]
WORKFLOW, SESSION = uuid4(), uuid4()
PORTION_LOCKS = days.PORTION_DAYS * 8  # event_logs has seven indexes
QUESTIONS: dict[str, dict[str, Any]] = {
    "trace_workflow": {"correlation_id": str(WORKFLOW)},
    "session_events": {"session_id": str(SESSION)},
    "step_timing": {},
    "transition_failures": {},
    "events_with_error": {},
}


@pytest.fixture(scope="module")
def year(postgres_servers: Mapping[str, PostgresServer]) -> Iterator[str]:
    """The URL of a database with a year of days and a workflow of today, on a server that has room for few locks."""
    with servers.postgres(postgres_servers["18"].bin_dir, max_locks_per_transaction="64") as server:
        url = server.create_migrated("a_year_of_days")
        with store_connection(url) as conn:
            assert partitions.ensure(conn, days_back=366, days_ahead=3) > 1400
            conn.execute("insert into workflow_executions (id, correlation_id) values (%s, %s)", [WORKFLOW, WORKFLOW])
            fill(conn, datetime.now(UTC))
        yield url


@pytest.fixture
def conn(year: str) -> Iterator[Conn]:
    with store_connection(year) as opened, opened.transaction(force_rollback=True):
        yield opened


def fill(conn: Conn, at: datetime) -> None:
    """A step, a failed move and an event with an error of the workflow, whose ids are of that instant."""
    given = {"id": UUID(int=(millis(at) << 80) + (7 << 76) + uuid4().int % (1 << 60)), "w": WORKFLOW, "s": SESSION}
    conn.execute(
        "insert into workflow_steps (id, workflow_id, step_name, step_order, status, execution_time_ms) "
        "values (%(id)s, %(w)s, 's', 1, 'COMPLETED', 5)",
        given,
    )
    conn.execute(
        "insert into fsm_transitions (id, entity_id, entity_type, to_state, transition_event) "
        "values (%(id)s, %(w)s, 'workflow_execution', 'FAILED', 'e')",
        given,
    )
    conn.execute(
        "insert into event_logs (id, event_type, correlation_id, session_id, payload) "
        "values (%(id)s, 't', %(w)s, %(s)s, '{\"error\": 1}')",
        given,
    )


def answer(conn: Conn, name: str) -> dict[str, Any]:
    given = QUESTIONS[name]
    with conn.transaction():
        return REPORTS[name](conn, given, USUAL)


def found(name: str, told: dict[str, Any]) -> int:
    """How many rows of those tables an answer is made of."""
    if name == "trace_workflow":
        assert len({told["totals"][one] for one in ("steps", "transitions", "events")}) == 1
        return int(told["totals"]["steps"])
    if name == "session_events":
        return int(told["total_events"])
    counts = {"step_timing": "total_executions", "transition_failures": "failure_count"}
    return sum(item.get(counts.get(name, ""), 1) for item in told["items"])


@pytest.mark.parametrize("name", QUESTIONS)
def test_rows_of_every_day_are_found(conn: Conn, name: str) -> None:
    """Of a day in every month, of none, from before every day and from after them."""
    now = datetime.now(UTC)
    moments = [now - timedelta(days=day) for day in range(20, 366, 30)]
    for at in [*moments, now - timedelta(days=4000), now + timedelta(days=4000)]:
        fill(conn, at)
    assert found(name, answer(conn, name)) == len(moments) + 3


@pytest.mark.parametrize("age", [0, 40, 300])
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_locks_the_days_of_its_answer_and_no_year(conn: Conn, name: str, age: int) -> None:
    if age:
        for table in ("workflow_steps", "fsm_transitions", "event_logs"):
            conn.execute(f"delete from {table}".encode())
        fill(conn, datetime.now(UTC) - timedelta(days=age))
    conn.execute("savepoint asked")
    before = held(conn)
    assert found(name, answer(conn, name)) == 1
    tables = 3 if name == "trace_workflow" else 1
    assert 0 < held(conn) - before <= tables * PORTION_LOCKS + 40


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_asked_by_day_is_planned_with_its_days_each_time(conn: Conn, name: str) -> None:
    for _ in range(3):
        answer(conn, name)
    prepared = "select count(*) from pg_prepared_statements where statement like '%%between %%'"
    assert conn.execute(prepared, prepare=False).fetchone() == (0,)


def held(conn: Conn) -> int:
    ((count,),) = conn.execute("select count(*) from pg_locks where pid = pg_backend_pid()").fetchall()
    return int(count)


def test_many_may_ask_at_once(year: str) -> None:
    """Transactions side by side, each with all that a trace has locked."""
    with ExitStack() as stack:
        for _ in range(12):
            asking = stack.enter_context(store_connection(year))
            stack.enter_context(asking.transaction())
            assert found("trace_workflow", answer(asking, "trace_workflow")) == 1


def test_a_report_through_its_own_transaction_sees_one_moment(year: str) -> None:
    with store_connection(year) as conn:
        told = ask(conn, "trace_workflow", QUESTIONS["trace_workflow"], timeout_ms=30_000)
    assert found("trace_workflow", told) == 1
