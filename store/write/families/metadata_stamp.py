"""metadata_stamps, appended once per operation; of a workflow, or of none."""

from operator import attrgetter

from omninode_bridge.contract.operation import MetadataStampData, Operation
from store.database.rows import operation_rows
from store.database.statements import statements_beside
from store.write.families import workflow_execution
from store.write.family import Family, Fresh, Holds, Table, Traced
from store.write.play import Data, Life, Play, World
from store.write.told import Row, Told, value_or

statement = statements_beside(__file__)

TABLE = "metadata_stamps"
_TYPE = "persist_metadata_stamp"


def _rows_of(fresh: Fresh) -> str | None:
    return operation_rows(fresh.of(_TYPE))


# ---- the reference fold: the same rules told a second time, in plain Python and without the SQL's clocks -------------


def _fold(told: Told, operation: Operation) -> None:
    data = operation.data
    assert isinstance(data, MetadataStampData)
    if data.workflow_id is not None:
        told.of(workflow_execution.TABLE, data.workflow_id)
    told.append(TABLE, operation, _row(operation, data))


def _row(operation: Operation, data: MetadataStampData) -> Row:
    return {
        "id": operation.operation_id,
        "workflow_id": data.workflow_id,
        "file_hash": data.file_hash,
        "stamp_id": data.stamp_id,
        "stamp_data": data.stamp_data,
        "namespace": value_or(data.namespace, "unknown"),
        "created_at": data.created_at or operation.occurred_at,
        "file_metadata": value_or(data.file_metadata, {}),
        "intelligence_data": value_or(data.intelligence_data, {}),
        "metadata_version": value_or(data.metadata_version, "0.1"),
    }


# ---- what a simulation plays -----------------------------------------------------------------------------------------


def _ended(world: World, life: Life) -> list[Data]:
    if life.failed:
        return []
    stamp: Data = {
        "workflow_id": life.workflow_id,
        "namespace": life.namespace,
        "file_hash": life.file_hash,
        "stamp_id": f"stamp_{life.file_hash[:12]}",
        "stamp_data": {"version": 1, "algorithm": "blake3"},
    }
    return [stamp] * int(world.random() * 3)


FAMILY = Family(
    name="metadata_stamp",
    types=(_TYPE,),
    statement=statement("append_stamps"),
    rows_of=_rows_of,
    opens=attrgetter("workflow_id"),
    fold=_fold,
    tables=(Table(name=TABLE, read=statement("fold_stamps"), owner=("workflow_id",), count=statement("count_stamps")),),
    play=Play(ended=_ended),
    traced=Traced(title="stamps", read=statement("trace_stamps")),
    holds=Holds(rows="stamps", when=statement("holding_stamps")),
)
