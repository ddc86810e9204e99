"""What people ask about workflows, namespaces, sessions and nodes: each a report by its name. See docs/queries.md.

A report takes an open connection and its parameters, and returns JSON values: ids and instants are text. It is one or a
few statements by index, and its lists are bounded; how much each one reads is in docs/queries.md.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from psycopg import Connection

from omninode_bridge.errors import invalid
from store.liveness import Thresholds
from store.queries import reading
from store.report_events import events_with_error, session_events
from store.report_nodes import active_bridge_states, get_node, healthy_nodes, list_nodes
from store.report_parameters import MAX_BYTES, USUAL, Given, Terms
from store.report_stamps import namespace_stats, stamps_by_hash, stamps_with
from store.report_trace import trace_workflow
from store.report_workflows import find_failed_workflows, step_timing, transition_failures

Report = Callable[[Connection[Any], Given, Terms], dict[str, Any]]

# Each raises OnexError VALIDATION_ERROR that names a parameter; trace_workflow and get_node, NOT_FOUND.
REPORTS: dict[str, Report] = {
    "trace_workflow": trace_workflow,
    "namespace_stats": namespace_stats,
    "find_failed_workflows": find_failed_workflows,
    "session_events": session_events,
    "step_timing": step_timing,
    "transition_failures": transition_failures,
    "healthy_nodes": healthy_nodes,
    "list_nodes": list_nodes,
    "get_node": get_node,
    "active_bridge_states": active_bridge_states,
    "stamps_by_hash": stamps_by_hash,
    "stamps_with": stamps_with,
    "events_with_error": events_with_error,
}


def ask(
    conn: Connection[Any],
    name: str,
    parameters: Given,
    *,
    timeout_ms: int,
    thresholds: Thresholds = USUAL.thresholds,
    at: datetime | None = None,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Any]:
    """The report, from a read only transaction of its own: every part of it is of one moment.

    thresholds, at, max_bytes  as in Terms
    Raises OnexError TIMEOUT when a statement takes longer, VALIDATION_ERROR for a name or a parameter that is none.
    """
    if name not in REPORTS:
        raise invalid("report: not one of " + ", ".join(REPORTS))
    with reading(conn, timeout_ms=timeout_ms, field="query_filters", name=name):
        return REPORTS[name](conn, parameters, Terms(thresholds, at, max_bytes))
