"""One workflow, whole: its row, steps, transitions, stamps and events."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from psycopg import Connection

from omninode_bridge.contract.enums import ENDED_STATES, EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence.models import MAX_LIMIT
from store.database.statements import statements_beside
from store.reports.parameters import USUAL, Given, Terms, check_names, limit_of, uuid_of

statement = statements_beside(__file__)

MOST_ROWS = 10_000  # of each list
MOST_FAILED = 100  # steps that are shown wherever they stand
MOST_NAMED = 10  # workflows with one workflow_id, in a refusal

Row = dict[str, Any]


@dataclass(slots=True)
class _Lists:
    """What is shown of each list, and how many rows there are."""

    shown: dict[str, list[Row]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    failed_steps: int = 0


# In the order of an answer. They are read in another one: the small rows first, for what they leave of their share is
# for the steps, which carry data.
_NAMES = ("steps", "transitions", "stamps", "events")
_READ = {
    "transitions": "trace_transitions",
    "stamps": "trace_stamps",
    "events": "trace_events",
    "steps": "trace_steps",
}


def trace_workflow(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """By `correlation_id`: the workflow's, the `id` of its row, or its `workflow_id`. `limit` is of each list's rows.

    `workflow` is None where only transitions or events are known. `duration_ms` is from start to completion, else what
    the workflow said of itself. `totals` is how many rows there are of each list, `truncated` names the lists that show
    fewer: their first rows, in order; of steps the first 100 that failed before others.
    Raises OnexError NOT_FOUND when there is nothing at all, CONFLICT for a workflow_id that several workflows have.
    """
    check_names(given, "correlation_id", "limit")
    id_, limit = uuid_of(given, "correlation_id"), limit_of(given, default=MAX_LIMIT, most=MOST_ROWS)
    workflow, duration_ms = _workflow(conn, id_, terms)
    lists = _lists(conn, id_, workflow, limit=limit, terms=terms)
    if workflow is None and not any(lists.totals.values()):
        raise OnexError(EnumCoreErrorCode.NOT_FOUND, f"correlation_id: nothing is known of {id_}")
    return {
        "workflow": workflow,
        **{name: lists.shown[name] for name in _NAMES},
        "duration_ms": duration_ms,
        "ended": workflow is not None and _has_ended(workflow),
        "failed_steps": lists.failed_steps,
        "totals": {name: lists.totals[name] for name in _NAMES},
        "truncated": [name for name in _NAMES if len(lists.shown[name]) < lists.totals[name]],
    }


def _workflow(conn: Connection[Any], id_: UUID, terms: Terms) -> tuple[Row | None, float | None]:
    found = _found(conn, "workflow_by_correlation_id", id_, terms) or _found(conn, "workflow_by_id", id_, terms)
    if found is not None:
        return found
    question = {"id": id_, "rows_limit": MOST_NAMED}
    same = [one for (one,) in conn.execute(statement("workflows_by_workflow_id"), question)]
    if len(same) > 1:
        told = f"correlation_id: several workflows have the workflow_id {id_}; ask for one of "
        raise OnexError(EnumCoreErrorCode.CONFLICT, told + ", ".join(map(str, same)))
    return (same and _found(conn, "workflow_by_correlation_id", same[0], terms)) or (None, None)


def _found(conn: Connection[Any], name: str, id_: UUID, terms: Terms) -> tuple[Row, float | None] | None:
    question = {"id": id_, "row_bytes": terms.max_bytes // 3}
    return conn.execute(statement(name), question).fetchone()


def _has_ended(workflow: Row) -> bool:
    return workflow["completed_at"] is not None or workflow["current_state"] in ENDED_STATES


def _lists(conn: Connection[Any], id_: UUID, workflow: Row | None, *, limit: int, terms: Terms) -> _Lists:
    """Each may fill an equal part of the bytes that those before it have left."""
    names = [id_] if workflow is None else list({id_, UUID(workflow["id"]), UUID(workflow["correlation_id"])})
    of = {"workflow_id": workflow["id"] if workflow else id_, "ids": names, "failed_limit": MOST_FAILED}
    bounds = {"rows_limit": limit, **terms.bounds}
    left = terms.max_bytes - len(orjson.dumps(workflow))
    lists = _Lists()
    for position, (name, of_name) in enumerate(_READ.items()):
        share = {"bytes_limit": left // (len(_READ) - position)}
        found = conn.execute(statement(of_name), of | bounds | share).fetchone()
        lists.shown[name], lists.totals[name], *failed = found or ([], 0)
        lists.failed_steps += sum(failed)
        left -= len(orjson.dumps(lists.shown[name]))
    return lists
