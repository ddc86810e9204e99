"""Rows that PostgreSQL cannot take, beside outages: the one is set aside, the other is waited for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.outcome import Outcome
from store.database.errors import HeldBack, Lost, Outage
from store.write import apply as apply_module
from store.write.apply import apply
from store.write.progress import Progress, Suspects
from tests.factories import (
    bridge_state,
    count,
    execution,
    heartbeat,
    stamp,
    step,
    store_connection,
    transition,
)
from tests.poison import (
    END_BACKEND,
    HANG,
    MARK,
    RAISE_ANYTHING,
    RAISE_INTERNAL_ERROR,
    apply_patiently,
    attempts_of,
    heal,
    poison_of,
    spoil,
)

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as connection:
        yield connection


KINDS: list[tuple[str, str, Callable[[], Operation]]] = [
    ("workflow_executions", "metadata", lambda: execution(metadata={"name": MARK})),
    ("workflow_steps", "step_name", lambda: step(step_name=MARK)),
    ("fsm_transitions", "transition_event", lambda: transition(transition_event=MARK)),
    ("metadata_stamps", "stamp_data", lambda: stamp(file_hash=None, namespace=MARK)),
    ("bridge_states", "namespace", lambda: bridge_state(namespace=MARK)),
    ("node_registrations", "node_id", lambda: heartbeat(MARK)),
]


@pytest.mark.parametrize(("table", "column", "bad"), KINDS, ids=[table for table, *_ in KINDS])
@pytest.mark.parametrize("what", [RAISE_INTERNAL_ERROR, RAISE_ANYTHING], ids=["internal error", "raised"])
def test_a_row_that_fails_is_set_aside_and_its_neighbours_are_applied(
    conn: Conn, table: str, column: str, bad: Callable[[], Operation], what: str
) -> None:
    spoil(conn, table, what, column="namespace" if table == "metadata_stamps" else column)
    poison = bad()
    batch = [step() for _ in range(20)] + [poison] + [heartbeat(f"n{n}") for n in range(20)]
    outcomes, waited = apply_patiently(conn, batch)
    assert [o.status for o in outcomes] == ["applied"] * 20 + ["refused"] + ["applied"] * 20
    assert outcomes[20].code == "POISON"
    ((id_, message),) = poison_of(conn)
    assert id_ == poison.operation_id and "secret" not in message and MARK not in message
    assert ("XX000" if what == RAISE_INTERNAL_ERROR else "P0001") in message
    assert attempts_of(conn, poison) == 3
    assert len(waited) == 2 and waited == sorted(waited) and 0 < waited[0] < waited[1] <= 5
    assert apply_patiently(conn, [poison])[0][0].code == "POISON"


def test_a_row_that_fails_is_set_aside_also_where_it_comes_alone(conn: Conn) -> None:
    spoil(conn, "workflow_steps", RAISE_INTERNAL_ERROR, column="step_name")
    outcomes, _ = apply_patiently(conn, [step(step_name=MARK)])
    assert [o.code for o in outcomes] == ["POISON"]
    assert count(conn, "workflow_executions") == 0, "what tells a bad row from an outage leaves nothing behind"


def test_a_failure_that_passes_costs_nothing(conn: Conn) -> None:
    spoil(conn, "workflow_steps", RAISE_INTERNAL_ERROR, column="step_name")
    batch = [step(), step(step_name=MARK), step()]
    outcomes = apply(conn, batch, pause=lambda _: heal(conn, "workflow_steps"))
    assert [o.status for o in outcomes] == ["applied"] * 3
    assert count(conn, "dead_letters") == 0


def test_attempts_count_whichever_worker_tried(conn: Conn, database_any: str) -> None:
    class Killed(BaseException):
        pass

    def die(_: float) -> None:
        raise Killed

    spoil(conn, "workflow_steps", RAISE_INTERNAL_ERROR, column="step_name")
    batch = [step(), step(step_name=MARK)]
    for tries in (1, 2):
        with store_connection(database_any) as worker, pytest.raises(Killed):
            apply(worker, batch, pause=die)
        assert attempts_of(conn, batch[1]) == tries
    with store_connection(database_any) as worker:
        assert [o.code for o in apply(worker, batch, pause=die)] == [None, "POISON"]


def test_what_fails_for_every_row_of_every_table_is_an_outage_that_counts_nothing(conn: Conn) -> None:
    spoil(conn, "operations", RAISE_INTERNAL_ERROR, column="digest", always=True)
    batch = [step() for _ in range(8)]
    for _ in range(4):
        with pytest.raises(Outage) as raised:
            apply_patiently(conn, batch)
        assert not isinstance(raised.value, HeldBack)
    heal(conn, "operations")
    assert count(conn, "operation_attempts") == 0 and count(conn, "dead_letters") == 0
    assert [o.status for o in apply(conn, batch)] == ["applied"] * 8


@pytest.mark.parametrize("gone", ["alter table operations rename to elsewhere", "drop table dead_letters, operations"])
def test_a_schema_that_is_not_there_is_an_outage(conn: Conn, gone: Any) -> None:
    conn.execute(gone)
    with pytest.raises(Outage) as raised:
        apply(conn, [step(), heartbeat()])
    assert not isinstance(raised.value, HeldBack)


@contextmanager
def worker_role(conn: Conn) -> Iterator[None]:
    role = f"worker_{uuid4().hex[:8]}"
    conn.execute(f"create role {role}")
    conn.execute(f"grant select, insert, update, delete on all tables in schema public to {role}")
    conn.execute(f"grant usage on all sequences in schema public to {role}")
    conn.execute(f"revoke all on node_registrations from {role}")
    conn.execute(f"set role {role}")
    yield
    conn.execute("reset role")
    conn.execute(f"drop owned by {role}; drop role {role}")


@contextmanager
def missing_constraint(conn: Conn) -> Iterator[None]:
    conn.execute("alter table node_registrations drop constraint node_registrations_pkey")
    yield


@pytest.mark.parametrize("trouble", [worker_role, missing_constraint], ids=["42501", "42P10"])
def test_a_table_that_takes_nothing_is_waited_for_while_others_go_on(
    conn: Conn, monkeypatch: pytest.MonkeyPatch, trouble: Any
) -> None:
    batch = [step(), heartbeat("a"), step(), heartbeat("b"), transition()]
    progress = Progress(batch)
    with trouble(conn):
        for _ in range(4):
            with pytest.raises(HeldBack) as held:
                apply(conn, batch, progress=progress)
            assert 0 < held.value.retry_after_s <= apply_module.LONGEST_RETRY_S
        assert count(conn, "workflow_steps") == 2 and count(conn, "dead_letters") == 0
        monkeypatch.setattr(apply_module, "PATIENCE_S", 0.0)
        outcomes = apply(conn, batch, progress=progress)
        assert [o.code for o in outcomes] == [None, "POISON", None, "POISON", None]
        message = outcomes[1].message or ""
        assert "42501" in message or "42P10" in message


def test_a_table_that_takes_rows_again_gets_those_that_waited(conn: Conn) -> None:
    batch = [step(), heartbeat("a")]
    progress = Progress(batch)
    with worker_role(conn), pytest.raises(HeldBack):
        apply(conn, batch, progress=progress)
    assert [o.status for o in apply(conn, batch, progress=progress)] == ["applied"] * 2


def test_who_comes_later_to_a_table_that_fails_need_not_wait_as_long(
    conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_module, "PATIENCE_S", 30.0)
    with worker_role(conn):
        with pytest.raises(HeldBack):
            apply(conn, [step(), heartbeat("a")])
        conn.execute("update operation_attempts set first_at = first_at - interval '31 s'")
        late = [step(), heartbeat("b")]
        progress = Progress(late)
        for _ in range(2):
            with pytest.raises(HeldBack):
                apply(conn, late, progress=progress)
        assert [o.code for o in apply(conn, late, progress=progress)] == [None, "POISON"]


def test_a_table_s_rows_are_not_tried_one_by_one(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    write = apply_module.write

    def watched(c: Any, items: Any, limits: Any) -> Any:
        tried.append(len(items))
        return write(c, items, limits)

    monkeypatch.setattr(apply_module, "write", watched)
    batch = [step(), *(heartbeat(f"n{n}") for n in range(100)), transition()]
    progress = Progress(batch)
    with worker_role(conn):
        for _ in range(2):
            with pytest.raises(HeldBack):
                apply(conn, batch, progress=progress)
        assert len(tried) < 30
        found = conn.execute("select count(*), min(attempts), max(attempts) from operation_attempts").fetchone()
        assert found == (100, 2, 2)
    assert [o.status for o in apply(conn, batch, progress=progress)] == ["applied"] * 102


def test_more_bad_rows_than_there_is_time_for_are_settled_a_few_at_a_time(
    conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_module, "SINGLING_S", 0.0)
    spoil(conn, "workflow_steps", RAISE_INTERNAL_ERROR, column="step_name")
    batch = [step(step_name=MARK) for _ in range(3)] + [step()]
    outcomes: list[Outcome] = []
    for _ in range(60):  # each a delivery that knows nothing of the one before
        progress = Progress(batch)
        try:
            outcomes = apply(conn, batch, progress=progress)
            break
        except HeldBack:
            for _ in range(4):
                try:
                    outcomes = apply(conn, batch, progress=progress)
                    break
                except HeldBack:
                    continue
    assert [o.code for o in outcomes] == ["POISON"] * 3 + [None]


def test_a_letter_that_cannot_be_kept_now_is_kept_later(conn: Conn) -> None:
    spoil(conn, "workflow_steps", RAISE_INTERNAL_ERROR, column="step_name")
    spoil(conn, "dead_letters", RAISE_INTERNAL_ERROR, column="code", always=True)
    batch = [step(step_name=MARK), step(step_name=MARK), step()]
    progress = Progress(batch)
    with pytest.raises(HeldBack, match="could not be kept"):
        apply(conn, batch, pause=lambda _: None, progress=progress)
    heal(conn, "dead_letters")
    outcomes = apply(conn, batch, pause=lambda _: None, progress=progress)
    assert [o.code for o in outcomes] == ["POISON", "POISON", None]


def test_a_row_that_hangs_costs_its_neighbours_little(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_module, "HALF_MS", 200)
    monkeypatch.setattr(apply_module, "ALONE_MS", 200)
    conn.execute("set statement_timeout = '1s'")
    spoil(conn, "workflow_steps", HANG, column="step_name")
    poison = step(step_name=MARK)
    batch = [step() for _ in range(15)] + [poison]
    suspects = Suspects()
    outcomes = apply(conn, batch, pause=lambda _: None, progress=Progress(batch, suspects))
    assert [o.code for o in outcomes] == [None] * 15 + ["POISON"]
    assert "57014" in poison_of(conn)[0][1]
    assert conn.execute("show statement_timeout").fetchone() == ("1s",)


def test_a_suspect_is_taken_alone_so_that_its_neighbours_do_not_wait_again(
    conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    write = apply_module.write

    def watched(c: Any, items: Any, limits: Any) -> Any:
        tried.append(len(items))
        return write(c, items, limits)

    monkeypatch.setattr(apply_module, "write", watched)
    spoil(conn, "workflow_steps", RAISE_INTERNAL_ERROR, column="step_name")
    poison, suspects = step(step_name=MARK), Suspects()
    suspects.add([poison.operation_id])
    batch = [step() for _ in range(15)] + [poison]
    apply(conn, batch, pause=lambda _: None, progress=Progress(batch, suspects))
    assert tried[:2] == [15, 1] and set(tried[1:]) == {1}


def test_a_locked_row_is_waited_for_alone_and_then_applied(conn: Conn, database_any: str) -> None:
    node = heartbeat("locked")
    apply(conn, [node])
    conn.execute("set lock_timeout = '50ms'")
    batch = [step(), heartbeat("locked"), step()]
    progress = Progress(batch)
    with psycopg.connect(database_any) as other:
        other.execute("select from node_registrations where node_id = 'locked' for update")
        for _ in range(4):
            with pytest.raises(HeldBack):
                apply(conn, batch, progress=progress)
        assert count(conn, "workflow_steps") == 2
    assert [o.status for o in apply(conn, batch, progress=progress)] == ["applied"] * 3
    assert count(conn, "dead_letters") == 0


def test_a_row_whose_lock_never_comes_free_is_set_aside(
    conn: Conn, database_any: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(conn, [heartbeat("locked")])
    conn.execute("set lock_timeout = '50ms'")
    batch = [step(), heartbeat("locked")]
    progress = Progress(batch)
    with psycopg.connect(database_any) as other:
        other.execute("select from node_registrations where node_id = 'locked' for update")
        for _ in range(3):
            with pytest.raises(HeldBack):
                apply(conn, batch, progress=progress)
        monkeypatch.setattr(apply_module, "PATIENCE_S", 0.0)
        outcomes = apply(conn, batch, progress=progress)
    assert [o.code for o in outcomes] == [None, "POISON"]
    assert "55P03" in (outcomes[1].message or "")


def test_patience_with_locks_lasts_longer_than_a_statement_may(conn: Conn) -> None:
    assert apply_module.PATIENCE_S > 30  # the default of OMNINODE_STATEMENT_TIMEOUT_MS, in seconds


def test_a_row_that_ends_its_own_backend_is_found_over_new_connections(conn: Conn, database_any: str) -> None:
    spoil(conn, "workflow_steps", END_BACKEND, column="step_name")
    poison = step(step_name=MARK)
    batch = [step() for _ in range(7)] + [poison] + [heartbeat()]
    progress = Progress(batch)
    outcomes: list[Outcome] = []
    for _ in range(20):
        with store_connection(database_any) as worker:
            try:
                outcomes = apply(worker, batch, pause=lambda _: None, progress=progress)
                break
            except Lost:
                continue
    assert [o.code for o in outcomes] == [None] * 7 + ["POISON", None]
    assert count(conn, "workflow_steps") == 7


def test_a_connection_that_breaks_once_costs_nothing(conn: Conn, database_any: str) -> None:
    batch = [step(), step()]
    progress = Progress(batch)
    with store_connection(database_any) as other:
        conn.execute("select pg_terminate_backend(%s)", (other.info.backend_pid,))
        with pytest.raises(Lost):
            apply(other, batch, progress=progress)
    assert [o.status for o in apply(conn, batch, progress=progress)] == ["applied"] * 2
    assert count(conn, "operation_attempts") == 0


def test_batches_that_meet_poison_at_the_same_time_do_not_harm_each_other(conn: Conn, database_any: str) -> None:
    spoil(conn, "workflow_steps", RAISE_INTERNAL_ERROR, column="step_name")
    batch = [step() for _ in range(20)] + [step(step_name=MARK)] + [heartbeat(f"n{n}") for n in range(20)]
    found: list[list[Outcome]] = []

    def work() -> None:
        with store_connection(database_any) as worker:
            found.append(apply(worker, batch, pause=lambda _: None))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert all([o.code for o in outcomes] == [None] * 20 + ["POISON"] + [None] * 20 for outcomes in found)
    assert len(poison_of(conn)) == 1
