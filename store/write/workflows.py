"""workflow_executions: what a batch tells of each workflow, folded field by field, merged by the clocks of its
fields."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from omninode_bridge.contract.clock import clock, workflow_state_clock
from omninode_bridge.contract.operation import MetadataStampData, Operation, WorkflowExecutionData, WorkflowStepData
from store.database.rows import rows

_Row = dict[str, Any]


def rows_of(*, told: Sequence[Operation], mentioned: Sequence[Operation]) -> str | None:
    """The rows of `write_workflows`: what the batch tells of workflows, and those that it only mentions."""
    told_rows = fold(told)
    every = told_rows | {id_: {"correlation_id": id_} for id_ in _mentioned(mentioned) if id_ not in told_rows}
    return rows(every.values()) if every else None


def fold(told: Sequence[Operation]) -> dict[UUID, _Row]:
    """One row a workflow: each field's newest value, with the clock under which it was said."""
    folded: dict[UUID, _Row] = {}
    for operation in told:
        data = operation.data
        assert isinstance(data, WorkflowExecutionData)
        row = folded.get(data.correlation_id)
        if row is None:
            row = folded[data.correlation_id] = {"correlation_id": data.correlation_id, "clocks": {}}
        _tell(row, data, clock(operation.occurred_at, operation.operation_id))
    return folded


def _tell(row: _Row, data: WorkflowExecutionData, said: str) -> None:
    clocks: dict[str, str] = row["clocks"]
    fields = data.__dict__
    for name in data.__pydantic_fields_set__:
        value = fields[name]
        if value is None or name == "correlation_id":
            continue
        if name == "started_at":
            row[name] = min(value, row.get(name, value))
        elif name == "metadata":
            held = row.setdefault(name, {})
            for key, item in value.items():
                if said > clocks.get(f"metadata.{key}", ""):
                    clocks[f"metadata.{key}"] = said
                    held[key] = item
        else:
            when = workflow_state_clock(value, said) if name == "current_state" else said
            if when > clocks.get(name, ""):
                clocks[name] = when
                row[name] = value


def _mentioned(operations: Sequence[Operation]) -> set[UUID]:
    found: set[UUID] = set()
    for operation in operations:
        data = operation.data
        if isinstance(data, WorkflowStepData | MetadataStampData) and data.workflow_id is not None:
            found.add(data.workflow_id)
    return found
