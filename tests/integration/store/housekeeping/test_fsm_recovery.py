"""Workflows that lag behind their transitions are recovered, and those that nobody tells of are reported, or failed."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from omninode_bridge.contract.clock import clock, now, uuid7
from omninode_bridge.contract.operation import Operation
from store.housekeeping import fsm_recovery
from store.housekeeping.fsm_recovery import Recovery, policies, statement
from store.write.apply import apply
from store.write.compare import differences
from store.write.fold import Fold
from tests.factories import execution, step, store_connection, transition
from worker.settings import ROOT

Conn = psycopg.Connection[Any]
Row = dict[str, Any]
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
AFTER = 5 * MINUTE
START = now() - 10 * MINUTE
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as opened:
        yield opened


def run(
    conn: Conn, *, at: datetime, stalled_after: timedelta = HOUR, fails: Mapping[str, timedelta] | None = None
) -> dict[str, int]:
    """A whole run at that instant; what it counted."""
    job = Recovery(after=AFTER, stalled_after=stalled_after, fails=fails or {}, environment="development", at=at)
    return go_on(conn, job)


def go_on(conn: Conn, job: Recovery) -> dict[str, int]:
    """What is left of a run; what that counted."""
    counts: dict[str, int] = {}
    while True:
        with conn.transaction():
            batch = job(conn)
        for name, count in batch.counts.items():
            counts[name] = counts.get(name, 0) + count
        if not batch.more:
            return {name: count for name, count in counts.items() if count}


def give(conn: Conn, *operations: Operation) -> None:
    assert {outcome.status for outcome in apply(conn, list(operations))} == {"applied"}


def row(conn: Conn, correlation_id: UUID) -> Row:
    with conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        cursor.execute("select * from workflow_executions where correlation_id = %s", [correlation_id])
        found = cursor.fetchone()
    assert found is not None
    return found


def seen_at(conn: Conn, correlation_id: UUID) -> datetime:
    """Since when both the row and its machine have been as they are."""
    found = conn.execute(
        "select greatest(w.updated_at, f.updated_at) from workflow_executions w"
        " left join fsm_states f on f.entity_id = w.correlation_id where w.correlation_id = %s",
        [correlation_id],
    ).fetchone()
    assert found is not None
    at: datetime = found[0]
    return at


def events(conn: Conn, correlation_id: UUID) -> list[tuple[str, Row]]:
    found = conn.execute(
        "select event_type, payload from event_logs where correlation_id = %s and direction = 'out' order by seq",
        [correlation_id],
    )
    return [(event_type, payload) for event_type, payload in found]


def behind(conn: Conn, state: str = "PROCESSING", to_state: str = "COMPLETED") -> UUID:
    """A workflow whose row says the one, and whose machine the other."""
    correlation_id = uuid4()
    give(conn, execution(correlation_id, state=state, occurred_at=START, workflow_type="stamping", namespace="tests"))
    give(conn, transition(correlation_id, to_state=to_state, occurred_at=START + MINUTE))
    return correlation_id


def test_a_workflow_is_brought_to_what_its_transitions_prove(conn: Conn) -> None:
    correlation_id = behind(conn)
    since = seen_at(conn, correlation_id)
    at = since + 2 * AFTER

    assert run(conn, at=at) == {"recovered": 1}

    recovered = row(conn, correlation_id)
    assert recovered["current_state"] == "COMPLETED"
    assert recovered["completed_at"] == START + MINUTE
    assert recovered["updated_at"] == at and recovered["row_version"] == 2
    ((event_type, payload),) = events(conn, correlation_id)
    assert event_type == "fsm_state_recovered"
    behind_s = payload.pop("behind_s")
    assert behind_s == pytest.approx(2 * AFTER.total_seconds(), abs=1)
    assert payload == {
        "workflow_id": str(correlation_id),
        "workflow_type": "stamping",
        "namespace": "tests",
        "from_state": "PROCESSING",
        "to_state": "COMPLETED",
        "transitioned_at": (START + MINUTE).isoformat(),
        "timestamp": at.isoformat(),
    }
    assert run(conn, at=at + HOUR / 2) == {} and len(events(conn, correlation_id)) == 1


def test_only_what_has_been_behind_for_long_enough_is_recovered(conn: Conn) -> None:
    correlation_id = behind(conn)
    since = seen_at(conn, correlation_id)
    assert run(conn, at=since + AFTER - MICROSECOND) == {}
    assert run(conn, at=since + AFTER) == {"recovered": 1}


def test_it_counts_from_the_row_where_that_is_younger_than_the_transition(conn: Conn) -> None:
    correlation_id = uuid4()
    give(conn, transition(correlation_id, to_state="COMPLETED"))
    moved = conn.execute("select updated_at from fsm_states where entity_id = %s", [correlation_id]).fetchone()
    give(conn, execution(correlation_id))
    made = row(conn, correlation_id)["created_at"]
    assert moved is not None and moved[0] < made
    assert run(conn, at=moved[0] + AFTER) == {}
    assert run(conn, at=made + AFTER) == {"recovered": 1}


def test_a_state_only_moves_up(conn: Conn) -> None:
    ranks = {"PENDING": 1, "PROCESSING": 2, "PAUSED": 2, "COMPLETED": 4, "FAILED": 4}
    given = {behind(conn, *pair): pair for pair in product(ranks, repeat=2)}
    expected = {id_: max(pair, key=lambda state: ranks[state]) for id_, pair in given.items()}
    moves = sum(expected[id_] != state for id_, (state, _) in given.items())
    assert run(conn, at=now() + 2 * AFTER) == {"recovered": moves}
    assert {id_: row(conn, id_)["current_state"] for id_ in given} == expected


def test_a_workflow_that_a_step_opened_is_recovered(conn: Conn) -> None:
    correlation_id = uuid4()
    give(conn, step(correlation_id), transition(correlation_id, to_state="PROCESSING"))
    assert run(conn, at=seen_at(conn, correlation_id) + AFTER) == {"recovered": 1}
    recovered = row(conn, correlation_id)
    assert (recovered["current_state"], recovered["completed_at"]) == ("PROCESSING", None)


def test_a_machine_of_an_id_is_the_workflow_s_only_where_no_correlation_id_is_the_same(conn: Conn) -> None:
    old, other, id_ = uuid4(), uuid4(), uuid4()
    conn.execute("insert into workflow_executions (id, correlation_id) values (%s, %s)", [id_, old])
    give(conn, transition(id_, to_state="FAILED"))
    conn.execute("insert into workflow_executions (id, correlation_id) values (%s, %s)", [other, id_])
    at = now() + 2 * AFTER
    assert run(conn, at=at) == {"recovered": 1}
    assert (row(conn, id_)["current_state"], row(conn, old)["current_state"]) == ("FAILED", "PENDING")

    conn.execute("delete from workflow_executions where correlation_id = %s", [id_])
    assert run(conn, at=at) == {"recovered": 1}
    assert row(conn, old)["current_state"] == "FAILED"
    assert [name for name, _ in events(conn, old)] == ["fsm_state_recovered"]


def test_a_row_that_somebody_holds_is_left_for_the_next_run(conn: Conn, database_any: str) -> None:
    held, free = behind(conn), behind(conn)
    at = seen_at(conn, free) + AFTER
    conn.execute("set lock_timeout to '200ms'")  # it does not wait
    with store_connection(database_any) as other, other.transaction():
        other.execute("select from workflow_executions where correlation_id = %s for update", [held])
        assert run(conn, at=at) == {"recovered": 1}
        assert row(conn, held)["current_state"] == "PROCESSING"
    assert run(conn, at=at) == {"recovered": 1}
    assert row(conn, held)["current_state"] == "COMPLETED"


def test_a_reported_end_wins_however_old_and_gives_the_same_row_in_both_orders(conn: Conn) -> None:
    told_besides: list[Row] = [{}, {"completed_at": START}, {"error_message": "too large"}]
    for case in product(("COMPLETED", "FAILED"), ("COMPLETED", "FAILED"), told_besides):
        concluded, end, fields = case
        told = [execution(behind(conn, to_state=concluded), state=end, occurred_at=START, **fields) for _ in range(2)]
        first, second = (UUID(str(one.data.__dict__["correlation_id"])) for one in told)
        give(conn, told[1])
        at = now() + 2 * AFTER
        assert run(conn, at=at) == {"recovered": 1}
        assert row(conn, first)["current_state"] == concluded
        give(conn, told[0])
        assert run(conn, at=at) == {}
        both = [row(conn, id_) for id_ in (first, second)]
        for one in both:
            for name in ("id", "correlation_id", "clocks", "created_at", "updated_at", "row_version"):
                del one[name]
        assert both[0] == both[1], case
        assert both[0]["current_state"] == end, case


def test_processing_does_not_come_back_after_a_concluded_end(conn: Conn) -> None:
    correlation_id = behind(conn)
    run(conn, at=now() + 2 * AFTER)
    give(conn, execution(correlation_id, state="PROCESSING", occurred_at=now()))
    assert row(conn, correlation_id)["current_state"] == "COMPLETED"
    assert row(conn, correlation_id)["completed_at"] == START + MINUTE


def test_a_reported_state_wins_over_a_concluded_one_of_its_rank_however_old(conn: Conn) -> None:
    correlation_id = behind(conn, "PENDING", "PAUSED")
    run(conn, at=now() + 2 * AFTER)
    assert row(conn, correlation_id)["current_state"] == "PAUSED"
    give(conn, execution(correlation_id, state="PENDING", occurred_at=now()))
    assert row(conn, correlation_id)["current_state"] == "PAUSED"
    give(conn, execution(correlation_id, state="PROCESSING", occurred_at=START - HOUR))
    assert row(conn, correlation_id)["current_state"] == "PROCESSING"


def test_a_transition_after_a_concluded_end_moves_the_machine_alone(conn: Conn) -> None:
    correlation_id = behind(conn, to_state="COMPLETED")
    run(conn, at=now() + 2 * AFTER)
    give(conn, transition(correlation_id, to_state="FAILED", occurred_at=now()))
    assert run(conn, at=now() + 4 * AFTER) == {}
    assert row(conn, correlation_id)["current_state"] == "COMPLETED"
    machine = conn.execute("select current_state from fsm_states where entity_id = %s", [correlation_id]).fetchone()
    assert machine == ("FAILED",)


def test_more_than_a_portion_is_recovered_in_several(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsm_recovery, "PORTION", 3)
    monkeypatch.setattr(fsm_recovery, "MOST", 4)
    ids = [behind(conn) for _ in range(9)]
    assert run(conn, at=now() + 2 * AFTER) == {"recovered": 9}
    assert {row(conn, id_)["current_state"] for id_ in ids} == {"COMPLETED"}
    assert all(len(events(conn, id_)) == 1 for id_ in ids)


def test_a_portion_that_fails_leaves_nothing_and_is_done_again(conn: Conn) -> None:
    correlation_id = behind(conn)
    at = now() + 2 * AFTER
    job = Recovery(after=AFTER, stalled_after=HOUR, fails={}, environment="development", at=at)
    with conn.transaction():
        assert job(conn).rows == 0
    with pytest.raises(RuntimeError), conn.transaction():
        assert job(conn).rows == 1
        raise RuntimeError
    assert row(conn, correlation_id)["current_state"] == "PROCESSING" and events(conn, correlation_id) == []
    assert go_on(conn, job) == {"recovered": 1}
    assert len(events(conn, correlation_id)) == 1


def test_a_look_that_is_taken_back_is_done_again(conn: Conn) -> None:
    correlation_id = behind(conn)
    job = Recovery(after=AFTER, stalled_after=HOUR, fails={}, environment="development", at=now() + 2 * AFTER)
    for _ in range(2):
        with pytest.raises(RuntimeError), conn.transaction():
            assert job(conn).more
            raise RuntimeError
    assert go_on(conn, job) == {"recovered": 1}
    assert row(conn, correlation_id)["current_state"] == "COMPLETED"


def test_what_was_recovered_is_not_the_fold_s_concern_once_the_end_is_told(conn: Conn) -> None:
    correlation_id = uuid7()
    told = [
        execution(correlation_id, occurred_at=START),
        transition(correlation_id, to_state="COMPLETED", occurred_at=START + MINUTE),
        execution(correlation_id, state="FAILED", occurred_at=START + 2 * SECOND, error_message="no room"),
    ]
    fold = Fold()
    for operation in told:
        fold.add(operation)
    give(conn, *told[:2])
    assert run(conn, at=now() + 2 * AFTER) == {"recovered": 1}
    assert differences(conn, fold.rows()) != []
    give(conn, told[2])
    assert differences(conn, fold.rows()) == []


def test_policies_are_read_from_settings() -> None:
    assert policies(["stamping=60", "a=b=5", "*=7"]) == {
        "stamping": MINUTE,
        "a=b": 5 * SECOND,
        "*": 7 * SECOND,
    }


def test_the_database_s_clock_text_is_python_s(conn: Conn) -> None:
    for instant in (
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1, 1, 13, 0, 0, 0, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        now(),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ):
        id_ = uuid7()
        assert conn.execute("select clock_text(%s, %s)", [instant, id_]).fetchone() == (clock(instant, id_),)


def test_workflows_that_have_ended_are_not_read(conn: Conn) -> None:
    conn.execute(
        "insert into workflow_executions (correlation_id, current_state)"
        " select uuid_v7(), case when n % 100 = 0 then 'PENDING' else 'COMPLETED' end"
        " from generate_series(1, 5000) as n"
    )
    conn.execute(
        "insert into fsm_states (entity_type, entity_id, current_state, transition_count, last_transition_at, clock)"
        " select 'workflow_execution', correlation_id, 'PENDING', 1, now(), '0' from workflow_executions"
    )
    conn.execute("analyze")
    idle = {"types": ["stamping"], "limits": [HOUR], "other": None}
    with conn.transaction():
        conn.execute(statement("plan_by_size"))
        for name in ("find_behind", "find_idle"):
            given = {"at": now(), "after": AFTER, "rows_limit": 500} | idle
            plan = "\n".join(line for (line,) in conn.execute("explain " + statement(name), given))
            assert "idx_workflow_executions_open" in plan, plan
            assert "Seq Scan on workflow_executions" not in plan, plan


def test_states_that_stood_before_know_their_first_transition_where_all_are_there(database_any: str) -> None:
    whole, cut = uuid4(), uuid4()
    with store_connection(database_any) as conn:
        told = [transition(whole), transition(whole)]
        give(conn, *told, transition(cut), transition(cut))
        conn.execute("update fsm_states set transition_count = 3 where entity_id = %s", [cut])
        for name in ("024_drop_workflow_recovery", "024_drop_workflow_recovery", *2 * ["024_add_workflow_recovery"]):
            conn.execute((ROOT / "migrations" / f"{name}.sql").read_bytes())
        found = dict(conn.execute("select entity_id, first_transition_id from fsm_states").fetchall())
        assert found == {whole: min(one.operation_id for one in told), cut: None}
        give(conn, transition(cut))
        assert conn.execute("select first_transition_id from fsm_states where entity_id = %s", [cut]).fetchone() == (
            None,
        )
