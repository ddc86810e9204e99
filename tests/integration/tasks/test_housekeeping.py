"""The schedules' tasks: what becomes of a message."""

import logging
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from celery import Celery
from psycopg import Connection

from store.database.errors import Outage
from store.database.instant import instant
from store.housekeeping import schedules
from store.housekeeping.job import Batch
from store.housekeeping.schedules import Tick
from tasks.housekeeping import Chore, register
from tests.factories import store_connection

TASK = "omninode.keep_something"
DUE_AT = "2026-03-01T12:00:00+00:00"


@pytest.fixture
def conn(database: str) -> Iterator[Connection[Any]]:
    with store_connection(database) as opened:
        yield opened


@pytest.fixture
def app() -> Celery:
    made = Celery("housekeeping", set_as_current=False)
    made.send_task = Mock()
    return made


@pytest.fixture
def deliver(app: Celery, conn: Connection[Any]) -> Callable[..., Any]:
    """Register a job's task and deliver it one message, with a slice of time that is over at once unless told."""

    def act(job: Any, due_at: Any = DUE_AT, *, slice_s: float = 1e-9, **engine: Any) -> Any:
        made = Mock(**{"run": lambda work: work(conn), "stopping": False, "deaths": lambda _: 0, **engine})
        app.tasks.pop(TASK, None)
        chore = Chore("something", TASK, lambda: job, expires_s=60, period_s=60)
        register(app, made, [chore], slice_s=slice_s)
        return app.tasks[TASK].apply(args=[due_at]).get()

    return act


def nothing(_: Connection[Any]) -> Batch:
    return Batch(rows=0, more=False)


def test_a_message_runs_its_tick_and_a_second_one_finds_it_done(
    deliver: Callable[..., Any], conn: Connection[Any], app: Any
) -> None:
    assert [deliver(nothing), deliver(nothing)] == ["done", "known"]
    found = conn.execute(
        "select name, due_at = %s, outcome, runs from schedule_ticks where runs > 0", [DUE_AT]
    ).fetchall()
    assert found == [("something", True, "done", 1)]
    app.send_task.assert_not_called()


def test_one_that_is_not_finished_sends_itself_again(deliver: Callable[..., Any], app: Any) -> None:
    assert deliver(lambda _: Batch(rows=1, more=True)) == "unfinished"
    app.send_task.assert_called_once_with(TASK, args=[DUE_AT], queue="housekeeping", expires=60, ignore_result=True)


def test_a_worker_that_is_stopping_leaves_what_is_left_to_another(
    deliver: Callable[..., Any], conn: Connection[Any], app: Any
) -> None:
    """Its pauses return at once then: portions without rests would be a storm."""
    portions = []

    def job(_: Connection[Any]) -> Batch:
        portions.append(1)
        return Batch(rows=1, more=len(portions) < 5, rest_s=100)

    assert deliver(job, slice_s=1000, stopping=True) == "unfinished"
    assert len(portions) == 1
    app.send_task.assert_called_once()
    assert deliver(job, slice_s=1000) == "done"


@pytest.mark.parametrize(("done_ago", "told"), [("119 s", []), ("121 s", ["schedule_late"])])
def test_somebody_who_is_at_a_schedule_for_too_long_is_told_of(
    deliver: Callable[..., Any],
    conn: Connection[Any],
    database: str,
    caplog: pytest.LogCaptureFixture,
    done_ago: str,
    told: list[str],
) -> None:
    conn.execute(
        "insert into schedule_ticks (name, due_at, outcome) values ('something', now() - %s::interval, 'done')",
        [done_ago],
    )
    tick = Tick("something", instant(conn))
    answers: list[Any] = []

    def job(_: Connection[Any]) -> Batch:
        answers.append(deliver(nothing))
        return Batch(rows=0, more=False)

    with store_connection(database) as holder:
        schedules.run(holder, tick, lambda: job, ran_by="another")
    assert answers == ["busy"]
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == told


def test_one_that_cannot_send_itself_again_leaves_that_to_the_beats(
    deliver: Callable[..., Any], app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app.send_task.side_effect = OSError
    assert deliver(lambda _: Batch(rows=1, more=True)) == "unfinished"
    assert [record.message for record in caplog.records] == ["tick_not_sent_again"]


@pytest.mark.parametrize(
    "due_at", [None, 7, "", "noon", "2026-03-01T12:00:00", ["2026-03-01"], "9999-01-01T00:00:00+00:00"]
)
def test_an_argument_that_is_no_due_moment_is_logged(
    deliver: Callable[..., Any], conn: Connection[Any], caplog: pytest.LogCaptureFixture, due_at: Any
) -> None:
    assert deliver(nothing, due_at) is None
    assert [record.message for record in caplog.records] == ["tick_failed"]
    assert conn.execute("select count(*) from schedule_ticks where runs > 0").fetchone() == (0,)


def test_a_failing_job_is_logged_and_raises_nothing(
    deliver: Callable[..., Any], conn: Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert deliver(lambda _: Batch(rows=1 // 0, more=False)) is None
    assert [(record.message, record.levelno) for record in caplog.records] == [("tick_failed", logging.ERROR)]
    assert conn.execute("select outcome from schedule_ticks where runs > 0").fetchone() == ("failed",)


def test_an_outage_is_logged_in_a_line(deliver: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    def away(_: Any) -> None:
        raise Outage("it is away")

    assert deliver(nothing, run=away) is None
    assert [(record.message, record.levelno) for record in caplog.records] == [("tick_put_off", logging.WARNING)]
    assert caplog.records[0].exc_info is None
