"""fsm_transitions, appended once per operation; fsm_states, where each machine stands."""

from collections.abc import Sequence

from omninode_bridge.contract.clock import fsm_state_clock
from omninode_bridge.contract.operation import FsmTransitionData, Operation
from store.database.rows import operation_row


def rows_of(operations: Sequence[Operation]) -> str | None:
    """The rows of `append_transitions`."""
    if not operations:
        return None
    return "[" + ",".join([operation_row(operation, _clock_member(operation)) for operation in operations]) + "]"


def _clock_member(operation: Operation) -> str:
    data = operation.data
    assert isinstance(data, FsmTransitionData)
    return f'"clock":"{fsm_state_clock(operation.occurred_at, data.to_state, operation.operation_id)}",'
