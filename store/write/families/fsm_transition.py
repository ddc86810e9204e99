"""fsm_transitions, appended once per operation; fsm_states, where each machine stands."""

from uuid import UUID

from omninode_bridge.contract.clock import fsm_state_clock, state_rank
from omninode_bridge.contract.operation import FsmTransitionData, Operation
from store.database.rows import operation_row
from store.database.statements import statements_beside
from store.write.family import Family, Fresh, Table, Traced
from store.write.play import Data, Life, Play, World
from store.write.told import Row, Said, Told, say, value_or

statement = statements_beside(__file__)

_TRANSITIONS, _STATES = "fsm_transitions", "fsm_states"
_TYPES = ("persist_fsm_transition", "persist_fsm_transition_intent")


def _rows_of(fresh: Fresh) -> str | None:
    """The rows of `append_transitions`."""
    operations = fresh.of(*_TYPES)
    if not operations:
        return None
    return "[" + ",".join([operation_row(operation, _clock_member(operation)) for operation in operations]) + "]"


def _clock_member(operation: Operation) -> str:
    data = operation.data
    assert isinstance(data, FsmTransitionData)
    return f'"clock":"{fsm_state_clock(operation.occurred_at, data.to_state, operation.operation_id)}",'


# ---- the reference fold: the same rules told a second time, in plain Python and without the SQL's clocks -------------


def _fold(told: Told, operation: Operation) -> None:
    data = operation.data
    assert isinstance(data, FsmTransitionData)
    said = told.of(_STATES, (data.entity_type, data.entity_id))
    say(said, "newest", (operation.occurred_at, state_rank(data.to_state), operation.operation_id), data)
    _, count = said.get("count", ((), 0))
    said["count"] = (), count + 1
    told.append(_TRANSITIONS, operation, _transition_row(operation, data))


def _transition_row(operation: Operation, data: FsmTransitionData) -> Row:
    return {
        "id": operation.operation_id,
        "entity_id": data.entity_id,
        "entity_type": data.entity_type,
        "from_state": data.from_state,
        "to_state": data.to_state,
        "transition_event": data.transition_event,
        "transition_data": value_or(data.transition_data, {}),
        "transition_at": operation.occurred_at,
        "triggered_by": data.triggered_by,
        "metadata": value_or(data.metadata, {}),
    }


def _state_row(key: tuple[str, UUID], said: Said) -> Row:
    (occurred_at, *_), data = said["newest"]
    _, count = said["count"]
    return {
        "entity_type": key[0],
        "entity_id": key[1],
        "current_state": data.to_state,
        "previous_state": data.from_state,
        "transition_count": count,
        "last_transition_at": occurred_at,
        "metadata": value_or(data.metadata, value_or(data.transition_data, {})),
    }


# ---- what a simulation plays -----------------------------------------------------------------------------------------


def _moved(life: Life, from_state: str, to_state: str, event: str) -> Data:
    return {
        "entity_id": life.workflow_id,
        "entity_type": "workflow_execution",
        "from_state": from_state,
        "to_state": to_state,
        "transition_event": event,
        "triggered_by": "orchestrator",
    }


def _started(world: World, life: Life) -> list[Data]:
    return [_moved(life, "PENDING", "PROCESSING", "workflow_started")]


def _ended(world: World, life: Life) -> list[Data]:
    if life.failed:
        return [_moved(life, "PROCESSING", "FAILED", "workflow_failed")]
    return [_moved(life, "PROCESSING", "COMPLETED", "workflow_completed")]


FAMILY = Family(
    name="fsm_transition",
    types=_TYPES,
    statement=statement("append_transitions"),
    rows_of=_rows_of,
    fold=_fold,
    tables=(
        Table(
            name=_TRANSITIONS,
            read=statement("fold_transitions"),
            owner=("entity_type", "entity_id"),
            count=statement("count_transitions"),
        ),
        Table(name=_STATES, key=("entity_type", "entity_id"), read=statement("fold_states"), row=_state_row),
    ),
    play=Play(started=_started, ended=_ended),
    traced=Traced(
        title="transitions",
        read=statement("trace_transitions"),
        table=_TRANSITIONS,
        any=statement("any_trace_transitions"),
    ),
)
