"""fsm_transitions, appended once per operation; fsm_states, where each machine stands."""

from collections.abc import Sequence
from typing import Any

from psycopg import Cursor

from omninode_bridge.clock import fsm_state_clock
from omninode_bridge.operation import FsmTransitionData, Operation
from store.rows import operation_row
from store.statements import statement


def append(cursor: Cursor[Any], operations: Sequence[Operation]) -> None:
    if operations:
        listed = ",".join([operation_row(operation, _clock_member(operation)) for operation in operations])
        cursor.execute(statement("append_transitions"), {"rows": f"[{listed}]"})


def _clock_member(operation: Operation) -> str:
    data = operation.data
    assert isinstance(data, FsmTransitionData)
    return f'"clock":"{fsm_state_clock(operation.occurred_at, data.to_state, operation.operation_id)}",'
