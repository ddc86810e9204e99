"""Bridge states: create, update, get, list, delete, upsert. One operation each, through any adapter.

A row's key is bridge_id and namespace. Where a function takes `namespace` beside a `bridge_id`, leaving it out means
the one row that has this bridge_id; several are a CONFLICT that names their namespaces.

All of them raise OnexError: VALIDATION_ERROR for arguments that cannot be (nothing was sent then), NOT_FOUND, and what
the adapter answered. docs/persistence.md has the table.

What writes takes an `operation_id`, a UUIDv7 of the caller's: a call that is made again with it, all other arguments
equal, counts once and answers the row. Without it each call is an operation of its own.

From a node that answers no `rows` (the two adapters of this project always do) a create or an upsert answers what was
sent, which the database may have put differently; an update reads the row.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from omninode_bridge.contract.enums import EnumCoreErrorCode, EnumDatabaseOperationType, EnumEntityType
from omninode_bridge.contract.errors import OnexError, quoted
from omninode_bridge.persistence.calls import (
    Call,
    checked_id,
    checked_text,
    checked_updates,
    checked_values,
    row_of,
    written_row,
)
from omninode_bridge.persistence.entities import ModelBridgeState
from omninode_bridge.persistence.protocols import DatabaseAdapterProtocol

_TYPE = EnumEntityType.BRIDGE_STATE
MAX_NAMESPACES_SHOWN = 10


async def create_bridge_state(
    *,
    bridge_id: UUID,
    namespace: str,
    current_fsm_state: str,
    node: DatabaseAdapterProtocol,
    correlation_id: UUID,
    total_workflows_processed: int | None = 0,
    total_items_aggregated: int | None = 0,
    aggregation_metadata: dict[str, Any] | None = None,
    last_aggregation_timestamp: datetime | None = None,
    operation_id: UUID | None = None,
) -> ModelBridgeState:
    """The new row. Raises OnexError CONFLICT where there is one of that key."""
    call = _call("create_bridge_state", node, correlation_id, bridge_id, namespace)
    with call.errors():
        given = {
            **_whole_key(bridge_id, namespace),
            "current_fsm_state": checked_text("current_fsm_state", current_fsm_state),
            "total_workflows_processed": total_workflows_processed,
            "total_items_aggregated": total_items_aggregated,
            "aggregation_metadata": aggregation_metadata,
            "last_aggregation_timestamp": last_aggregation_timestamp,
        }
        fields = checked_values(_TYPE, {name: value for name, value in given.items() if value is not None})
        answer = await call.write(
            EnumDatabaseOperationType.INSERT, entity=fields, returning=True, operation_id=operation_id
        )
        return written_row(ModelBridgeState, answer) or row_of(ModelBridgeState, fields)


async def upsert_bridge_state(
    *,
    bridge_id: UUID,
    namespace: str,
    current_fsm_state: str,
    node: DatabaseAdapterProtocol,
    correlation_id: UUID,
    total_workflows_processed: int | None = 0,
    total_items_aggregated: int | None = 0,
    aggregation_metadata: dict[str, Any] | None = None,
    last_aggregation_timestamp: datetime | None = None,
    operation_id: UUID | None = None,
) -> ModelBridgeState:
    """The row of this key, made or overwritten. Every argument is written; one left out, or None, as its default."""
    call = _call("upsert_bridge_state", node, correlation_id, bridge_id, namespace)
    with call.errors():
        key = _whole_key(bridge_id, namespace)
        given = {
            **key,
            "current_fsm_state": checked_text("current_fsm_state", current_fsm_state),
            "total_workflows_processed": 0 if total_workflows_processed is None else total_workflows_processed,
            "total_items_aggregated": 0 if total_items_aggregated is None else total_items_aggregated,
            "aggregation_metadata": aggregation_metadata,
            "last_aggregation_timestamp": last_aggregation_timestamp,
        }
        fields = checked_values(_TYPE, given)
        answer = await call.write(
            EnumDatabaseOperationType.UPSERT,
            entity=fields,
            query_filters=key,
            returning=True,
            operation_id=operation_id,
        )
        return written_row(ModelBridgeState, answer) or row_of(ModelBridgeState, fields)


async def update_bridge_state(
    *,
    bridge_id: UUID,
    updates: Mapping[str, Any],
    node: DatabaseAdapterProtocol,
    correlation_id: UUID,
    namespace: str | None = None,
    expected_version: int | None = None,
    operation_id: UUID | None = None,
) -> ModelBridgeState:
    """The row after the update, which touches the given fields alone: whoever updates others meanwhile loses nothing.

    updates           None sets a field to NULL, where it takes that
    expected_version  the `row_version` that the row must have; else CONFLICT
    """
    call = _call("update_bridge_state", node, correlation_id, bridge_id, namespace)
    with call.errors():
        key = _key(bridge_id, namespace)
        fields = checked_updates(_TYPE, updates, key)
        if namespace is None and "namespace" in fields:  # it may be the row's own
            checked_updates(_TYPE, updates, _whole_key(bridge_id, (await _read(call, key)).namespace))
        answer = await call.change(
            EnumDatabaseOperationType.UPDATE,
            entity=fields,
            query_filters=key,
            expected_version=expected_version,
            returning=True,
            operation_id=operation_id,
        )
        return written_row(ModelBridgeState, answer) or await _read(call, key)


async def get_bridge_state(
    *, bridge_id: UUID, node: DatabaseAdapterProtocol, correlation_id: UUID, namespace: str | None = None
) -> ModelBridgeState:
    """The row of this key."""
    call = _call("get_bridge_state", node, correlation_id, bridge_id, namespace)
    with call.errors():
        key = _key(bridge_id, namespace)
        return await _read(call, key)


async def list_bridge_states(
    *,
    node: DatabaseAdapterProtocol,
    correlation_id: UUID,
    filters: Mapping[str, Any] | None = None,
    limit: int | None = 100,
    offset: int | None = 0,
    sort_by: str | None = "created_at",
    sort_order: str = "desc",
) -> list[ModelBridgeState]:
    """The rows that pass all filters: `column` or `column__operator` to a value.

    limit  0 to 1,000; None is 1,000, and no answer has more. For all of a long list see `page`, docs/persistence.md
    """
    call = _call("list_bridge_states", node, correlation_id, None, None)
    with call.errors():
        items = await call.items(
            query_filters=filters, limit=limit, offset=offset, sort_by=sort_by, sort_order=sort_order
        )
        return [row_of(ModelBridgeState, item) for item in items]


async def delete_bridge_state(
    *,
    bridge_id: UUID,
    node: DatabaseAdapterProtocol,
    correlation_id: UUID,
    namespace: str | None = None,
    operation_id: UUID | None = None,
) -> bool:
    """True: the row of this key is gone. A later event about the bridge opens it again."""
    call = _call("delete_bridge_state", node, correlation_id, bridge_id, namespace)
    with call.errors():
        key = _key(bridge_id, namespace)
        await call.change(EnumDatabaseOperationType.DELETE, query_filters=key, operation_id=operation_id)
        return True


def _call(function: str, node: object, correlation_id: object, bridge_id: object, namespace: object) -> Call:
    ids = {"bridge_id": bridge_id, "namespace": namespace, "correlation_id": correlation_id}
    return Call(function, _TYPE, node, ids, trace="correlation_id", missing="bridge_id: no bridge state has it")


def _key(bridge_id: object, namespace: object) -> dict[str, Any]:
    return {"bridge_id": checked_id("bridge_id", bridge_id)} if namespace is None else _whole_key(bridge_id, namespace)


def _whole_key(bridge_id: object, namespace: object) -> dict[str, Any]:
    return {"bridge_id": checked_id("bridge_id", bridge_id), "namespace": checked_text("namespace", namespace)}


async def _read(call: Call, key: Mapping[str, Any]) -> ModelBridgeState:
    items = await call.present_items(
        query_filters=key, limit=MAX_NAMESPACES_SHOWN + 1, sort_by="namespace", sort_order="asc"
    )
    rows = [row_of(ModelBridgeState, item) for item in items]
    if len(rows) > 1:
        shown = ", ".join(quoted(row.namespace) for row in rows[:MAX_NAMESPACES_SHOWN])
        more = ", and more" if len(rows) > MAX_NAMESPACES_SHOWN else ""
        message = f"bridge_id: several bridge states have it, in the namespaces {shown}{more}"
        raise OnexError(EnumCoreErrorCode.CONFLICT, message)
    return rows[0]
