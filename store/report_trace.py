"""One workflow, whole: its row, steps, transitions, stamps and events."""

from typing import Any
from uuid import UUID

import orjson
from psycopg import Connection

from omninode_bridge.enums import EnumCoreErrorCode
from omninode_bridge.errors import OnexError
from omninode_bridge.persistence.models import MAX_LIMIT
from store.report_parameters import MAX_BYTES, Given, check_names, uuid_of
from store.statements import statement

MAX_ROWS = MAX_LIMIT  # of each list; MAX_BYTES is of the whole

# The small rows come first: what they leave of their share is for the steps, which carry data.
_LISTS = ("transitions", "stamps", "events", "steps")


def trace_workflow(conn: Connection[Any], given: Given) -> dict[str, Any]:
    """By `correlation_id`, or by the `id` of its row.

    `workflow` is None where only transitions or events are known. `duration_ms` is from start to completion, else what
    the workflow said of itself. `truncated` is true where a list has more than it shows: its first rows, in order.
    Raises OnexError NOT_FOUND when there is nothing at all.
    """
    check_names(given, "correlation_id")
    id_ = uuid_of(given, "correlation_id")
    workflow, duration_ms = _workflow(conn, id_)
    lists, truncated = _lists(conn, id_, workflow)
    if workflow is None and not any(lists.values()):
        raise OnexError(EnumCoreErrorCode.NOT_FOUND, f"correlation_id: nothing is known of {id_}")
    return {
        "workflow": workflow,
        "steps": lists["steps"],
        "transitions": lists["transitions"],
        "stamps": lists["stamps"],
        "events": lists["events"],
        "duration_ms": duration_ms,
        "truncated": truncated,
    }


def _workflow(conn: Connection[Any], id_: UUID) -> tuple[dict[str, Any] | None, float | None]:
    for column in ("correlation_id", "id"):
        found = conn.execute(statement(f"report_workflow_by_{column}"), {"id": id_}).fetchone()
        if found is not None:
            return found[0], found[1]
    return None, None


def _lists(
    conn: Connection[Any], id_: UUID, workflow: dict[str, Any] | None
) -> tuple[dict[str, list[dict[str, Any]]], bool]:
    """Each list, in its order; each may fill an equal part of the bytes that those before it have left."""
    names = [id_] if workflow is None else list({id_, UUID(workflow["id"]), UUID(workflow["correlation_id"])})
    left = MAX_BYTES - len(orjson.dumps(workflow))
    lists: dict[str, list[dict[str, Any]]] = {}
    truncated = False
    for position, name in enumerate(_LISTS):
        bounds = {"rows_limit": MAX_ROWS, "bytes_limit": left // (len(_LISTS) - position)}
        of = {"workflow_id": workflow["id"] if workflow else id_, "ids": names}
        rows, cut = conn.execute(statement(f"report_trace_{name}"), of | bounds).fetchone() or ([], False)
        lists[name] = rows
        truncated = truncated or cut
        left -= len(orjson.dumps(rows))
    return lists, truncated
