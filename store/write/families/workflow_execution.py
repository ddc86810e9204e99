"""workflow_executions: what is told of each workflow, field by field; the newest value of a field stays.

Workflows that others only mention are opened here too, in the same statement: two sorted passes over the table could
deadlock. See docs/convergence.md.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from omninode_bridge.contract.clock import clock, state_rank, workflow_state_clock
from omninode_bridge.contract.operation import Operation, WorkflowExecutionData
from store.database.rows import rows
from store.database.statements import statements_beside
from store.write.family import Family, Fresh, Table
from store.write.play import Data, Life, Play, World
from store.write.told import Key, Moment, Row, Said, Told, given, moment_of, say

statement = statements_beside(__file__)

TABLE = "workflow_executions"
_TYPE = "persist_workflow_execution"


def _rows_of(fresh: Fresh) -> str | None:
    """The rows of `write_workflows`: what the batch tells of workflows, and those that it only mentions."""
    told = _folded(fresh.of(_TYPE))
    every = told | {id_: {"correlation_id": id_} for id_ in fresh.opened if id_ not in told}
    return rows(every.values()) if every else None


def _folded(operations: Sequence[Operation]) -> dict[UUID, Row]:
    """One row a workflow: each field's newest value, with the clock under which it was said."""
    folded: dict[UUID, Row] = {}
    for operation in operations:
        data = operation.data
        assert isinstance(data, WorkflowExecutionData)
        row = folded.get(data.correlation_id)
        if row is None:
            row = folded[data.correlation_id] = {"correlation_id": data.correlation_id, "clocks": {}}
        _tell(row, data, clock(operation.occurred_at, operation.operation_id))
    return folded


def _tell(row: Row, data: WorkflowExecutionData, said: str) -> None:
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


# ---- the reference fold: the same rules told a second time, in plain Python and without the SQL's clocks -------------


def _fold(told: Told, operation: Operation) -> None:
    data = operation.data
    assert isinstance(data, WorkflowExecutionData)
    said, when = told.of(TABLE, data.correlation_id), moment_of(operation)
    _say_columns(said, given(data, but=("correlation_id", "metadata")), when)
    for key, item in (data.metadata or {}).items():
        say(said, f"metadata.{key}", when, item)


def _write(said: Said, columns: Mapping[str, Any], when: Moment, inserts: bool) -> None:
    _say_columns(said, columns, when)


def _say_columns(said: Said, columns: Mapping[str, Any], when: Moment) -> None:
    """Metadata is replaced as a whole here: the keys that an event brings are apart from it."""
    for name, value in columns.items():
        if name == "started_at":
            _, earliest = said.get(name, (when, value))
            said[name] = when, min(earliest, value)
        else:
            say(said, name, (state_rank(value), *when) if name == "current_state" else when, value)


def _row(correlation_id: Key, said: Said) -> Row:
    row: Row = {
        "id": correlation_id,
        "correlation_id": correlation_id,
        "workflow_type": "unknown",
        "current_state": "PENDING",
        "namespace": "unknown",
        "started_at": None,
        "completed_at": None,
        "execution_time_ms": None,
        "error_message": None,
        "metadata": {},
        "stamp_id": None,
        "file_hash": None,
        "session_id": None,
        "workflow_id": None,
        "workflow_steps": [],
        "workflow_steps_executed": 0,
        "hash_generation_time_ms": None,
        "intelligence_data": None,
        "input_data": {},
        "output_data": {},
        "error_info": {},
    }
    keys: Row = {}
    replaced, _ = said.get("metadata", ((), None))
    for what, (when, value) in said.items():
        if not what.startswith("metadata."):
            row[what] = value
        elif when > replaced:
            keys[what.removeprefix("metadata.")] = value
    return row | {"metadata": row["metadata"] | keys}


# ---- what a simulation plays -----------------------------------------------------------------------------------------

_WORKFLOW_TYPES = ("metadata_stamping", "batch_stamping", "document_ingest")
_ERRORS = ("hash service timed out", "metadata service refused the stamp", "schema of the payload is unknown")
_MILLISECOND = timedelta(milliseconds=1)


def _started(world: World, life: Life) -> list[Data]:
    started: Data = {
        "correlation_id": life.workflow_id,
        "current_state": "PROCESSING",
        "workflow_type": world.one_of(_WORKFLOW_TYPES),
        "namespace": life.namespace,
        "started_at": world.now,
        "session_id": world.session,
        "metadata": {"mode": "event_driven"},
    }
    return [started]


def _ended(world: World, life: Life) -> list[Data]:
    ended: Data = {
        "correlation_id": life.workflow_id,
        "current_state": "FAILED" if life.failed else "COMPLETED",
        "completed_at": world.now,
        "execution_time_ms": (world.now - life.began) // _MILLISECOND,
        "workflow_steps_executed": life.steps,
    }
    if life.failed:
        failure = {"error_type": "TimeoutError", "retry_count": 1}
        return [ended | {"error_message": world.one_of(_ERRORS), "metadata": failure}]
    return [ended | {"file_hash": life.file_hash, "metadata": {"api_version": "v1"}}]


FAMILY = Family(
    name="workflow_execution",
    types=(_TYPE,),
    statement=statement("write_workflows"),
    rows_of=_rows_of,
    fold=_fold,
    tables=(Table(name=TABLE, key=("correlation_id",), read=statement("fold_workflows"), row=_row, write=_write),),
    play=Play(started=_started, ended=_ended),
)
