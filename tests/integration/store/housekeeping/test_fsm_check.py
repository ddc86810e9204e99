"""States and transitions are compared, and states are made anew from transitions, beside whoever writes."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, LiteralString
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest

from omninode_bridge.contract.clock import derived_uuid7, fsm_state_clock, now, uuid7
from omninode_bridge.contract.operation import Operation
from store.housekeeping import fsm_check, partitions
from store.housekeeping.fsm_check import Difference, Rebuilt
from store.write.apply import apply
from tests.conftest import fleet
from tests.deadline import wait_until
from tests.factories import store_connection, transition

Conn = psycopg.Connection[Any]
KIND = "workflow_execution"
START = now() - timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as opened:
        yield opened


def give(conn: Conn, *operations: Operation) -> None:
    assert {outcome.status for outcome in apply(conn, list(operations))} == {"applied"}


def machine(conn: Conn, *states: str) -> UUID:
    """A machine that went through these states, a minute each."""
    entity_id = uuid4()
    for place, (before, state) in enumerate(zip((None, *states), states, strict=False)):
        move = transition(
            entity_id,
            to_state=state,
            from_state=before,
            occurred_at=START + place * MINUTE,
            transition_data={"place": place},
        )
        give(conn, move)
    return entity_id


def rows(conn: Conn) -> list[tuple[Any, ...]]:
    return conn.execute(
        "select entity_type, entity_id, current_state, previous_state, transition_count, last_transition_at, metadata,"
        " clock, first_transition_id from fsm_states order by entity_type, entity_id"
    ).fetchall()


def found(conn: Conn) -> list[tuple[UUID, str]]:
    return [(one.entity_id, one.kind) for one in fsm_check.differences(conn)]


def drop_day(conn: Conn, day: datetime) -> None:
    dropped = conn.execute("select drop_partition('fsm_transitions', %s::date) ->> 'dropped'", [day.date()]).fetchone()
    assert dropped == ("true",)


def on_day(entity_id: UUID, day: datetime, to_state: str) -> Operation:
    return transition(entity_id, to_state=to_state, occurred_at=day, operation_id=derived_uuid7(day, uuid4().bytes))


def test_what_operations_wrote_agrees(conn: Conn) -> None:
    for _ in range(3):
        machine(conn, "PENDING", "PROCESSING", "COMPLETED")
    entity_id = uuid4()
    give(conn, *(transition(entity_id, to_state="PAUSED", entity_type="bridge") for _ in range(5)))
    give(conn, transition(entity_id, occurred_at=datetime(1, 1, 13, tzinfo=UTC)))
    assert found(conn) == []
    before = rows(conn)
    assert list(fsm_check.rebuild(conn)) == [] and rows(conn) == before


@pytest.mark.parametrize(
    "change",
    [
        "current_state = 'PAUSED'",
        "previous_state = null",
        "transition_count = transition_count + 1",
        "transition_count = transition_count - 1",
        "clock = '0'",
    ],
)
def test_a_changed_state_is_found_and_rebuilt(database: str, change: LiteralString) -> None:
    with store_connection(database) as conn:
        machine(conn, "PENDING", "COMPLETED")
        entity_id = machine(conn, "PENDING", "PROCESSING", "FAILED")
        before = rows(conn)
        conn.execute("update fsm_states set " + change + " where entity_id = %s", [entity_id])
        assert found(conn) == [(entity_id, "differs")]
        assert list(fsm_check.rebuild(conn)) == [Rebuilt(KIND, entity_id, "rebuilt")]
        assert rows(conn) == before and found(conn) == []


def test_missing_states_are_found_and_all_can_be_made_from_transitions(
    conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsm_check, "PORTION", 2)
    ids = sorted(machine(conn, "PENDING", "PROCESSING") for _ in range(5))
    give(conn, transition(uuid4(), entity_type="bridge"))
    before = rows(conn)
    conn.execute("delete from fsm_states where entity_id = %s", [ids[3]])
    (missing,) = fsm_check.differences(conn)
    assert (missing.entity_id, missing.kind, missing.state) == (ids[3], "missing", None)
    assert missing.transitions is not None
    assert (missing.transitions.state, missing.transitions.transitions) == ("PROCESSING", 2)

    conn.execute("truncate fsm_states")
    assert len(list(fsm_check.rebuild(conn))) == 6
    assert rows(conn) == before


def test_the_clock_of_a_transition_is_python_s(conn: Conn) -> None:
    for year in (1, 1969, 1970, 9999):
        for state in ("PENDING", "PAUSED", "COMPLETED", "FAILED"):
            at, id_ = datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), uuid7()
            conn.execute(
                "insert into fsm_transitions (id, entity_id, entity_type, to_state, transition_event, transition_at)"
                " values (%s, %s, 'bridge', %s, 'e', %s)",
                [id_, id_, state, at],
            )
            assert Rebuilt("bridge", id_, "rebuilt") in list(fsm_check.rebuild(conn))
            clock = conn.execute("select clock from fsm_states where entity_id = %s", [id_]).fetchone()
            assert clock == (fsm_state_clock(at, state, id_),)


def test_a_state_without_any_transition_is_surplus_while_their_days_stand(conn: Conn) -> None:
    kept, gone = machine(conn, "PENDING"), machine(conn, "PENDING", "COMPLETED")
    conn.execute("delete from fsm_transitions where entity_id = %s", [gone])
    before = rows(conn)
    assert found(conn) == [(gone, "surplus")]
    assert list(fsm_check.rebuild(conn)) == [Rebuilt(KIND, gone, "left")]
    assert rows(conn) == before
    assert list(fsm_check.rebuild(conn, delete_surplus=True)) == [Rebuilt(KIND, gone, "deleted")]
    assert [row[1] for row in rows(conn)] == [kept]


def test_states_outlive_the_days_of_their_transitions(conn: Conn) -> None:
    old, older = now() - timedelta(days=5), now() - timedelta(days=6)
    all_gone, partly_gone = uuid4(), uuid4()
    give(conn, on_day(all_gone, older, "PENDING"), on_day(all_gone, older + MINUTE, "COMPLETED"))
    give(conn, on_day(partly_gone, older, "PENDING"), on_day(partly_gone, old, "PROCESSING"))
    drop_day(conn, older)
    assert found(conn) == []
    before = rows(conn)
    assert list(fsm_check.rebuild(conn)) == [] and rows(conn) == before

    late = on_day(partly_gone, older - timedelta(days=300), "PENDING")
    give(conn, late)
    before = rows(conn)
    assert found(conn) == [] and list(fsm_check.rebuild(conn)) == [], (
        "an older first one makes the history no more whole"
    )
    assert rows(conn) == before


def test_a_day_that_was_left_among_dropped_ones_makes_no_history_whole(conn: Conn) -> None:
    days = [now() - timedelta(days=days) for days in (7, 6, 5)]
    ended, emptied = uuid4(), uuid4()
    give(conn, on_day(ended, days[0], "PENDING"), on_day(ended, days[1], "COMPLETED"))
    give(conn, on_day(emptied, days[0], "PENDING"), on_day(emptied, days[1], "PROCESSING"))
    conn.execute("delete from fsm_transitions where entity_id = %s and to_state = 'PENDING'", [emptied])
    drop_day(conn, days[1])
    agrees_and_stays(conn)

    give(conn, on_day(ended, days[2], "PAUSED"))
    conn.execute("update fsm_states set transition_count = 9, current_state = 'X', clock = '0'")
    assert [kind for _, kind in found(conn)] == ["behind"]
    list(fsm_check.rebuild(conn, delete_surplus=True))
    assert {row[1]: (row[2], row[4]) for row in rows(conn)} == {ended: ("PAUSED", 9), emptied: ("X", 9)}


def test_a_day_that_was_dropped_and_made_anew_makes_no_history_whole(conn: Conn) -> None:
    old, older = now() - timedelta(days=5), now() - timedelta(days=6)
    gone, partly = uuid4(), uuid4()
    give(conn, on_day(gone, older, "PENDING"), on_day(gone, older + MINUTE, "COMPLETED"))
    give(conn, on_day(partly, older, "PENDING"), on_day(partly, old, "COMPLETED"))
    drop_day(conn, older)
    assert partitions.ensure(conn, days_back=30, days_ahead=3) > 0
    agrees_and_stays(conn)

    give(conn, on_day(partly, older, "PROCESSING"))
    agrees_and_stays(conn)


def agrees_and_stays(conn: Conn) -> None:
    before = rows(conn)
    assert found(conn) == []
    assert list(fsm_check.rebuild(conn, delete_surplus=True)) == []
    assert rows(conn) == before


def test_a_history_that_is_not_whole_takes_nothing_back_and_is_still_caught_up(conn: Conn) -> None:
    old, older = now() - timedelta(days=5), now() - timedelta(days=6)
    ahead, behind = sorted((uuid4(), uuid4()))
    for entity_id in (ahead, behind):
        give(conn, on_day(entity_id, older, "PENDING"), on_day(entity_id, old, "PROCESSING"))
    drop_day(conn, older)
    before = rows(conn)
    conn.execute("update fsm_states set transition_count = 7 where entity_id = %s", [ahead])
    conn.execute("update fsm_states set clock = '0', current_state = 'X' where entity_id = %s", [behind])
    assert found(conn) == [(behind, "behind")]
    assert list(fsm_check.rebuild(conn)) == [Rebuilt(KIND, behind, "rebuilt")]
    after = rows(conn)
    assert after[0][4] == 7
    assert after[1][:6] == before[1][:6] and after[1][7] == before[1][7]
    assert found(conn) == []


def test_a_rebuild_waits_for_a_transition_that_is_on_its_way_and_counts_it_once(conn: Conn, database_any: str) -> None:
    entity_id = machine(conn, "PENDING")
    conn.execute("update fsm_states set transition_count = 9 where entity_id = %s", [entity_id])
    result: list[Rebuilt] = []
    with store_connection(database_any) as writer, store_connection(database_any) as rebuilder:
        portion = next(fsm_check._portions(rebuilder)) | {"opened": False, "delete_surplus": False}
        rebuild = partial(fsm_check._rebuild, rebuilder, "lock_fsm_states", portion)  # opening would wait by itself
        thread = threading.Thread(target=lambda: result.extend(rebuild()))
        with writer.transaction():
            give(writer, transition(entity_id, to_state="COMPLETED", from_state="PENDING"))
            thread.start()
            waiting = "select count(*) from pg_locks where not granted"
            wait_until(lambda: conn.execute(waiting).fetchone() != (0,), seconds=20, what="the rebuild waits")
        thread.join(60)
    assert result == [Rebuilt(KIND, entity_id, "rebuilt")]
    (row,) = rows(conn)
    assert (row[2], row[4]) == ("COMPLETED", 2)
    assert found(conn) == []


def test_rebuilding_beside_writers_loses_and_doubles_nothing(database: str) -> None:
    ids = [uuid4() for _ in range(40)]
    stop = threading.Event()
    failures: list[Exception] = []

    def write(number: int) -> None:
        try:
            with store_connection(database) as conn:
                for turn in range(25):
                    give(conn, *(transition(id_, to_state=f"S{turn}") for id_ in ids[number :: 2 + turn % 3]))
        except Exception as error:
            failures.append(error)

    def damage_and_rebuild() -> None:
        try:
            with store_connection(database) as conn:
                while not stop.is_set():
                    conn.execute("update fsm_states set transition_count = 0 where entity_id = %s", [ids[0]])
                    with conn.transaction():  # in the order in which writers take them
                        held = "select from fsm_states where entity_id = any(%s) order by entity_id for update"
                        conn.execute(held, [ids[5:9]])
                        conn.execute("delete from fsm_states where entity_id = any(%s)", [ids[5:9]])
                    list(fsm_check.rebuild(conn))
        except Exception as error:
            failures.append(error)

    rebuilder = threading.Thread(target=damage_and_rebuild)
    rebuilder.start()
    writers = [threading.Thread(target=write, args=[number]) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    stop.set()
    rebuilder.join(60)
    assert failures == []
    with store_connection(database) as conn:
        assert found(conn) == []


def test_the_command_shows_what_differs_and_rebuilds(database: str) -> None:
    environment = {"OMNINODE_DATABASE_URL": database}
    with store_connection(database) as conn:
        ids = sorted(machine(conn, "PENDING", "COMPLETED") for _ in range(3))
        agreed = fleet("fsm", "check", environment=environment)
        assert (agreed.returncode, agreed.stdout) == (0, "states and transitions agree\n")

        conn.execute("update fsm_states set current_state = 'LOST'")
        shown = fleet("fsm", "check", "--limit", "2", environment=environment)
        assert shown.returncode == 1
        assert str(ids[0]) in shown.stdout and str(ids[2]) not in shown.stdout
        assert "3 machines differ from their transitions (3 differs); the first 2 are shown" in shown.stdout
        assert f"LOST from PENDING at {START + MINUTE:%Y-%m-%dT%H:%M:%S}" in shown.stdout
        cut = fleet("fsm", "check", "--limit", "2", "--json", environment=environment)
        assert cut.returncode == 1
        *_, totals = map(orjson.loads, cut.stdout.splitlines())
        assert (len(cut.stdout.splitlines()), totals) == (3, {"totals": {"differs": 3}, "is_cut": True})
        listed = fleet("fsm", "rebuild", "--dry-run", "--json", environment=environment)
        assert listed.returncode == 0
        *told, totals = map(orjson.loads, listed.stdout.splitlines())
        assert totals == {"totals": {"differs": 3}, "is_cut": False}
        assert [(one["entity_id"], one["kind"], one["state"]["state"]) for one in told] == [
            (str(id_), "differs", "LOST") for id_ in ids
        ]
        assert len(found(conn)) == 3

        rebuilt = fleet("fsm", "rebuild", environment=environment)
        assert rebuilt.returncode == 0 and "3 machines were not" in rebuilt.stdout
        assert found(conn) == []


def test_states_without_transitions_are_named_and_deleted_only_when_asked_for(database: str) -> None:
    environment = {"OMNINODE_DATABASE_URL": database}
    with store_connection(database) as conn:
        entity_id = machine(conn, "PENDING")
        conn.execute("delete from fsm_transitions")
        left = fleet("fsm", "rebuild", environment=environment)
        assert left.returncode == 0 and f"{entity_id} left" in left.stdout
        assert "1 states without any transition were left; --delete-surplus deletes them" in left.stdout
        assert len(rows(conn)) == 1
        deleted = fleet("fsm", "rebuild", "--delete-surplus", "--json", environment=environment)
        one, totals = map(orjson.loads, deleted.stdout.splitlines())
        assert (one["entity_id"], one["done"], totals) == (str(entity_id), "deleted", {"totals": {"deleted": 1}})
        assert rows(conn) == []


@pytest.mark.parametrize("command", ["check", "rebuild"])
@pytest.mark.parametrize("way", ["an address where nobody is", "no address", "a wrong parameter"])
def test_the_exit_code_tells_not_looked_from_differs(command: str, way: str) -> None:
    url = "postgresql://fleet@127.0.0.1:1/fleet"
    environment = {} if way == "no address" else {"OMNINODE_DATABASE_URL": url}
    words = ["--limit", "none"] if way == "a wrong parameter" else []
    ended = fleet("fsm", command, *words, environment=environment)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr


def test_a_difference_says_what_both_say(database: str) -> None:
    with store_connection(database) as conn:
        entity_id = machine(conn, "PENDING", "COMPLETED")
        conn.execute("update fsm_states set current_state = 'LOST'")
        (one,) = fsm_check.differences(conn)
        assert isinstance(one, Difference) and one.entity_id == entity_id
        assert one.state is not None and one.transitions is not None
        assert (one.state.state, one.transitions.state) == ("LOST", "COMPLETED")
        assert one.transitions.previous_state == "PENDING"
    assert one.state.last_transition_at == one.transitions.last_transition_at == START + MINUTE
