"""bridge_states: the newest snapshot wins whole."""

from collections.abc import Sequence
from uuid import UUID

from omninode_bridge.clock import clock
from omninode_bridge.operation import BridgeStateData, Operation
from store.rows import data_json


def rows_of(operations: Sequence[Operation]) -> str | None:
    """The rows of `replace_bridge_states`: the newest snapshot of each bridge and namespace."""
    newest: dict[tuple[UUID, str], tuple[str, BridgeStateData]] = {}
    for operation in operations:
        data = operation.data
        assert isinstance(data, BridgeStateData)
        said = clock(data.last_aggregation_timestamp or operation.occurred_at, operation.operation_id)
        held = newest.get((data.bridge_id, data.namespace))
        if held is None or said > held[0]:
            newest[data.bridge_id, data.namespace] = said, data
    if not newest:
        return None
    return "[" + ",".join([f'{{"clock":"{said}",{data_json(data)[1:]}' for said, data in newest.values()]) + "]"
