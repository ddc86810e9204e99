"""Open workflows that nothing is heard of are reported once, and set to FAILED where a policy says so."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID, uuid4

import pytest

from omninode_bridge.contract.enums import EnumEntityType
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, request_of
from store.generic.carry_out import carry_out
from store.housekeeping import fsm_recovery
from store.write.batch import Limits
from tests.factories import execution, step, store_connection, transition
from tests.integration.store.housekeeping.test_fsm_recovery import (
    HOUR,
    MICROSECOND,
    MINUTE,
    START,
    Conn,
    events,
    give,
    row,
    run,
    seen_at,
)


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as opened:
        yield opened


def opened(conn: Conn, state: str = "PROCESSING", workflow_type: str = "stamping") -> tuple[UUID, datetime]:
    """An open workflow, and when its row was written."""
    correlation_id = uuid4()
    give(
        conn, execution(correlation_id, state=state, workflow_type=workflow_type, namespace="tests", occurred_at=START)
    )
    return correlation_id, row(conn, correlation_id)["updated_at"]


def instant(conn: Conn, query: str, *values: object) -> datetime:
    found = conn.execute(query.encode(), values).fetchone()
    assert found is not None
    at: datetime = found[0]
    return at


def test_an_open_workflow_is_reported_once_with_its_last_step(conn: Conn) -> None:
    correlation_id, _ = opened(conn)
    give(conn, step(correlation_id, step_name="hash", step_order=1, created_at=START))
    last = step(correlation_id, step_name="stamp", step_order=2, status="RUNNING", created_at=START + MINUTE)
    give(conn, last)
    came = instant(conn, "select claimed_at from operations where operation_id = %s", last.operation_id)
    before = row(conn, correlation_id)

    assert run(conn, at=came + HOUR - MICROSECOND) == {}
    at = came + HOUR
    assert run(conn, at=at) == {"stalled": 1}
    assert run(conn, at=at + 5 * HOUR) == {}

    after = row(conn, correlation_id)
    assert after["stalled_at"] == at
    assert after | {"stalled_at": None} == before, "nothing else of the row is touched"
    ((event_type, payload),) = events(conn, correlation_id)
    assert event_type == "workflow_stalled"
    assert payload["last_step"].pop("created_at") is not None
    assert payload == {
        "workflow_id": str(correlation_id),
        "workflow_type": "stamping",
        "namespace": "tests",
        "state": "PROCESSING",
        "idle_s": 3600.0,
        "last_activity_at": came.isoformat(),
        "last_step": {"step_name": "stamp", "step_order": 2, "status": "RUNNING"},
        "timestamp": at.isoformat(),
    }


def test_without_steps_it_counts_from_the_row_and_the_last_step_is_null(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    assert run(conn, at=written + HOUR - MICROSECOND) == {}
    assert run(conn, at=written + HOUR) == {"stalled": 1}
    assert events(conn, correlation_id)[0][1]["last_step"] is None


def test_a_transition_alone_keeps_a_workflow_alive(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    give(conn, transition(correlation_id, to_state="PAUSED"))
    moved = instant(conn, "select updated_at from fsm_states where entity_id = %s", correlation_id)
    assert moved > written
    assert run(conn, at=moved + HOUR - MICROSECOND) == {}
    assert run(conn, at=moved + HOUR) == {"stalled": 1}


def test_a_step_that_the_ledger_has_forgotten_counts_by_its_own_time(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    created = written + 10 * MINUTE
    told = step(correlation_id, created_at=created)
    give(conn, told)
    conn.execute("delete from operations where operation_id = %s", [told.operation_id])
    assert run(conn, at=created + HOUR - MICROSECOND) == {}
    assert run(conn, at=created + HOUR) == {"stalled": 1}


def test_a_write_of_the_row_makes_it_reportable_again_and_a_step_does_not(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    at = written + 2 * HOUR
    assert run(conn, at=at) == {"stalled": 1}
    give(conn, step(correlation_id))
    assert run(conn, at=at + 2 * HOUR) == {}
    give(conn, execution(correlation_id, metadata={"still": "here"}))
    assert row(conn, correlation_id)["stalled_at"] is None
    assert run(conn, at=at + 3 * HOUR) == {"stalled": 1}
    assert len(events(conn, correlation_id)) == 2


def test_a_generic_update_makes_it_reportable_again(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    assert run(conn, at=written + 2 * HOUR) == {"stalled": 1}
    assert updated(conn, correlation_id, namespace="other")["stalled_at"] is None


def test_workflows_that_have_ended_and_what_transitions_prove_to_have_are_not_reported(conn: Conn) -> None:
    for state in ("COMPLETED", "FAILED"):
        opened(conn, state)
    correlation_id, written = opened(conn)
    give(conn, transition(correlation_id, to_state="COMPLETED"))
    counts = run(conn, at=written + 2 * HOUR, stalled_after=MINUTE, fails={"*": MINUTE})
    assert counts == {"recovered": 1}


def test_policies_are_by_type_with_one_for_every_other(conn: Conn) -> None:
    soon, written = opened(conn, workflow_type="soon")
    late, _ = opened(conn, workflow_type="late")
    other, last_written = opened(conn, workflow_type="something else")
    fails = {"soon": 10 * MINUTE, "late": 30 * MINUTE}
    at = written + 10 * MINUTE

    assert run(conn, at=at - MICROSECOND, fails=fails) == {}
    assert run(conn, at=at, fails=fails) == {"stalled": 1, "failed": 1}
    assert [row(conn, id_)["current_state"] for id_ in (soon, late, other)] == ["FAILED", "PROCESSING", "PROCESSING"]
    assert run(conn, at=last_written + 20 * MINUTE, fails=fails | {"*": 20 * MINUTE}) == {"stalled": 1, "failed": 1}
    assert [row(conn, id_)["current_state"] for id_ in (late, other)] == ["PROCESSING", "FAILED"]


def test_what_fails_says_why_in_one_event_and_in_its_row(conn: Conn) -> None:
    correlation_id, _ = opened(conn)
    give(conn, step(correlation_id, step_name="hash"))
    at = row(conn, correlation_id)["updated_at"] + 2 * HOUR
    assert run(conn, at=at, fails={"stamping": HOUR}) == {"stalled": 1, "failed": 1}
    failed = row(conn, correlation_id)
    assert (failed["current_state"], failed["completed_at"], failed["stalled_at"]) == ("FAILED", at, at)
    assert failed["error_message"] == "stalled: no operation for 7199 s; last step hash"
    assert failed["row_version"] == 2
    assert failed["clocks"]["current_state"].startswith("2~")
    ((_, payload),) = events(conn, correlation_id)
    assert (payload["set_to"], payload["reason"], payload["state"]) == (
        "FAILED",
        failed["error_message"],
        "PROCESSING",
    )
    assert run(conn, at=at + HOUR, fails={"stamping": HOUR}) == {}


def test_one_that_was_reported_is_failed_later_with_an_event_of_its_own(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    fails = {"stamping": 3 * HOUR}
    assert run(conn, at=written + HOUR, fails=fails) == {"stalled": 1}
    assert run(conn, at=written + 2 * HOUR, fails=fails) == {}
    assert run(conn, at=written + 3 * HOUR, fails=fails) == {"failed": 1}
    assert [payload.get("set_to") for _, payload in events(conn, correlation_id)] == [None, "FAILED"]
    assert row(conn, correlation_id)["stalled_at"] == written + HOUR


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED"])
def test_a_real_end_wins_over_a_policy_whenever_it_happened(conn: Conn, end: str) -> None:
    correlation_id, written = opened(conn)
    assert run(conn, at=written + HOUR, fails={"*": HOUR})["failed"] == 1
    give(conn, execution(correlation_id, state="PROCESSING"))
    assert row(conn, correlation_id)["current_state"] == "FAILED"
    give(conn, execution(correlation_id, state=end, occurred_at=START - HOUR))
    ended = row(conn, correlation_id)
    assert (ended["current_state"], ended["error_message"], ended["completed_at"]) == (end, None, None)
    assert run(conn, at=written + 9 * HOUR, fails={"*": HOUR}) == {}


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED"])
def test_an_end_that_transitions_prove_wins_over_a_policy(conn: Conn, end: str) -> None:
    correlation_id, written = opened(conn)
    assert run(conn, at=written + HOUR, fails={"*": HOUR})["failed"] == 1
    give(conn, transition(correlation_id, to_state=end, occurred_at=START + MINUTE))
    at = seen_at(conn, correlation_id) + HOUR

    assert run(conn, at=at, fails={"*": HOUR}) == {"recovered": 1}

    proven = row(conn, correlation_id)
    assert (proven["current_state"], proven["completed_at"], proven["error_message"], proven["stalled_at"]) == (
        end,
        START + MINUTE,
        None,
        None,
    )
    name, payload = events(conn, correlation_id)[-1]
    assert (name, payload["from_state"], payload["to_state"]) == ("fsm_state_recovered", "FAILED", end)
    assert run(conn, at=at + HOUR, fails={"*": HOUR}) == {}
    give(conn, execution(correlation_id, state="COMPLETED", occurred_at=START - HOUR))
    reported = row(conn, correlation_id)
    assert (reported["current_state"], reported["completed_at"]) == ("COMPLETED", None)


def test_what_was_told_stays_beside_an_end_that_is_proven_after_all(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    give(conn, execution(correlation_id, error_message="disk slow", completed_at=START))
    assert run(conn, at=written + 2 * HOUR, fails={"*": HOUR})["failed"] == 1
    give(conn, transition(correlation_id, to_state="COMPLETED", occurred_at=START + MINUTE))
    assert run(conn, at=written + 3 * HOUR) == {"recovered": 1}
    proven = row(conn, correlation_id)
    assert (proven["error_message"], proven["completed_at"]) == ("disk slow", START)


@pytest.mark.parametrize("told", ["a transition", "an event", "an update", "a state"])
def test_one_that_was_given_up_stays_so_until_an_end_is_told_or_proven(conn: Conn, told: str) -> None:
    correlation_id, written = opened(conn)
    at = written + HOUR
    assert run(conn, at=at, fails={"*": HOUR})["failed"] == 1
    if told == "a transition":
        give(conn, transition(correlation_id, to_state="PAUSED"))
    elif told == "an event":
        give(conn, execution(correlation_id, metadata={"still": "here"}))
    elif told == "an update":
        updated(conn, correlation_id, namespace="other")
    else:
        updated(conn, correlation_id, current_state="PROCESSING")
    assert run(conn, at=at + HOUR, fails={"*": HOUR}) == {}
    given_up = row(conn, correlation_id)
    assert (given_up["current_state"], given_up["stalled_at"]) == ("FAILED", at)

    give(conn, transition(correlation_id, to_state="COMPLETED"))
    assert run(conn, at=at + 2 * HOUR, fails={"*": HOUR}) == {"recovered": 1}
    assert row(conn, correlation_id)["current_state"] == "COMPLETED"


def test_an_end_that_is_written_takes_the_place_of_a_guess(conn: Conn) -> None:
    for told in (False, True):
        correlation_id, written = opened(conn)
        assert run(conn, at=written + HOUR, fails={"*": HOUR})["failed"] == 1
        if told:
            give(conn, execution(correlation_id, state="FAILED", occurred_at=START))
        else:
            updated(conn, correlation_id, current_state="FAILED")
        ended = row(conn, correlation_id)
        assert (ended["current_state"], ended["stalled_at"], ended["error_message"]) == ("FAILED", None, None)


def test_a_create_fills_a_row_that_was_only_opened_and_then_given_up(conn: Conn) -> None:
    correlation_id = uuid4()
    give(conn, step(correlation_id))
    assert run(conn, at=START + 3 * HOUR, fails={"*": HOUR})["failed"] == 1
    created(conn, correlation_id)
    filled = row(conn, correlation_id)
    assert (filled["current_state"], filled["stalled_at"], filled["error_message"]) == ("PROCESSING", None, None)


def test_a_real_end_that_came_first_is_left_alone(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    give(conn, execution(correlation_id, state="COMPLETED", occurred_at=START - HOUR))
    assert run(conn, at=written + 9 * HOUR, fails={"*": HOUR}) == {}
    assert row(conn, correlation_id)["current_state"] == "COMPLETED"


def test_an_error_that_was_told_stays_beside_a_concluded_end(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    give(conn, execution(correlation_id, error_message="disk slow"))
    assert run(conn, at=written + 2 * HOUR, fails={"*": HOUR})["failed"] == 1
    assert row(conn, correlation_id)["error_message"] == "disk slow"
    give(conn, execution(correlation_id, state="COMPLETED", occurred_at=START))
    assert row(conn, correlation_id)["error_message"] == "disk slow"


def test_a_generic_write_of_an_end_wins_as_an_event_s_does(conn: Conn) -> None:
    correlation_id, written = opened(conn)
    assert run(conn, at=written + HOUR, fails={"*": HOUR})["failed"] == 1
    kept = updated(conn, correlation_id, current_state="PROCESSING")
    assert (kept["current_state"], kept["completed_at"]) == ("FAILED", written + HOUR)
    ended = updated(conn, correlation_id, current_state="COMPLETED")
    assert (ended["current_state"], ended["completed_at"], ended["error_message"]) == ("COMPLETED", None, None)


def test_a_create_fills_a_row_that_was_only_opened_and_then_recovered(conn: Conn) -> None:
    correlation_id = uuid4()
    give(conn, step(correlation_id), transition(correlation_id, to_state="PAUSED"))
    assert run(conn, at=START + HOUR) == {"recovered": 1}
    created(conn, correlation_id)
    filled = row(conn, correlation_id)
    assert (filled["workflow_type"], filled["current_state"]) == ("stamping", "PROCESSING")


def test_where_more_are_idle_than_are_looked_for_at_once_all_are_reported(
    conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsm_recovery, "PORTION", 2)
    monkeypatch.setattr(fsm_recovery, "MOST", 3)
    give(conn, *(execution(uuid4(), occurred_at=START) for _ in range(8)))
    assert run(conn, at=START + 3 * HOUR) == {"stalled": 8}


def test_a_row_that_somebody_holds_is_reported_the_next_time(conn: Conn, database_any: str) -> None:
    correlation_id, written = opened(conn)
    conn.execute("set lock_timeout to '200ms'")  # it does not wait
    with store_connection(database_any) as other, other.transaction():
        other.execute("select from workflow_executions where correlation_id = %s for update", [correlation_id])
        assert run(conn, at=written + HOUR) == {}
    assert run(conn, at=written + HOUR) == {"stalled": 1}


def created(conn: Conn, correlation_id: UUID) -> None:
    fields = {
        "correlation_id": correlation_id,
        "workflow_type": "stamping",
        "current_state": "PROCESSING",
        "namespace": "n",
    }
    write(conn, "insert", entity=fields)


def updated(conn: Conn, correlation_id: UUID, **fields: object) -> dict[str, object]:
    write(conn, "update", entity=fields, query_filters={"correlation_id": correlation_id})
    return row(conn, correlation_id)


def write(conn: Conn, way: str, **given: object) -> None:
    operation = ModelDatabaseOperationInput.model_validate(
        {"operation_type": way, "entity_type": EnumEntityType.WORKFLOW_EXECUTION, **given}
    )
    request = request_of(operation)
    assert carry_out(conn, request, operation_id=operation.operation_id, limits=Limits())
