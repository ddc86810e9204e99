"""The engine on a real database: claims, refusals, bisecting, running again, outages."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge.contract.clock import TIMELESS, derived_uuid7, now, uuid7
from omninode_bridge.contract.operation import Operation
from store.database.errors import Outage
from store.write import apply as apply_module
from store.write import batch as batch_module
from store.write.apply import Limits, apply, contention_delay_s
from tests.deadline import wait_until
from tests.factories import bridge_state, count, execution, heartbeat, stamp, step, store_connection, transition

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as connection:
        yield connection


def statuses(conn: Conn, batch: list[Any]) -> list[str]:
    return [outcome.status for outcome in apply(conn, batch)]


def too_long_for_its_column(operation: Operation) -> Operation:
    """An operation that only PostgreSQL finds wrong: as if a check at the edge had a hole."""
    data = operation.data.model_copy(update={"step_name": "x" * 101})
    return operation.model_copy(update={"data": data})


def test_an_operation_of_every_type_makes_its_row(conn: Conn) -> None:
    workflow = uuid4()
    batch = [execution(workflow), step(workflow), transition(workflow), stamp(workflow), bridge_state(), heartbeat()]
    assert statuses(conn, batch) == ["applied"] * 6
    tables = (
        "workflow_executions",
        "workflow_steps",
        "fsm_transitions",
        "fsm_states",
        "metadata_stamps",
        "bridge_states",
    )
    assert {table: count(conn, table) for table in (*tables, "node_registrations")} == dict.fromkeys(
        (*tables, "node_registrations"), 1
    )
    assert count(conn, "operations") == 6


def test_a_replayed_batch_reports_duplicates_and_changes_nothing(conn: Conn) -> None:
    batch = [execution(), step(), transition()]
    assert statuses(conn, batch) == ["applied"] * 3
    assert statuses(conn, batch) == ["duplicate"] * 3
    assert count(conn, "workflow_steps") == 1
    assert conn.execute("select transition_count from fsm_states").fetchall() == [(1,)]


def test_an_id_twice_in_one_batch_counts_once(conn: Conn) -> None:
    operation = step()
    assert statuses(conn, [operation, operation]) == ["applied", "duplicate"]
    assert count(conn, "workflow_steps") == 1


def test_the_same_id_with_other_content_is_a_conflict_without_effect(conn: Conn) -> None:
    first = step(step_name="first")
    second = first.model_copy(update={"data": first.data.model_copy(update={"step_name": "second"})})
    assert statuses(conn, [first]) == ["applied"]
    (outcome,) = apply(conn, [second])
    assert (outcome.status, outcome.code) == ("refused", "CONFLICT")
    assert conn.execute("select step_name from workflow_steps").fetchall() == [("first",)]
    assert conn.execute("select id, code from dead_letters").fetchall() == [(first.operation_id, "CONFLICT")]
    assert count(conn, "operations") == 1
    assert statuses(conn, [first, second]) == ["duplicate", "refused"]
    assert count(conn, "dead_letters") == 1


def test_a_conflict_inside_one_batch_keeps_the_first(conn: Conn) -> None:
    first = step(step_name="first")
    second = first.model_copy(update={"data": first.data.model_copy(update={"step_name": "second"})})
    assert statuses(conn, [first, second, first]) == ["applied", "refused", "duplicate"]


def test_an_operation_from_the_future_is_refused_and_stays_refused(conn: Conn) -> None:
    ahead = heartbeat(occurred_at=now() + timedelta(hours=2))
    near = heartbeat("node-2", occurred_at=now() + timedelta(minutes=30))
    outcomes = apply(conn, [ahead, near])
    assert [(o.status, o.code) for o in outcomes] == [("refused", "FUTURE"), ("applied", None)]
    (again,) = apply(conn, [ahead], limits=Limits(future_limit=timedelta(days=1)))
    assert (again.status, again.code) == ("refused", "FUTURE")
    assert count(conn, "dead_letters") == 1


def test_an_id_whose_time_lies_ahead_is_refused_too(conn: Conn) -> None:
    ahead = derived_uuid7(datetime(2999, 1, 1, tzinfo=UTC), b"x")
    (outcome,) = apply(conn, [step(operation_id=ahead)])
    assert outcome.code == "FUTURE"


def test_a_timeless_operation_is_taken_and_orders_before_all(conn: Conn) -> None:
    workflow = uuid4()
    told = execution(workflow, namespace="told")
    timeless = execution(
        workflow, namespace="timeless", occurred_at=TIMELESS, operation_id=derived_uuid7(TIMELESS, b"a")
    )
    assert statuses(conn, [told, timeless]) == ["applied", "applied"]
    assert conn.execute("select namespace from workflow_executions").fetchall() == [("told",)]


@pytest.mark.parametrize("bad_positions", [{0}, {7}, {3, 4, 11}])
def test_a_bad_operation_harms_only_itself(conn: Conn, bad_positions: set[int]) -> None:
    batch = [too_long_for_its_column(step()) if n in bad_positions else step() for n in range(12)]
    outcomes = apply(conn, batch)
    assert {n for n, outcome in enumerate(outcomes) if outcome.status == "refused"} == bad_positions
    assert count(conn, "workflow_steps") == 12 - len(bad_positions)
    letters = conn.execute("select id, code, message from dead_letters").fetchall()
    assert {letter[0] for letter in letters} == {batch[n].operation_id for n in bad_positions}
    assert all(code == "VALIDATION_ERROR" and "22001" in message for _, code, message in letters)
    assert [o.status for o in apply(conn, batch)] == [
        "refused" if n in bad_positions else "duplicate" for n in range(12)
    ]


def test_a_defect_refuses_only_what_fails_alone(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [step(step_order=n) for n in range(6)]
    write = apply_module.write

    def broken(c: Any, items: Any, limits: Any) -> Any:
        if any(getattr(getattr(item, "data", None), "step_order", None) == 4 for item in items):
            raise KeyError("a defect")
        return write(c, items, limits)

    monkeypatch.setattr(apply_module, "write", broken)
    assert [(o.status, o.code) for o in apply(conn, batch)] == [("applied", None)] * 4 + [
        ("refused", "INTERNAL_ERROR"),
        ("applied", None),
    ]


def test_a_defect_that_meets_everything_is_raised_and_refuses_nothing(
    conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("a defect")

    monkeypatch.setattr(apply_module, "write", broken)
    with pytest.raises(KeyError):
        apply(conn, [step(), step()])
    assert count(conn, "dead_letters") == 0


def test_contention_is_run_again_with_growing_delays(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    write, failures, delays = apply_module.write, [3], list[float]()

    def contended(*args: Any) -> Any:
        if failures[0]:
            failures[0] -= 1
            raise psycopg.errors.DeadlockDetected("in the way")
        return write(*args)

    monkeypatch.setattr(apply_module, "write", contended)
    monkeypatch.setattr(psycopg.errors.DeadlockDetected, "sqlstate", "40P01")
    assert [o.status for o in apply(conn, [step()], pause=delays.append)] == ["applied"]
    assert len(delays) == 3 and all(0 < delay <= 0.2 for delay in delays)


def test_contention_delays_grow_and_are_bounded() -> None:
    delays = [contention_delay_s(tries, 1.0) for tries in range(1, 20)]
    assert delays == sorted(delays) and delays[0] < 0.01 and delays[-1] == 0.2


def test_a_missing_table_is_an_outage_that_loses_nothing(conn: Conn) -> None:
    operation = step()
    conn.execute("alter table workflow_steps rename to elsewhere")
    with pytest.raises(Outage):
        apply(conn, [operation])
    conn.execute("alter table elsewhere rename to workflow_steps")
    assert count(conn, "operations") == 0
    assert statuses(conn, [operation]) == ["applied"]


def test_a_lost_connection_is_an_outage(conn: Conn, database_any: str) -> None:
    with psycopg.connect(database_any, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", (conn.info.backend_pid,))
    with pytest.raises(Outage):
        apply(conn, [step()])


def test_a_claim_waits_for_the_other_transaction_and_sees_how_it_ended(conn: Conn, database_any: str) -> None:
    operation = step()
    results: list[str] = []
    late = threading.Thread(target=lambda: results.extend(statuses(conn, [operation])))
    waiting = "select count(*) from pg_locks where not granted and pid = %s"
    with store_connection(database_any) as other, store_connection(database_any) as watcher:
        with other.transaction(force_rollback=True):
            batch_module.write(other, [operation], Limits())
            late.start()
            pid = (conn.info.backend_pid,)
            wait_until(
                lambda: (watcher.execute(waiting, pid).fetchone() or (0,))[0], seconds=10, what="it waits for the claim"
            )
            assert results == []
        late.join(60)
    assert results == ["applied"]


def test_a_workflow_id_that_is_the_id_of_an_older_row_is_honoured(conn: Conn) -> None:
    old_id, correlation = uuid4(), uuid4()
    conn.execute("insert into workflow_executions (id, correlation_id) values (%s, %s)", (old_id, correlation))
    assert statuses(conn, [step(old_id), stamp(correlation)]) == ["applied", "applied"]
    assert count(conn, "workflow_executions") == 1
    assert conn.execute("select workflow_id from workflow_steps").fetchall() == [(old_id,)]
    assert conn.execute("select workflow_id from metadata_stamps").fetchall() == [(old_id,)]


def test_a_workflow_whose_id_is_taken_gets_another_one(conn: Conn) -> None:
    taken, elsewhere = uuid4(), uuid4()
    conn.execute("insert into workflow_executions (id, correlation_id) values (%s, %s)", (taken, elsewhere))
    assert statuses(conn, [execution(taken, namespace="mine"), step(taken)]) == ["applied", "applied"]
    row = conn.execute("select id, namespace from workflow_executions where correlation_id = %s", (taken,)).fetchone()
    assert row is not None and row[0] != taken and row[1] == "mine"
    assert conn.execute("select workflow_id from workflow_steps").fetchall() == [(row[0],)]


def test_a_transition_that_the_ledger_forgot_is_not_counted_again(conn: Conn) -> None:
    operation = transition()
    assert statuses(conn, [operation]) == ["applied"]
    conn.execute("delete from operations")
    assert statuses(conn, [operation]) == ["applied"]
    assert conn.execute("select transition_count from fsm_states").fetchall() == [(1,)]
    assert count(conn, "fsm_transitions") == 1


def test_ids_of_other_days_have_their_place(conn: Conn) -> None:
    old = step(occurred_at=now() - timedelta(days=30), operation_id=derived_uuid7(now() - timedelta(days=30), b"old"))
    today = step(operation_id=uuid7())
    assert statuses(conn, [old, today]) == ["applied", "applied"]
    assert count(conn, "operations_default") == 1 and count(conn, "workflow_steps_default") == 1
