"""The jobs of the schedules, as the settings make them."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import Connection

from store.database.errors import Outage
from store.database.instant import instant
from store.housekeeping import alerts, schedules
from store.housekeeping.job import Batch
from store.housekeeping.schedules import Ran, Tick
from tests.factories import store_connection
from worker.schedule import jobs
from worker.schedule.jobs import JOBS
from worker.settings import Settings


@pytest.fixture
def conn(database: str) -> Iterator[Connection[Any]]:
    with store_connection(database) as opened:
        opened.execute("delete from schedule_ticks")  # schedules begin now: none is late
        yield opened


@pytest.fixture
def connect(database: str) -> Iterator[Callable[[], Any]]:
    yield lambda: store_connection(database)


@pytest.fixture(autouse=True)
def nothing_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_unfinished", [])


def run(conn: Connection[Any], name: str, **options: Any) -> Ran:
    settings = Settings.load()
    tick = Tick(name, instant(conn))
    return schedules.run(conn, tick, lambda: JOBS[name](settings), ran_by="a test", pause=lambda _: None, **options)


def _after(tell: Callable[[Any], None], what: Any) -> Any:
    tell(what)
    return lambda _: Batch(rows=0, more=False)


def drop_today(conn: Connection[Any]) -> None:
    (name,) = conn.execute("select 'event_logs_p' || to_char(now(), 'YYYYMMDD')").fetchone() or ("",)
    conn.execute(f"drop table {name}".encode())


def test_days_are_made_before_alerts_are_read(conn: Connection[Any], caplog: pytest.LogCaptureFixture) -> None:
    drop_today(conn)
    assert run(conn, "partitions").counts == {"partitions_made": 1, "alerts": 0}
    assert caplog.records == []


def test_days_stay_made_whatever_the_alerts_meet(
    conn: Connection[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(conn: Connection[Any], **_: Any) -> list[alerts.Alert]:
        conn.execute("select * from no_such_table")
        raise AssertionError

    monkeypatch.setattr(alerts, "read", broken)
    drop_today(conn)
    ran = run(conn, "partitions")
    assert (ran.outcome, ran.counts) == ("done", {"partitions_made": 1, "alerts": 0})
    assert [(record.message, record.levelno) for record in caplog.records] == [("alerts_not_read", logging.ERROR)]


def test_what_making_a_day_locks_is_free_while_alerts_are_read(
    conn: Connection[Any],
    connect: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def read(*_: Any, **__: Any) -> list[alerts.Alert]:
        with connect() as other, other.transaction():
            other.execute("lock table event_logs in row exclusive mode nowait")
        return []

    monkeypatch.setattr(alerts, "read", read)
    drop_today(conn)
    assert run(conn, "partitions").counts["partitions_made"] == 1
    assert caplog.records == []


def test_retention_goes_on_with_the_run_that_this_process_did_not_finish(conn: Connection[Any]) -> None:
    settings = Settings.load()
    first = JOBS["retention"](settings)
    assert JOBS["retention"](settings) is first
    assert run(conn, "retention").outcome == "done"
    assert first.over  # type: ignore[attr-defined]
    assert JOBS["retention"](settings) is not first


def test_an_unfinished_retention_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load()
    first = JOBS["retention"](settings)
    monkeypatch.setattr(jobs, "RESUME_S", 0.0)
    assert JOBS["retention"](settings) is not first


def test_a_busy_delivery_leaves_the_unfinished_run_alone(conn: Connection[Any], connect: Callable[[], Any]) -> None:
    made: list[Any] = []
    with connect() as holder:
        tick = Tick("retention", instant(conn))
        schedules.run(holder, tick, lambda: _after(made.append, run(conn, "retention")), ran_by="another")
    assert [ran.outcome for ran in made] == ["busy"]
    assert jobs._unfinished == []


def test_a_connection_that_is_lost_while_alerts_are_read_fails_the_tick(
    conn: Connection[Any], connect: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(mine: Connection[Any], **_: Any) -> list[alerts.Alert]:
        with connect() as other:
            other.execute("select pg_terminate_backend(%s)", [mine.info.backend_pid])
        mine.execute("select 1")
        raise AssertionError

    monkeypatch.setattr(alerts, "read", killed)
    with connect() as lost, pytest.raises(Outage):
        run(lost, "partitions")
