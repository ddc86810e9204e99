"""Three beats at once, one of them killed every few seconds: every tick takes effect once, and none is missing."""

import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.acceptance.processes import pids_of
from tests.conftest import Stack, fleet, read_environment
from tests.deadline import wait_until

pytestmark = pytest.mark.acceptance

WINDOW_S = 40  # longer by hand: what is promised was also seen over 120 s, with a kill every 20 s
KILL_EVERY_S = 8
BEATS = 3
PERIODS = {"heartbeat-sweep": timedelta(seconds=2), "fsm-recovery": timedelta(seconds=3)}
SHORT = {"OMNINODE_HEARTBEAT_SWEEP_S": "2", "OMNINODE_FSM_RECOVERY_S": "3"}
START_S = 60  # of a process, on a machine with other things to do
UP = ("up", "--detach", "--no-flower", "--relays", "0", "--beats", str(BEATS))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Whatever makes a tick done, however often, is in this table.
NOTE_EVERY_END = """
create table ends (name text, due_at timestamptz);
create function note_end() returns trigger language plpgsql as
  $$ begin insert into ends values (new.name, new.due_at); return null; end $$;
create trigger note_end after insert or update on schedule_ticks
  for each row when (new.outcome = 'done') execute function note_end();
"""


@pytest.fixture(scope="module")
def beating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A fleet of its own, with three beats and short periods."""
    data_dir = tmp_path_factory.mktemp("beats")
    _up(data_dir)
    try:
        yield Stack(data_dir, read_environment(data_dir / "fleet.env"))
    finally:
        assert fleet("down", "--data-dir", data_dir).returncode == 0


@pytest.fixture
def conn(beating: Stack) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(beating.env["OMNINODE_DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.mark.timeout(WINDOW_S + 180)
def test_every_tick_takes_effect_once_while_beats_are_killed(beating: Stack, conn: psycopg.Connection[Any]) -> None:
    conn.execute(NOTE_EVERY_END.encode())
    begin = _clock(conn)
    _kill_in_turn(beating, conn)
    expected = _grid(begin, _clock(conn))
    wait_until(lambda: expected <= set(_ends(conn)), seconds=20, what="the last ticks are done")
    ends = [end for end in _ends(conn) if end in expected]
    assert sorted(ends) == sorted(expected)
    ticks = conn.execute(
        "select name, due_at, outcome, runs from schedule_ticks where due_at >= %s", [begin]
    ).fetchall()
    assert [tick for tick in ticks if tick[:2] in expected and tick[2:] != ("done", 1)] == []
    assert len(expected) >= WINDOW_S // 2 + WINDOW_S // 3 - 2
    _each_node_was_found_silent_once(conn)


def test_of_all_ticks_before_the_first_start_the_newest_ran(conn: psycopg.Connection[Any]) -> None:
    found = conn.execute("select due_at, outcome from schedule_ticks where name = 'partitions' order by 1").fetchall()
    assert [outcome for _, outcome in found] == ["done"] * len(found)
    assert timedelta(0) <= _clock(conn) - found[-1][0] < timedelta(hours=1)
    assert len(found) <= 2  # the window may have crossed an hour


def test_retention_waits_for_its_next_time_of_day(conn: psycopg.Connection[Any]) -> None:
    found = conn.execute("select due_at, ran_by from schedule_ticks where name = 'retention' order by 1").fetchall()
    began_at, began_by = found[0]
    assert began_by == "migration"
    assert all(due_at > began_at for due_at, _ in found[1:])


def test_after_a_pause_the_newest_missed_tick_runs_and_older_ones_do_not(beating: Stack) -> None:
    assert fleet("down", "--data-dir", beating.data_dir).returncode == 0
    paused_at = datetime.now(UTC)
    missed = 3 * max(PERIODS.values())
    wait_until(lambda: datetime.now(UTC) - paused_at > missed, seconds=60, what="ticks are missed")
    _up(beating.data_dir)
    with psycopg.connect(read_environment(beating.data_dir / "fleet.env")["OMNINODE_DATABASE_URL"]) as conn:
        conn.autocommit = True
        for name, period in PERIODS.items():
            first, *_ = wait_until(partial(_since, conn, name, paused_at), seconds=20, what=f"{name} runs")
            due_at, started_at = first
            assert due_at - paused_at > 2 * period, "the pause was too short to miss anything"
            assert started_at - due_at < 2 * period


def _up(data_dir: Path) -> None:
    started = fleet(*UP, "--data-dir", data_dir, environment=SHORT)
    assert started.returncode == 0, started.stdout + started.stderr


def _kill_in_turn(stack: Stack, conn: psycopg.Connection[Any]) -> None:
    """Kill a beat every KILL_EVERY_S, each in its turn; what started the fleet starts another in its place."""
    for turn in range(WINDOW_S // KILL_EVERY_S):
        beats = wait_until(lambda: _all_of(stack), seconds=START_S, what="all beats run")
        os.kill(sorted(beats)[turn % BEATS], signal.SIGKILL)
        _add_silent_node(conn)
        threading.Event().wait(KILL_EVERY_S)  # the time under test: what goes on meanwhile is what counts


def _add_silent_node(conn: psycopg.Connection[Any]) -> None:
    """Something that the next sweep finds: the effect of one tick."""
    insert = (
        "insert into node_registrations (node_id, node_type, health_status, last_heartbeat) values (%s, %s, %s, %s)"
    )
    conn.execute(insert.encode(), [str(uuid4()), "reducer", "HEALTHY", _clock(conn) - timedelta(days=1)])


def _each_node_was_found_silent_once(conn: psycopg.Connection[Any]) -> None:
    query = "select count(*) from event_logs where direction = 'out' and payload ->> 'node_id' = n.node_id"
    found = conn.execute(f"select n.node_id, ({query}) from node_registrations as n".encode()).fetchall()
    assert [count for _, count in found] == [1] * (WINDOW_S // KILL_EVERY_S)
    counted = conn.execute("select sum(rows_touched) from schedule_ticks where name = 'heartbeat-sweep'").fetchone()
    assert counted == (len(found),)


def _all_of(stack: Stack) -> list[int]:
    found = pids_of(stack, "beat")
    return found if len(found) == BEATS else []


def _grid(begin: datetime, end: datetime) -> set[tuple[str, datetime]]:
    """Every tick that is due after `begin`, up to `end`."""
    return {
        (name, EPOCH + number * period)
        for name, period in PERIODS.items()
        for number in range((begin - EPOCH) // period + 1, (end - EPOCH) // period + 1)
    }


def _ends(conn: psycopg.Connection[Any]) -> list[tuple[str, datetime]]:
    return conn.execute("select name, due_at from ends").fetchall()


def _since(conn: psycopg.Connection[Any], name: str, at: datetime) -> list[tuple[datetime, datetime]]:
    query = "select due_at, started_at from schedule_ticks where name = %s and due_at > %s order by 1"
    return conn.execute(query.encode(), [name, at]).fetchall()


def _clock(conn: psycopg.Connection[Any]) -> datetime:
    row = conn.execute("select clock_timestamp()").fetchone()
    assert row is not None
    instant: datetime = row[0]
    return instant
