"""What people ask about workflows, namespaces, sessions and nodes: each a report by its name. See docs/queries.md.

A report takes an open connection and its parameters, and returns JSON values: ids and instants are text. It is one or a
few statements by index, and its lists are bounded; how much each one reads is in docs/queries.md.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from psycopg import Connection

from omninode_bridge.errors import invalid
from store.liveness import Thresholds
from store.queries import reading
from store.report_events import events_with_error, session_events
from store.report_nodes import USUAL, active_bridge_states, get_node, healthy_nodes, list_nodes
from store.report_stamps import namespace_stats, stamps_by_hash, stamps_with
from store.report_trace import trace_workflow
from store.report_workflows import find_failed_workflows, step_timing, transition_failures

Report = Callable[[Connection[Any], Mapping[str, Any]], dict[str, Any]]

# These know who is there at which moment, and by which thresholds.
NODE_REPORTS: dict[str, Callable[..., dict[str, Any]]] = {
    "healthy_nodes": healthy_nodes,
    "list_nodes": list_nodes,
    "get_node": get_node,
}
# Each raises OnexError VALIDATION_ERROR that names a parameter; trace_workflow and get_node, NOT_FOUND.
REPORTS: dict[str, Report] = {
    "trace_workflow": trace_workflow,
    "namespace_stats": namespace_stats,
    "find_failed_workflows": find_failed_workflows,
    "session_events": session_events,
    "step_timing": step_timing,
    "transition_failures": transition_failures,
    **NODE_REPORTS,
    "active_bridge_states": active_bridge_states,
    "stamps_by_hash": stamps_by_hash,
    "stamps_with": stamps_with,
    "events_with_error": events_with_error,
}


def ask(
    conn: Connection[Any],
    name: str,
    parameters: Mapping[str, Any],
    *,
    timeout_ms: int,
    thresholds: Thresholds = USUAL,
    at: datetime | None = None,
) -> dict[str, Any]:
    """The report, from a read only transaction of its own: every part of it is of one moment.

    thresholds, at  of reports about nodes: how long a silent one counts as there, and when; None: the database's now
    Raises OnexError TIMEOUT when a statement takes longer, VALIDATION_ERROR for a name or a parameter that is none.
    """
    if name not in REPORTS:
        raise invalid("report: not one of " + ", ".join(REPORTS))
    with reading(conn, timeout_ms=timeout_ms, field="query_filters", name=name):
        if name in NODE_REPORTS:
            return NODE_REPORTS[name](conn, parameters, thresholds=thresholds, at=at)
        return REPORTS[name](conn, parameters)
