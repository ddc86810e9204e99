"""Recovery, at whatever moments it runs among operations, changes nothing of what is reported: a reported end stands as
the fold says, with all that belongs to it, and what is concluded where none was reported never goes backward. What is
proven takes the place of a guess."""

import random
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omninode_bridge.contract.clock import now, state_rank
from omninode_bridge.contract.operation import FsmTransitionData, Operation, WorkflowExecutionData, WorkflowStepData
from store.housekeeping.fsm_recovery import Recovery
from store.write.apply import apply
from store.write.compare import differences
from store.write.fold import Fold
from store.write.told import Row, Rows
from tests.property.conftest import Connection, Store, examples
from tests.property.strategies import WORKFLOW, Drawn, KeyOf, operation_sets

KINDS = (WorkflowExecutionData, FsmTransitionData, WorkflowStepData)
ENDS = ("COMPLETED", "FAILED")
CONCLUDED = ("current_state", "completed_at", "error_message")
QUERY = """
select w.current_state, w.completed_at, w.error_message, w.clocks ->> 'current_state', w.stalled_at is not null,
  coalesce(f.current_state, 'PENDING')
from workflow_executions w
left join fsm_states f on f.entity_type = 'workflow_execution' and f.entity_id = w.correlation_id
where w.correlation_id = %s
"""
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
pytestmark = pytest.mark.timeout(400)  # a failure is made smaller first, which takes its time


def of_a_workflow(drawn: Drawn) -> Drawn:
    """A transition of one of the workflows that the other operations are about."""
    if drawn.data_class is not FsmTransitionData:
        return drawn
    key = KeyOf(WORKFLOW, drawn.fields["entity_id"].index)
    return replace(drawn, fields=drawn.fields | {"entity_id": key, "entity_type": "workflow"})


def recover(conn: Connection, *, fails: bool) -> None:
    job = Recovery(
        after=MINUTE,
        stalled_after=1000 * DAY,
        fails={"*": MINUTE} if fails else {},
        environment="development",
        at=now() + DAY,
    )
    more = True
    while more:
        with conn.transaction():
            more = job(conn).more


@dataclass(frozen=True)
class Seen:
    """What a row shows of what may be concluded; whether it was given up, and where its machine stands."""

    row: Row
    clock: str
    is_given_up: bool
    machine: str


def seen_of(conn: Connection, correlation_id: object) -> Seen:
    found = conn.execute(QUERY, [correlation_id]).fetchone()
    assert found is not None
    return Seen(dict(zip(CONCLUDED, found[:3], strict=True)), *found[3:])


def check_concluded(expected: Row, seen: Seen, moves: list[FsmTransitionData], *, fails: bool) -> None:
    """What may be seen of a workflow whose end nobody reported."""
    row, reported, state = seen.row, expected["current_state"], seen.row["current_state"]
    transitions = [move.to_state for move in moves]
    assert seen.is_given_up == (state in ENDS and seen.clock.startswith("2~")), "a guess is known for one"
    if seen.machine in ENDS:
        assert not seen.is_given_up and state in transitions, "a guess stands against no proof"
    elif fails:
        assert state in ENDS or seen.clock.startswith("1~"), "one that was recovered just now is not silent yet"
    else:  # where the machine has gone on meanwhile, nobody may have seen what it proved before
        assert state == reported or (state in transitions and state_rank(state) > state_rank(reported))
        assert state != "PENDING" or seen.machine == "PENDING"
    if expected["completed_at"] is not None or state not in ENDS:
        assert row["completed_at"] == expected["completed_at"]
    if expected["error_message"] is not None or not seen.is_given_up:
        assert row["error_message"] == expected["error_message"]


def folded(operations: list[Operation]) -> Rows:
    fold = Fold()
    for operation in operations:
        fold.add(operation)
    return fold.rows()


def test_a_reported_end_stands_whenever_recovery_runs(store: Store) -> None:
    @examples(120)
    @given(
        drawn=operation_sets(of=KINDS, min_size=2, max_size=12),
        order=st.integers(0, 2**32 - 1),
        fails=st.booleans(),
    )
    def check(drawn: list[Drawn], order: int, fails: bool) -> None:
        world, chance = store.world(), random.Random(order)
        operations = [of_a_workflow(one).in_world(world) for one in drawn]
        arrivals = operations[:]
        chance.shuffle(arrivals)
        for operation in arrivals:
            assert [outcome.status for outcome in apply(store.conn, [operation])] == ["applied"]
            if chance.random() < 0.4:
                recover(store.conn, fails=fails)
        recover(store.conn, fails=fails)

        rows = folded(operations)
        for correlation_id, expected in rows["workflow_executions"].items():
            if expected["current_state"] in ENDS:
                continue
            moves = [
                one.data
                for one in operations
                if isinstance(one.data, FsmTransitionData) and one.data.entity_id == correlation_id
            ]
            seen = seen_of(store.conn, correlation_id)
            check_concluded(expected, seen, moves, fails=fails)
            rows["workflow_executions"][correlation_id] = expected | seen.row
        assert differences(store.conn, rows) == []

    check()
