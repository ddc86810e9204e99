"""Ticks of schedules on the real database: each takes effect once, whatever happens to whoever runs it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.pq import TransactionStatus

from store.database.errors import Outage
from store.housekeeping import schedules
from store.housekeeping.job import Batch
from store.housekeeping.schedules import Grid, Ran, Tick, statement
from tests.factories import store_connection

NAME = "sweeping"
TICK = Tick(NAME, datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def conn(database_any: str) -> Iterator[Connection[Any]]:
    with store_connection(database_any) as opened:
        opened.execute("create table todo (i bigint primary key, done_by text)")
        opened.execute("create table effects (i bigint)")
        opened.execute("insert into todo select generate_series(1, 10)")
        yield opened


@pytest.fixture
def connect(database_any: str) -> Iterator[Callable[[], Connection[Any]]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(store_connection(database_any))


def portions(conn: Connection[Any], *, of: int = 4) -> Batch:
    """A job that sees in the rows what is left: `of` of `todo` at a time, each with its effect."""
    taken = conn.execute(
        "with taken as (update todo set done_by = 'us' where i in (select i from todo where done_by is null limit %s)"
        " returning i) insert into effects select i from taken",
        [of],
    ).rowcount
    return Batch(rows=taken, more=taken == of, counts={"taken": taken})


def never() -> Any:
    raise AssertionError("there was nothing to do")


class WithAside:
    """`portions`, and what it saw: when it was called, and whether within a transaction."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, TransactionStatus]] = []
        self.in_the_way = 0

    def aside(self, conn: Connection[Any]) -> None:
        self.calls.append(("aside", conn.info.transaction_status))
        conn.execute("insert into effects values (0)")
        if self.in_the_way:
            self.in_the_way -= 1
            raise psycopg.errors.LockNotAvailable

    def __call__(self, conn: Connection[Any]) -> Batch:
        self.calls.append(("portion", conn.info.transaction_status))
        return portions(conn, of=6)


def run(conn: Connection[Any], job: Any = portions, tick: Tick = TICK, **options: Any) -> Ran:
    return schedules.run(conn, tick, lambda: job, **{"ran_by": "a test", "pause": lambda _: None, **options})


def _raise(error: Exception) -> Any:
    raise error


def effects(conn: Connection[Any]) -> list[int]:
    return [row[0] for row in conn.execute("select i from effects order by i")]


def row(conn: Connection[Any], columns: str = "outcome, runs, rows_touched, counts, error") -> Any:
    query = f"select {columns} from schedule_ticks where name = %s and due_at = %s".encode()
    return conn.execute(query, [TICK.name, TICK.due_at]).fetchone()


def test_a_tick_takes_effect_once_however_often_it_is_run(conn: Connection[Any]) -> None:
    assert run(conn) == Ran("done", 10, {"taken": 10}, worked_ms=row(conn, "worked_ms")[0])
    assert [schedules.run(conn, TICK, never, ran_by="a test") for _ in range(2)] == [Ran("known"), Ran("known")]
    assert effects(conn) == list(range(1, 11))
    assert row(conn) == ("done", 1, 10, {"taken": 10}, None)


def test_the_next_tick_is_another(conn: Connection[Any]) -> None:
    run(conn)
    assert run(conn, tick=Tick(NAME, TICK.due_at + timedelta(seconds=15))).outcome == "done"


def test_of_two_at_once_one_works_and_the_other_is_told(
    conn: Connection[Any], connect: Callable[[], Connection[Any]]
) -> None:
    seen: list[Ran] = []

    def job(mine: Connection[Any]) -> Batch:
        seen.append(schedules.run(connect(), TICK, never, ran_by="another"))
        seen.append(run(connect(), tick=Tick("another", TICK.due_at), job=lambda _: Batch(rows=0, more=False)))
        return portions(mine, of=100)

    assert run(conn, job).outcome == "done"
    assert [ran.outcome for ran in seen] == ["busy", "done"]
    assert run(connect()).outcome == "known"
    assert effects(conn) == list(range(1, 11))


