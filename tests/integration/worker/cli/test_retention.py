"""`fleet retention`: what it says it would do, it does."""

import json
from typing import Any

import psycopg

from store.housekeeping.retention import MOST_MOVED
from store.housekeeping.schedules import LOCK_CLASS, _key
from tests.conftest import fleet
from tests.factories import store_connection
from tests.integration.store.housekeeping.test_partitions import DAY
from tests.integration.store.housekeeping.test_retention import (
    AT,
    OLD,
    TODAY,
    WAITING,
    add_day,
    add_event,
    add_step,
    add_workflow,
    days,
)


def retention(url: str, *words: str) -> dict[str, dict[str, Any]]:
    done = fleet("retention", "--json", *words, environment={"OMNINODE_DATABASE_URL": url})
    assert done.returncode == 0, done.stderr
    return {table["table"]: table for table in json.loads(done.stdout)["tables"]}


def fill(conn: psycopg.Connection[Any]) -> str:
    add_workflow(conn), add_workflow(conn, state="PROCESSING")
    add_step(conn, add_workflow(conn), AT)
    add_event(conn, OLD)
    add_event(conn, OLD, direction="out", status="pending", topic="t", partition_key="k", shard=1, seq=1)
    return add_day(conn, "event_logs", TODAY - 40 * DAY)


def test_a_dry_run_changes_nothing_and_tells_what_the_run_then_does(database: str) -> None:
    with store_connection(database) as conn:
        day = fill(conn)
        would = retention(database, "--dry-run")
        assert day in days(conn, "event_logs")
        assert conn.execute("select count(*) from schedule_ticks where runs > 0").fetchone() == (0,)
        did = retention(database)
        assert did == would
        assert (did["event_logs"]["days"], did["event_logs"]["rows"]) == (1, 1)
        assert did["event_logs"]["kept"] == {"waiting to go out": 1}
        assert did["workflow_executions"]["kept"] == {"have steps": 1, "not ended": 1}
        assert conn.execute("select name, outcome from schedule_ticks where runs > 0").fetchall() == [
            ("retention", "done")
        ]
    assert retention(database)["event_logs"]["days"] == 0


def test_it_shows_a_table_for_people_and_names_the_days_that_stay(database: str) -> None:
    day = TODAY - 39 * DAY
    with store_connection(database) as conn:
        fill(conn)
        add_day(conn, "event_logs", day)
        for number in range(MOST_MOVED + 1):
            add_event(conn, day, **WAITING, seq=number)
        would = retention(database, "--dry-run")
        shown = fleet("retention", environment={"OMNINODE_DATABASE_URL": database})
        assert would["event_logs"]["left"] == [{"table": "event_logs", "day": f"{day:%Y-%m-%d}", "why": "events wait"}]
        assert days(conn, "event_logs") >= {f"event_logs_p{day:%Y%m%d}"}
    assert shown.returncode == 0, shown.stderr
    assert "1,002 waiting to go out" in shown.stdout
    assert f"event_logs {day:%Y-%m-%d} stays: events wait" in shown.stdout.splitlines()


def test_a_keep_time_within_the_ledgers_horizon_is_refused_at_start(database: str) -> None:
    variables = {"OMNINODE_DATABASE_URL": database, "OMNINODE_RETAIN_EVENT_LOGS_DAYS": "7"}
    refused = fleet("retention", environment=variables)
    assert refused.returncode != 0
    assert "OMNINODE_RETAIN_EVENT_LOGS_DAYS is not greater than OMNINODE_LEDGER_HORIZON_DAYS" in refused.stderr


def test_it_says_when_retention_is_busy(database: str) -> None:
    with store_connection(database) as conn:
        conn.execute("select pg_advisory_lock(%s::integer, %s::integer)", [LOCK_CLASS, _key("retention")])
        refused = fleet("retention", environment={"OMNINODE_DATABASE_URL": database})
    assert refused.returncode == 1
    assert "busy" in refused.stderr
