"""A program: what a fleet does with a type of operation that tests do not know, in whatever tree it is run.

    python -m tests.integration.store.write.new_operation DATABASE_URL TEXT_OF_A_BATCH

The batch holds operations that the database has not seen. Prints what became of them, as one JSON object.
"""

import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

import orjson
import psycopg

from omninode_bridge.bus.events import map_record
from omninode_bridge.client.broker import TASK_QUEUES
from omninode_bridge.client.client import TAKEN_TYPES
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.wire import decode_batch
from store.housekeeping.retention import KeepTimes
from store.housekeeping.retention_report import survey
from store.write.apply import apply
from store.write.compare import compare_stream, differences
from store.write.fold import Fold
from tasks.persist import TAKEN
from tests.factories import store_connection
from worker.simulation.world import BridgeWorld

NEW = "persist_workflow_note"
TABLE = "workflow_notes"
PLAYED = 3000


def main(url: str, text: str) -> dict[str, Any]:
    operations = [item for item in decode_batch(text, task_id="t") if isinstance(item, Operation)]
    with store_connection(url) as conn:
        applied = [outcome.status for outcome in apply(conn, operations)]
        again = [outcome.status for outcome in apply(conn, decode_batch(text, task_id="another"))]
        return {
            "operations": [operation.operation_type for operation in operations],
            "applied": applied,
            "again": again,
            **compared(conn, operations),
            **told_of_old(conn),
            **simulated(conn),
            **known(),
        }


def compared(conn: psycopg.Connection[Any], operations: list[Operation]) -> dict[str, Any]:
    fold = Fold()
    for operation in operations:
        fold.add(operation)
    rows = fold.rows()
    equal = differences(conn, rows)
    with conn.transaction(force_rollback=True):
        conn.execute("update workflow_notes set note = 'planted' where note = 'first'")
        changed = differences(conn, rows)
    with conn.transaction(force_rollback=True):
        conn.execute(
            "insert into workflow_notes select uuid_v7(), workflow_id, 'more', null, now() from workflow_notes limit 1"
        )
        added = differences(conn, rows)
    return {
        "folded": sorted(row["note"] for row in rows[TABLE].values()),
        "opened": len(rows["workflow_executions"]),
        "differences": [str(one) for one in equal],
        "planted": [(one.table, one.column, one.found) for one in changed],
        "too_many": [(one.table, one.column, one.expected, one.found) for one in added],
    }


def told_of_old(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    """What retention says of the workflows a year later, when all of them have ended."""
    with conn.transaction(force_rollback=True):
        conn.execute("update workflow_executions set current_state = 'COMPLETED'")
        reports = survey(conn, KeepTimes(), at=datetime.now(UTC) + timedelta(days=365))
    return {"kept": next(report.kept for report in reports if report.table == "workflow_executions")}


def simulated(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    start = datetime.now(UTC)
    played = list(islice(BridgeWorld(1, start), PLAYED))
    for first in range(0, PLAYED, 500):
        apply(conn, played[first : first + 500])
    comparison = compare_stream(conn, islice(BridgeWorld(1, start), PLAYED))
    return {
        "played": Counter(one.operation_type for one in played)[NEW],
        "rows_of_played": comparison.rows[TABLE],
        "differences_of_played": comparison.total,
    }


def known() -> dict[str, Any]:
    """Who else takes the new type."""
    id_ = "0f4e1a52-7f7c-4c39-8c3c-000000000001"
    record = map_record(
        "t.v1", None, {"workflow_note_data": {"workflow_id": id_, "note": "from the bus", "surprise": 1}}
    )
    queues = (queue for pattern, queue in TASK_QUEUES.items() if fnmatchcase(f"omninode.{NEW}", pattern))
    return {
        "queue": next(queues),
        "task": NEW in TAKEN,
        "client": any(NEW in types for types in TAKEN_TYPES.values()),
        "from_the_bus": record.operation_type,
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(main(sys.argv[1], sys.argv[2])))
