"""How a day goes: from the oldest on, noted, and never while somebody would have to wait for it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from threading import Event
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg.errors import InsufficientPrivilege, InvalidParameterValue, LockNotAvailable

from omninode_bridge.contract.clock import uuid7
from store.housekeeping.retention import DROP_TRIES, MOST_MOVED, DayLeft, Retention, statement
from tests.factories import store_connection
from tests.integration.store.housekeeping.test_partitions import DAY, id_at
from tests.integration.store.housekeeping.test_retention import (
    AT,
    KEEP,
    MS,
    OLD,
    TODAY,
    WAITING,
    add_day,
    add_event,
    batches,
    days,
    insert,
    keys,
    run,
    survey,
)


@pytest.fixture
def conn(database_any: str) -> Iterator[Connection[Any]]:
    with store_connection(database_any) as opened:
        yield opened


def dropped_days(conn: Connection[Any]) -> dict[str, date]:
    return dict(conn.execute("select parent, last_day from dropped_days").fetchall())


def drop(conn: Connection[Any], table: str, day: datetime) -> None:
    conn.execute(statement("drop_partition"), {"parent": table, "day": day.date()})


def add_waiting(conn: Connection[Any], day: datetime, number: int) -> None:
    for count in range(number):
        add_event(conn, day + count * MS, **WAITING, seq=count)


def write(conn: Connection[Any]) -> None:
    insert(conn, "operations", operation_id=uuid7(), operation_type="t", outcome="applied", digest="")


def test_a_day_with_too_many_events_that_wait_is_left_and_so_are_those_after_it(conn: Connection[Any]) -> None:
    first, full, last = (TODAY - ago * DAY for ago in (42, 41, 40))
    for day in (first, full, last):
        add_day(conn, "event_logs", day)
    add_waiting(conn, first, 2)
    add_waiting(conn, full, MOST_MOVED + 1)
    would = survey(conn)["event_logs"]
    did = run(conn)["event_logs"]
    left = [
        DayLeft("event_logs", full.date(), "events wait"),
        DayLeft("event_logs", last.date(), "behind an older day"),
    ]
    assert (did.days, did.left, did.moved) == (1, left, 2)
    assert (would.days, would.left, would.moved, would.size_bytes) == (1, left, 2, did.size_bytes)
    assert would.kept == survey(conn)["event_logs"].kept == {"waiting to go out": MOST_MOVED + 3}
    assert days(conn, "event_logs") >= {f"event_logs_p{day:%Y%m%d}" for day in (full, last)}


def test_as_many_events_as_may_move_do(conn: Connection[Any]) -> None:
    add_day(conn, "event_logs", TODAY - 40 * DAY)
    add_waiting(conn, TODAY - 40 * DAY, MOST_MOVED)
    assert survey(conn)["event_logs"].moved == run(conn)["event_logs"].moved == MOST_MOVED


def test_what_was_dropped_last_is_noted(conn: Connection[Any]) -> None:
    for ago in (42, 41, 40):
        add_day(conn, "operations", TODAY - ago * DAY)
    drop(conn, "operations", TODAY - 41 * DAY)
    drop(conn, "operations", TODAY - 42 * DAY)
    drop(conn, "event_logs", TODAY - 43 * DAY)  # there is no such day
    assert dropped_days(conn) == {"operations": (TODAY - 41 * DAY).date()}


def test_transitions_removed_outside_every_day_count_as_dropped(conn: Connection[Any]) -> None:
    transition = {"entity_type": "t", "to_state": "X", "transition_event": "e"}
    insert(conn, "fsm_transitions", id=id_at(AT - 89 * DAY), entity_id=uuid4(), **transition)
    run(conn)
    assert dropped_days(conn) == {}
    insert(conn, "fsm_transitions", id=id_at(OLD), entity_id=uuid4(), **transition)
    run(conn)
    assert dropped_days(conn) == {"fsm_transitions": (TODAY - 91 * DAY).date()}


def test_a_day_that_went_holds_no_lock_before_the_portion_begins(conn: Connection[Any], database_any: str) -> None:
    add_day(conn, "operations", TODAY - 40 * DAY)
    job = Retention(KEEP, at=AT)
    job.aside(conn)
    assert "operations" in dropped_days(conn)
    with psycopg.connect(database_any, autocommit=True) as writer:
        writer.execute("set lock_timeout to '40ms'")
        write(writer)
        with conn.transaction():
            assert job(conn).counts["operations.days"] == 1
            write(writer)


def test_what_a_drop_did_is_told_by_the_portion_that_is_committed(conn: Connection[Any]) -> None:
    add_day(conn, "operations", TODAY - 40 * DAY)
    job = Retention(KEEP, at=AT)
    told = []
    for rolled_back in (True, True, False):
        job.aside(conn)
        with conn.transaction(force_rollback=rolled_back):
            told.append(job(conn).counts.get("operations.days"))
    assert told == [1, 1, 1]
    assert not any("operations.days" in batch.counts for batch in batches(conn, job))


def test_nobody_waits_behind_a_drop_that_waits_for_a_writer(conn: Connection[Any], database_any: str) -> None:
    """A drop without a bound would stand in the queue for as long as the first writer holds on, all others behind."""
    add_day(conn, "operations", TODAY - 40 * DAY)
    over = Event()

    def drop_again_and_again() -> int:
        tries = 0
        while not over.is_set():
            with pytest.raises(LockNotAvailable):
                drop(conn, "operations", TODAY - 40 * DAY)
            tries += 1
        return tries

    with psycopg.connect(database_any) as holder, psycopg.connect(database_any, autocommit=True) as writer:
        conn.execute("set lock_timeout to 0")
        conn.execute("set statement_timeout to '5s'")
        writer.execute("set lock_timeout to '200ms'")
        write(holder)
        with ThreadPoolExecutor(1) as beside:
            tries = beside.submit(drop_again_and_again)
            try:
                for _ in range(300):
                    write(writer)
            finally:
                over.set()
            assert tries.result(60) > 2
        assert holder.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def test_a_writer_in_the_way_of_a_day_is_let_through_and_the_day_tried_again(
    conn: Connection[Any], database_any: str
) -> None:
    name = add_day(conn, "operations", TODAY - 40 * DAY)
    job = Retention(KEEP, at=AT, draw=lambda low, high: low)
    with psycopg.connect(database_any) as writer:
        write(writer)
        job.aside(conn)
        with conn.transaction():
            blocked = job(conn)
        assert (blocked.rows, blocked.more, blocked.rest_s, blocked.counts) == (0, True, 0.2, {})
    assert sum(batch.counts.get("operations.days", 0) for batch in batches(conn, job)) == 1
    assert name not in days(conn, "operations")


def test_a_day_that_somebody_holds_for_long_is_left_and_named(
    conn: Connection[Any], database_any: str, caplog: pytest.LogCaptureFixture
) -> None:
    held, after = TODAY - 400 * DAY, TODAY - 399 * DAY
    names = {add_day(conn, "fsm_transitions", day) for day in (held, after)}
    with psycopg.connect(database_any) as writer:
        writer.execute("lock table only fsm_transitions in row exclusive mode")
        report = run(conn)["fsm_transitions"]
    left = [("fsm_transitions", held.date(), "locked"), ("fsm_transitions", after.date(), "behind an older day")]
    assert (report.days, [(one.table, one.day, one.why) for one in report.left]) == (0, left)
    logged = [vars(record)["fields"] for record in caplog.records if record.message == "day_left"]
    assert [(one["table"], date.fromisoformat(one["day"]), one["why"]) for one in logged] == left
    assert names <= days(conn, "fsm_transitions")
    assert run(conn)["fsm_transitions"].days == 2
    assert DROP_TRIES == 30


def test_today_and_other_tables_are_not_dropped(conn: Connection[Any]) -> None:
    for parent, day in (("operations", AT.date()), ("operations", None), ("workflow_executions", date(2020, 1, 1))):
        with pytest.raises(InvalidParameterValue):
            conn.execute("select drop_partition(%s, %s::date)", [parent, day])
    did = conn.execute("select drop_partition('operations', '2001-02-03')").fetchone()
    assert did == ({"dropped": False, "pending": 0},)


def test_a_role_that_only_reads_drops_nothing(conn: Connection[Any]) -> None:
    role = f"role_{uuid4().hex[:12]}"
    conn.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
    conn.execute(sql.SQL("set session authorization {}").format(sql.Identifier(role)))
    try:
        with pytest.raises(InsufficientPrivilege):
            conn.execute("select drop_partition('operations', '2001-02-03')")
    finally:
        conn.execute("reset session authorization")
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
        assert keys(conn, "operations", "operation_id") == set()
