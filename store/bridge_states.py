"""bridge_states: the newest snapshot wins whole."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import Cursor

from omninode_bridge.clock import clock
from omninode_bridge.operation import BridgeStateData, Operation
from store.rows import data_json
from store.statements import statement


def replace(cursor: Cursor[Any], operations: Sequence[Operation]) -> None:
    newest: dict[tuple[UUID, str], tuple[str, BridgeStateData]] = {}
    for operation in operations:
        data = operation.data
        assert isinstance(data, BridgeStateData)
        said = clock(data.last_aggregation_timestamp or operation.occurred_at, operation.operation_id)
        held = newest.get((data.bridge_id, data.namespace))
        if held is None or said > held[0]:
            newest[data.bridge_id, data.namespace] = said, data
    if newest:
        listed = ",".join(
            [f'{{"clock":"{said}",{data_json(data)[1:]}' for _, (said, data) in sorted(newest.items(), key=_key)]
        )
        cursor.execute(statement("replace_bridge_states"), {"rows": f"[{listed}]"})


def _key(entry: tuple[tuple[UUID, str], object]) -> tuple[UUID, str]:
    return entry[0]
