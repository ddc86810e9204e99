"""Workflow executions: create, update, get, list, delete. One operation each, through any adapter.

`correlation_id` is the workflow's, and its row's key; `request_correlation_id` is the trace id of the call.

All of them raise OnexError: VALIDATION_ERROR for arguments that cannot be (nothing was sent then), NOT_FOUND, and what
the adapter answered. docs/persistence.md has the table.

What writes takes an `operation_id`, a UUIDv7 of the caller's: a call that is made again with it, all other arguments
equal, counts once and answers the row. Without it each call is an operation of its own.

From a node that answers no `rows` (the two adapters of this project always do) a create answers what was sent,
which the database may have put differently; an update reads the row.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from omninode_bridge.contract.enums import EnumDatabaseOperationType, EnumEntityType
from omninode_bridge.persistence.calls import (
    Call,
    checked_id,
    checked_text,
    checked_updates,
    checked_values,
    row_of,
    written_row,
)
from omninode_bridge.persistence.entities import ModelWorkflowExecution
from omninode_bridge.persistence.protocols import DatabaseAdapterProtocol

_TYPE = EnumEntityType.WORKFLOW_EXECUTION


async def create_workflow_execution(
    *,
    correlation_id: UUID,
    workflow_type: str,
    current_state: str,
    namespace: str,
    node: DatabaseAdapterProtocol,
    request_correlation_id: UUID,
    started_at: datetime | None = None,
    completed_at: datetime | None = None,
    execution_time_ms: int | None = None,
    error_message: str | None = None,
    metadata: dict[str, Any] | None = None,
    operation_id: UUID | None = None,
) -> ModelWorkflowExecution:
    """The new row, or the one that so far only a step had opened, filled.

    What is not given stays open for the events that tell it. Raises OnexError CONFLICT for a workflow that was told of
    before.
    """
    call = _call("create_workflow_execution", node, request_correlation_id, correlation_id)
    with call.errors():
        given = {
            "correlation_id": checked_id("correlation_id", correlation_id),
            "workflow_type": checked_text("workflow_type", workflow_type),
            "current_state": checked_text("current_state", current_state),
            "namespace": checked_text("namespace", namespace),
            "started_at": started_at,
            "completed_at": completed_at,
            "execution_time_ms": execution_time_ms,
            "error_message": error_message,
            "metadata": metadata,
        }
        fields = checked_values(_TYPE, {name: value for name, value in given.items() if value is not None})
        answer = await call.write(
            EnumDatabaseOperationType.INSERT, entity=fields, returning=True, operation_id=operation_id
        )
        return written_row(ModelWorkflowExecution, answer) or row_of(ModelWorkflowExecution, fields)


async def update_workflow_execution(
    *,
    correlation_id: UUID,
    updates: Mapping[str, Any],
    node: DatabaseAdapterProtocol,
    request_correlation_id: UUID,
    expected_version: int | None = None,
    operation_id: UUID | None = None,
) -> ModelWorkflowExecution:
    """The row after the update, which touches the given fields alone: whoever updates others meanwhile loses nothing.

    updates           None sets a field to NULL, where it takes that; `metadata` is replaced whole
    expected_version  the `row_version` that the row must have; else CONFLICT

    A workflow that has ended stays ended: the row that comes back says so.
    """
    call = _call("update_workflow_execution", node, request_correlation_id, correlation_id)
    with call.errors():
        key = _key(correlation_id)
        fields = checked_updates(_TYPE, updates, key)
        answer = await call.change(
            EnumDatabaseOperationType.UPDATE,
            entity=fields,
            query_filters=key,
            expected_version=expected_version,
            returning=True,
            operation_id=operation_id,
        )
        return written_row(ModelWorkflowExecution, answer) or await _read(call, key)


async def get_workflow_execution(
    *, correlation_id: UUID, node: DatabaseAdapterProtocol, request_correlation_id: UUID
) -> ModelWorkflowExecution:
    """The workflow's row."""
    call = _call("get_workflow_execution", node, request_correlation_id, correlation_id)
    with call.errors():
        key = _key(correlation_id)
        return await _read(call, key)


async def list_workflow_executions(
    *,
    node: DatabaseAdapterProtocol,
    request_correlation_id: UUID,
    filters: Mapping[str, Any] | None = None,
    limit: int | None = 100,
    offset: int | None = 0,
    sort_by: str | None = "created_at",
    sort_order: str = "desc",
) -> list[ModelWorkflowExecution]:
    """The rows that pass all filters: `column` or `column__operator` to a value.

    limit  0 to 1,000; None is 1,000, and no answer has more. For all of a long list see `page`, docs/persistence.md
    """
    call = _call("list_workflow_executions", node, request_correlation_id, None)
    with call.errors():
        items = await call.items(
            query_filters=filters, limit=limit, offset=offset, sort_by=sort_by, sort_order=sort_order
        )
        return [row_of(ModelWorkflowExecution, item) for item in items]


async def delete_workflow_execution(
    *,
    correlation_id: UUID,
    node: DatabaseAdapterProtocol,
    request_correlation_id: UUID,
    operation_id: UUID | None = None,
) -> bool:
    """True: the row is gone, and its steps with it. A later event about the workflow opens it again."""
    call = _call("delete_workflow_execution", node, request_correlation_id, correlation_id)
    with call.errors():
        key = _key(correlation_id)
        await call.change(EnumDatabaseOperationType.DELETE, query_filters=key, operation_id=operation_id)
        return True


def _call(function: str, node: object, request_correlation_id: object, correlation_id: object) -> Call:
    ids = {"correlation_id": correlation_id, "request_correlation_id": request_correlation_id}
    missing = "correlation_id: no workflow execution has it"
    return Call(function, _TYPE, node, ids, trace="request_correlation_id", missing=missing)


def _key(correlation_id: object) -> dict[str, Any]:
    return {"correlation_id": checked_id("correlation_id", correlation_id)}


async def _read(call: Call, key: Mapping[str, Any]) -> ModelWorkflowExecution:
    items = await call.present_items(query_filters=key, limit=1)
    return row_of(ModelWorkflowExecution, items[0])
