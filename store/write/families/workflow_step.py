"""workflow_steps, appended once per operation."""

import math
from operator import attrgetter

from omninode_bridge.contract.operation import Operation, WorkflowStepData
from store.database.rows import operation_rows
from store.database.statements import statements_beside
from store.write.families import workflow_execution
from store.write.family import Family, Fresh, Holds, Table, Traced
from store.write.play import Data, Life, Play, World
from store.write.told import Row, Told, value_or

statement = statements_beside(__file__)

TABLE = "workflow_steps"
_TYPE = "persist_workflow_step"


def _rows_of(fresh: Fresh) -> str | None:
    return operation_rows(fresh.of(_TYPE))


# ---- the reference fold: the same rules told a second time, in plain Python and without the SQL's clocks -------------


def _fold(told: Told, operation: Operation) -> None:
    data = operation.data
    assert isinstance(data, WorkflowStepData)
    told.of(workflow_execution.TABLE, data.workflow_id)
    told.append(TABLE, operation, _row(operation, data))


def _row(operation: Operation, data: WorkflowStepData) -> Row:
    return {
        "id": operation.operation_id,
        "workflow_id": data.workflow_id,
        "step_name": data.step_name,
        "step_order": data.step_order,
        "status": data.status,
        "execution_time_ms": data.execution_time_ms,
        "step_data": value_or(data.step_data, {}),
        "error_message": data.error_message,
        "created_at": data.created_at or operation.occurred_at,
        "step_type": data.step_type,
        "input_data": value_or(data.input_data, {}),
        "output_data": value_or(data.output_data, {}),
        "started_at": data.started_at,
        "completed_at": data.completed_at,
    }


# ---- what a simulation plays -----------------------------------------------------------------------------------------

_NAMES = (
    "validate_input",
    "generate_hash",
    "request_intelligence",
    "create_stamp",
    "publish_event",
    "route",
    "persist",
)
_FAILED_SHARE = 0.03
_MEAN_MS = 50


def _stepped(world: World, life: Life) -> list[Data]:
    stepped: Data = {
        "workflow_id": life.workflow_id,
        "step_name": _NAMES[life.order],
        "step_order": life.order,
        "status": "COMPLETED" if world.random() >= _FAILED_SHARE else "FAILED",
        "execution_time_ms": int(-_MEAN_MS * math.log(1 - world.random())),
        "step_data": {"bytes": world.bits(24)},
    }
    return [stepped]


FAMILY = Family(
    name="workflow_step",
    types=(_TYPE,),
    statement=statement("append_steps"),
    rows_of=_rows_of,
    opens=attrgetter("workflow_id"),
    fold=_fold,
    tables=(Table(name=TABLE, read=statement("fold_steps"), owner=("workflow_id",), count=statement("count_steps")),),
    play=Play(stepped=_stepped),
    traced=Traced(
        title="steps", read=statement("trace_steps"), large=True, table=TABLE, any=statement("any_trace_steps")
    ),
    holds=Holds(rows="steps", when=statement("holding_steps")),
)