def test_a_tick_that_is_killed_between_portions_is_begun_anew_and_nothing_is_doubled(
    conn: Connection[Any], connect: Callable[[], Connection[Any]]
) -> None:
    killed = connect()

    def job(mine: Connection[Any]) -> Batch:
        if effects(conn):
            portions(mine)  # its second portion is not committed
            conn.execute("select pg_terminate_backend(%s)", [mine.info.backend_pid])
        return portions(mine)

    with pytest.raises(Outage):
        run(killed, job)
    assert effects(conn) == [1, 2, 3, 4]
    assert row(conn) == ("running", 1, 4, {"taken": 4}, None)
    assert run(conn).rows == 6
    assert effects(conn) == list(range(1, 11))
    assert row(conn) == ("done", 2, 10, {"taken": 10}, None)


def test_a_failure_is_noted_and_the_tick_runs_again(conn: Connection[Any]) -> None:
    def job(mine: Connection[Any]) -> Batch:
        batch = portions(mine)
        if batch.rows and len(effects(mine)) > 4:
            raise RuntimeError("the \0 roof is on fire\nand more")
        return batch

    with pytest.raises(RuntimeError):
        run(conn, job)
    assert effects(conn) == [1, 2, 3, 4]
    assert row(conn) == ("failed", 1, 4, {"taken": 4}, "RuntimeError: the  roof is on fire")
    assert row(conn, "ended_at is not null") == (True,)
    assert run(conn).outcome == "done"
    assert row(conn) == ("done", 2, 10, {"taken": 10}, None)


