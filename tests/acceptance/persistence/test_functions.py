"""The persistence functions and their operations through both adapters, where it is not the row that is in question."""

from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import uuid4

import orjson
import pytest
from pydantic import create_model

from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence import (
    ModelBridgeState,
    create_bridge_state,
    get_bridge_state,
    list_bridge_states,
    update_bridge_state,
)
from omninode_bridge.persistence import bridge_state_crud as functions
from omninode_bridge.persistence.adapter import DatabaseAdapter
from omninode_bridge.persistence.entities import Entity
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, request_of
from omninode_bridge.persistence.security import MAX_BYTES
from tests.acceptance.adapters import run

pytestmark = pytest.mark.acceptance


def call(adapter: DatabaseAdapter, **fields: Any) -> dict[str, Any]:
    """A function's arguments, about a bridge of its own."""
    return {"bridge_id": uuid4(), "node": adapter, "correlation_id": uuid4()} | fields


def test_a_node_that_is_older_than_a_column_reads_what_it_wrote(
    adapter: DatabaseAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: Any = {name: (one.annotation, one) for name, one in ModelBridgeState.model_fields.items()}
    del fields["state_data"]
    older = create_model("Older", __base__=Entity, **fields)
    monkeypatch.setattr(functions, "ModelBridgeState", older)

    async def write() -> list[Entity]:
        bridge = call(adapter)
        made = await create_bridge_state(**bridge, namespace="tests", current_fsm_state="IDLE")
        changed = await update_bridge_state(**bridge, updates={"version": 2})
        listed = await list_bridge_states(node=adapter, correlation_id=uuid4())
        return [made, changed, await get_bridge_state(**bridge), *listed]

    rows = run(write())
    assert [row.row_version for row in rows] == [1, 2, 2, 2] and {type(row) for row in rows} == {older}


class Phase(Enum):
    BUSY = "busy"


def test_json_columns_take_what_callers_hold(adapter: DatabaseAdapter) -> None:
    at, bridge = datetime(2026, 1, 2, tzinfo=UTC), call(adapter)

    async def write() -> tuple[ModelBridgeState, ModelBridgeState]:
        metadata = {"at": at, "phase": Phase.BUSY, "ids": {bridge["bridge_id"]}}
        made = await create_bridge_state(
            **bridge, namespace="tests", current_fsm_state="IDLE", aggregation_metadata=metadata
        )
        updates = {"configuration": {"since": at}, "current_fsm_state": Phase.BUSY}
        return made, await update_bridge_state(**bridge, updates=updates)

    made, changed = run(write())
    assert made.aggregation_metadata == {"at": at.isoformat(), "phase": "busy", "ids": [str(bridge["bridge_id"])]}
    assert (changed.configuration, changed.current_fsm_state) == ({"since": at.isoformat()}, "BUSY")


def test_a_namespace_among_the_updates_is_the_rows_own_or_is_refused_by_name(adapter: DatabaseAdapter) -> None:
    bridge = call(adapter)

    async def write() -> ModelBridgeState:
        await create_bridge_state(**bridge, namespace="tests", current_fsm_state="IDLE")
        return await update_bridge_state(**bridge, updates={"namespace": "tests", "version": 2})

    assert run(write()).version == 2
    with pytest.raises(OnexError, match=r"updates\.namespace: cannot be updated"):
        run(update_bridge_state(**bridge, updates={"namespace": "other", "version": 3}))


def test_both_adapters_take_operations_of_the_same_size(adapter: DatabaseAdapter) -> None:
    def of_size(size_bytes: int) -> ModelDatabaseOperationInput:
        entity: dict[str, Any] = {"bridge_id": str(uuid4()), "namespace": "tests", "current_fsm_state": "IDLE"}
        given: dict[str, Any] = {"operation_type": "insert", "entity_type": "bridge_state", "correlation_id": uuid4()}
        empty = ModelDatabaseOperationInput(**given, entity=entity | {"metadata": {"a": ""}})
        text = "x" * (size_bytes - len(orjson.dumps(request_of(empty))))
        return ModelDatabaseOperationInput(**given, entity=entity | {"metadata": {"a": text}})

    largest = run(adapter.process(of_size(MAX_BYTES)))
    assert largest.success, largest.error_message
    too_large = run(adapter.process(of_size(MAX_BYTES + 1)))
    message = f"operation: {MAX_BYTES + 1} bytes of JSON, which exceeds maximum {MAX_BYTES}"
    assert (too_large.error_code, too_large.error_message) == ("VALIDATION_ERROR", message)
