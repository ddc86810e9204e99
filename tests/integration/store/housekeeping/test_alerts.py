"""Alerts: what in the tables wants somebody."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection

from store import status
from store.database.instant import instant
from store.housekeeping import alerts, partitions, schedules
from store.housekeeping.alerts import Alert
from store.housekeeping.retention import KeepTimes
from store.housekeeping.schedules import Grid
from tests.factories import store_connection
from tests.integration.store.housekeeping.test_partitions import DAY, TABLES
from tests.integration.store.housekeeping.test_retention import AT, TODAY, add_day, add_event, insert


@pytest.fixture
def conn(database_any: str) -> Iterator[Connection[Any]]:
    with store_connection(database_any) as opened:
        partitions.ensure(opened, days_back=8, days_ahead=4)
        yield opened


def read(conn: Connection[Any], *, days: int = 0, rows_limit: int = 2) -> list[Alert]:
    """The alerts some days from now."""
    keep = KeepTimes(operations=0)
    return alerts.read(conn, days_ahead=3, rows_limit=rows_limit, keep=keep, grids=[], at=AT + days * DAY)


def late(conn: Connection[Any], minutes: float) -> list[tuple[str, int, str]]:
    """The schedules that are late so many minutes from now."""
    grids = [Grid("a", timedelta(minutes=1)), Grid("b", timedelta(days=1), timedelta(hours=3))]
    at = AT + timedelta(minutes=minutes)
    found = alerts.read(conn, days_ahead=0, rows_limit=2, keep=KeepTimes(operations=0), grids=grids, at=at)
    return [(one.about, one.value, one.message) for one in found if one.metric == "schedule_late"]


def add_tick(conn: Connection[Any], name: str, due_at: datetime, outcome: str) -> None:
    insert(conn, "schedule_ticks", name=name, due_at=due_at, outcome=outcome)


def test_there_is_none_when_all_is_well(conn: Connection[Any]) -> None:
    assert read(conn) == []


def test_days_ahead_that_are_missing_are_told(conn: Connection[Any]) -> None:
    found = read(conn, days=3)
    assert [(one.metric, one.about, one.value) for one in found] == [("partitions_missing", t, 2) for t in TABLES]
    assert found[0].message == f"2 days have no partition, the first is {TODAY + 5 * DAY:%Y-%m-%d}"


def test_a_default_partition_that_fills_is_told(conn: Connection[Any]) -> None:
    add_event(conn, AT - 500 * DAY)
    assert read(conn) == []
    add_event(conn, AT - 500 * DAY)
    assert read(conn) == [
        Alert("default_partition_rows", "event_logs", 2, "2 or more rows lie outside every day's partition")
    ]


def test_a_day_that_retention_has_left_more_than_once_is_told(conn: Connection[Any]) -> None:
    add_day(conn, "event_logs", TODAY - 32 * DAY)
    assert read(conn) == []
    add_day(conn, "event_logs", TODAY - 33 * DAY)
    assert [(one.metric, one.about, one.value) for one in read(conn)] == [("retention_days_left", "event_logs", 1)]


def test_a_default_partition_that_is_gone_is_told(conn: Connection[Any]) -> None:
    conn.execute("alter table event_logs detach partition event_logs_default")
    told = Alert("partitions_missing", "event_logs", 1, "the default partition is missing")
    assert read(conn) == [told]
    conn.execute("drop table event_logs_default")
    assert read(conn) == [told]


def test_a_schedule_is_late_when_a_tick_has_waited_for_two_periods(conn: Connection[Any]) -> None:
    conn.execute("delete from schedule_ticks")
    assert late(conn, 10_000) == []
    add_tick(conn, "a", AT, "done")
    add_tick(conn, "a", AT + timedelta(minutes=2), "failed")
    assert late(conn, 2.99) == []
    (told,) = late(conn, 3)
    since = AT.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S+0000")
    assert told == ("a", 120, f"a tick has been due for 120 s, the last that was done was due at {since}")
    add_tick(conn, "a", AT + timedelta(minutes=2, seconds=30), "done")
    assert late(conn, 5) == []


def test_a_schedule_of_which_no_tick_was_ever_done_is_late_too(conn: Connection[Any]) -> None:
    conn.execute("delete from schedule_ticks")
    add_tick(conn, "a", AT, "done")
    add_tick(conn, "a", AT + 3 * DAY, "done")
    assert late(conn, 3 * 24 * 60) == [("b", 2 * 86_400, "a tick has been due for 172,800 s, none was ever done")]


def test_the_alerts_are_read_at_the_databases_time(conn: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is a day ahead of this host."""
    add_day(conn, "event_logs", TODAY - 32 * DAY)
    monkeypatch.setattr(alerts, "instant", lambda conn: instant(conn) + DAY)
    found = alerts.read(conn, days_ahead=0, rows_limit=2, keep=KeepTimes(operations=0), grids=[])
    assert [one.metric for one in found] == ["retention_days_left"]


def test_the_status_tells_of_late_schedules(conn: Connection[Any]) -> None:
    add_tick(conn, "a", AT - DAY, "done")
    seen = status.read(conn, keep=KeepTimes(operations=0), grids=[Grid("a", timedelta(minutes=1))])
    assert [(one.metric, one.about) for one in seen.alerts] == [("schedule_late", "a")]


def test_a_tick_of_a_clock_that_was_ahead_hides_nothing(conn: Connection[Any]) -> None:
    """The clock was three hours ahead for a while, and is right again: nothing has been done for an hour since."""
    conn.execute("delete from schedule_ticks")
    now = instant(conn)
    for due_at in (now - timedelta(hours=1), now + timedelta(hours=3)):
        add_tick(conn, "a", due_at, "done")
    grids = [Grid("a", timedelta(minutes=1))]
    found = alerts.read(conn, days_ahead=0, rows_limit=2, keep=KeepTimes(operations=0), grids=grids)
    assert [(one.metric, one.about, one.value) for one in found] == [("schedule_late", "a", 3540)]
    (latest,) = schedules.latest(conn, ["a"])
    assert latest.due_at == now - timedelta(hours=1)
    assert 3600 <= schedules.undone_s(conn, "a") < 7200


def test_a_mark_of_a_clock_that_was_ahead_stops_no_schedule(conn: Connection[Any]) -> None:
    """What a migration noted as the beginning lies ahead: nothing waits until the clock has come there again."""
    conn.execute("delete from schedule_ticks")
    add_tick(conn, "a", instant(conn) + timedelta(hours=3), "done")
    conn.execute("update schedule_ticks set runs = 0")
    (due,) = schedules.due(conn, [Grid("a", timedelta(minutes=1))])
    assert due.outcome is None