def test_a_failure_at_once_leaves_a_row_and_the_lock_free(
    conn: Connection[Any], connect: Callable[[], Connection[Any]]
) -> None:
    with pytest.raises(ZeroDivisionError):
        run(conn, lambda _: Batch(rows=1 // 0, more=False))
    assert row(conn) == ("failed", 1, 0, {}, "ZeroDivisionError: integer division or modulo by zero")
    assert run(connect()).outcome == "done"


def test_a_job_that_cannot_be_made_is_a_failure_too(conn: Connection[Any]) -> None:
    with pytest.raises(ValueError, match="b: named twice"):
        schedules.run(conn, TICK, lambda: _raise(ValueError("b: named twice")), ran_by="a test")
    assert row(conn, "outcome, runs, error") == ("failed", 1, "ValueError: b: named twice")


def test_what_a_job_does_aside_is_before_each_portion_and_in_no_transaction(conn: Connection[Any]) -> None:
    job = WithAside()
    assert run(conn, job).outcome == "done"
    assert job.calls == [("aside", TransactionStatus.IDLE), ("portion", TransactionStatus.INTRANS)] * 2
    assert effects(conn) == [0, 0, *range(1, 11)]


def test_what_a_job_does_aside_stands_when_its_run_dies_before_the_portion(
    conn: Connection[Any], connect: Callable[[], Connection[Any]]
) -> None:
    class Killed(WithAside):
        def __call__(self, mine: Connection[Any]) -> Batch:
            conn.execute("select pg_terminate_backend(%s)", [mine.info.backend_pid])
            return super().__call__(mine)

    with pytest.raises(Outage):
        run(connect(), Killed())
    assert effects(conn) == [0]
    assert row(conn) is None


def test_a_job_whose_aside_meets_another_tries_that_again_and_not_its_portion(conn: Connection[Any]) -> None:
    job = WithAside()
    job.in_the_way = 2
    assert run(conn, job).outcome == "done"
    assert [what for what, _ in job.calls] == ["aside"] * 3 + ["portion", "aside", "portion"]


def test_a_worker_that_is_frozen_in_a_portion_loses_its_locks_within_seconds(conn: Connection[Any]) -> None:
    def job(mine: Connection[Any]) -> Batch:
        limits.append(mine.execute("show idle_in_transaction_session_timeout").fetchone())
        return Batch(rows=0, more=False)

    limits: list[Any] = []
    conn.execute("set idle_in_transaction_session_timeout to '30s'")
    run(conn, job)
    assert limits == [("3s",)]
    assert conn.execute("show idle_in_transaction_session_timeout").fetchone() == ("30s",)


def test_what_the_database_cannot_do_is_an_outage_that_the_row_tells_of(conn: Connection[Any]) -> None:
    def job(mine: Connection[Any]) -> Batch:
        mine.execute("select * from no_such_table")
        raise AssertionError

    with pytest.raises(Outage):
        run(conn, job)
    assert row(conn, "outcome, split_part(error, ':', 1)") == ("failed", "UndefinedTable")


def test_contention_is_run_again(conn: Connection[Any]) -> None:
    tries: list[int] = []

    def job(mine: Connection[Any]) -> Batch:
        batch = portions(mine, of=100)
        tries.append(batch.rows)
        if len(tries) < 3:
            mine.execute("do $$ begin raise sqlstate '40P01'; end $$")
        return batch

    assert run(conn, job).outcome == "done"
    assert tries == [10, 10, 10]
    assert row(conn) == ("done", 1, 10, {"taken": 10}, None)


def test_one_that_is_late_stops_between_portions_and_goes_on_in_another_run(conn: Connection[Any]) -> None:
    assert run(conn, late=lambda: True) == Ran("unfinished", 4, {"taken": 4}, row(conn, "worked_ms")[0])
    assert row(conn) == ("running", 1, 4, {"taken": 4}, None)
    assert row(conn, "ended_at") == (None,)
    assert run(conn).outcome == "done"
    assert row(conn) == ("done", 2, 10, {"taken": 10}, None)


def test_a_portion_of_a_tick_that_another_has_done_meanwhile_leaves_nothing(
    conn: Connection[Any], connect: Callable[[], Connection[Any]]
) -> None:
    """The lock keeps this from happening; where it fails, the row does."""
    other = connect()

    def job(mine: Connection[Any]) -> Batch:
        insert = b"insert into schedule_ticks (name, due_at, outcome) values (%s, %s, 'done')"
        other.execute(insert, [TICK.name, TICK.due_at])
        return portions(mine)

    assert run(conn, job).outcome == "known"
    assert effects(conn) == []


def test_a_job_rests_between_portions_and_outside_of_any_transaction(conn: Connection[Any]) -> None:
    rests: list[tuple[float, TransactionStatus]] = []

    def job(mine: Connection[Any]) -> Batch:
        done = portions(mine)
        return Batch(done.rows, done.more, rest_s=1.5)

    run(conn, job, pause=lambda seconds: rests.append((seconds, conn.info.transaction_status)))
    assert rests == [(1.5, TransactionStatus.IDLE)] * 2


def test_counts_of_all_portions_and_runs_are_added_up_by_kind(conn: Connection[Any]) -> None:
    given = iter([{"a": 1}, {"a": 2, "b": 5}, {"b": 1, "c": 0}])

    def job(_: Connection[Any]) -> Batch:
        counts = next(given)
        return Batch(rows=1, more="c" not in counts, counts=counts)

    assert run(conn, job).counts == {"a": 3, "b": 6, "c": 0}
    assert row(conn, "counts") == ({"a": 3, "b": 6, "c": 0},)


def test_a_tick_ahead_of_the_clock_is_refused(conn: Connection[Any]) -> None:
    with pytest.raises(ValueError, match="ahead"):
        run(conn, tick=Tick(NAME, datetime.now(UTC) + timedelta(hours=1)))
    assert conn.execute("select count(*) from schedule_ticks where runs > 0").fetchone() == (0,)


def test_only_the_newest_tick_is_due(conn: Connection[Any]) -> None:
    at = TICK.due_at + timedelta(seconds=50)
    grid = Grid(NAME, timedelta(seconds=15))
    (due,) = schedules.due(conn, [grid], at=at)
    assert (due.tick.due_at, due.outcome, due.next_in_s) == (TICK.due_at + timedelta(seconds=45), None, 10.0)
    run(conn, tick=due.tick)
    (due,) = schedules.due(conn, [grid], at=at)
    assert due.is_done
    assert conn.execute("select count(*) from schedule_ticks where runs > 0").fetchone() == (1,)


def test_due_answers_in_the_order_of_the_question(conn: Connection[Any]) -> None:
    grids = [Grid(name, timedelta(hours=1)) for name in ("z", "a", "m")]
    assert [due.tick.name for due in schedules.due(conn, grids)] == ["z", "a", "m"]


DAY = timedelta(days=1)
RETENTION = Grid("retention", DAY, timedelta(hours=3))


def test_rows_are_not_removed_for_a_time_before_there_was_retention(conn: Connection[Any]) -> None:
    """So that there is time for a dry run, until the next time of day that is set for it."""
    (began,) = conn.execute("select due_at from schedule_ticks where name = 'retention'").fetchone() or (None,)
    assert began is not None
    (due,) = schedules.due(conn, [RETENTION], at=began)
    assert due.is_done
    (next_,) = schedules.due(conn, [RETENTION], at=began + timedelta(seconds=due.next_in_s + 1))
    assert (next_.tick.due_at, next_.outcome) == (due.tick.due_at + DAY, None)
    (latest,) = schedules.latest(conn, ["retention"])
    assert (latest.due_at, latest.done_at) == (None, None)


def test_of_other_schedules_a_tick_that_was_missed_is_due(conn: Connection[Any]) -> None:
    assert not schedules.due(conn, [Grid("partitions", DAY, timedelta(hours=3))])[0].is_done


@pytest.mark.parametrize(
    ("period", "offset", "at", "due_at", "next_in_s"),
    [
        (DAY, timedelta(hours=3), "2026-03-29T02:59:59Z", "2026-03-28T03:00Z", 1),
        (DAY, timedelta(hours=3), "2026-03-29T03:00:00Z", "2026-03-29T03:00Z", DAY.total_seconds()),  # clocks change
        (DAY, timedelta(hours=3), "2026-10-25T12:00:00Z", "2026-10-25T03:00Z", 15 * 3600),
        (timedelta(seconds=15), timedelta(0), "2026-03-01T12:00:14.999999Z", "2026-03-01T12:00Z", 0.000001),
        (timedelta(seconds=15), timedelta(0), "2026-03-01T12:00:15Z", "2026-03-01T12:00:15Z", 15),
        (timedelta(seconds=2.5), timedelta(0), "2026-03-01T00:00:04Z", "2026-03-01T00:00:02.5Z", 1),
        (timedelta(hours=1), timedelta(minutes=5), "2026-03-01T12:04Z", "2026-03-01T11:05Z", 60),
    ],
)
def test_ticks_lie_on_a_grid(
    conn: Connection[Any], period: timedelta, offset: timedelta, at: str, due_at: str, next_in_s: float
) -> None:
    (due,) = schedules.due(conn, [Grid(NAME, period, offset)], at=datetime.fromisoformat(at))
    assert due.tick.due_at == datetime.fromisoformat(due_at)
    assert due.next_in_s == pytest.approx(next_in_s, abs=1e-6)


def test_the_latest_tick_tells_what_came_of_it(conn: Connection[Any]) -> None:
    run(conn)
    with pytest.raises(ZeroDivisionError):
        run(conn, lambda _: Batch(rows=1 // 0, more=False), Tick(NAME, TICK.due_at + timedelta(seconds=15)))
    never, last = schedules.latest(conn, ["never", NAME])
    assert (never.name, never.due_at, never.done_at) == ("never", None, None)
    assert (last.due_at, last.outcome) == (TICK.due_at + timedelta(seconds=15), "failed")
    assert last.done_at == row(conn, "ended_at")[0]
    assert last.ran_by == "a test"


@pytest.mark.parametrize("name", ["due_ticks", "read_tick", "latest_ticks", "undone_for"])
def test_ticks_are_found_by_their_key(conn: Connection[Any], name: str) -> None:
    conn.execute("""insert into schedule_ticks (name, due_at, outcome)
        select 'n' || g % 4, to_timestamp(g), 'done' from generate_series(1, 5000) as g""")
    conn.execute("analyze schedule_ticks")
    given = {"names": [NAME], "periods_s": [15], "offsets_s": [0], "at": None, "name": NAME, "due_at": TICK.due_at}
    plan = conn.execute(b"explain " + statement(name).encode(), given).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "schedule_ticks_pkey" in text
    assert "Seq Scan on schedule_ticks" not in text


def test_the_lock_goes_with_a_connection_that_cannot_give_it_back(
    conn: Connection[Any], connect: Callable[[], Connection[Any]]
) -> None:
    lost = connect()

    def job(mine: Connection[Any]) -> Batch:
        conn.execute("select pg_terminate_backend(%s)", [mine.info.backend_pid])
        mine.execute("select 1")
        raise AssertionError

    with pytest.raises(Outage):
        run(lost, job)
    assert lost.closed
    assert run(conn).outcome == "done"


def test_a_tick_ends_in_one_of_three_ways(conn: Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("insert into schedule_ticks (name, due_at, outcome) values ('n', now(), 'perhaps')")
