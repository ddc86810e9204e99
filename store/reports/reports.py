"""What people ask about workflows, namespaces, sessions and nodes: each a report by its name. See docs/queries.md.

A report takes an open connection and its parameters, and returns JSON values: ids and instants are text. It is one or a
few statements by index, and its lists are bounded; how much each one reads is in docs/queries.md.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from psycopg import Connection

from omninode_bridge.contract.errors import invalid
from store.database.bounded_read import reading
from store.reports.events import events_with_error, session_events
from store.reports.nodes import active_bridge_states, get_node, healthy_nodes, list_nodes
from store.reports.parameters import MAX_BYTES, USUAL, Given, Terms
from store.reports.stamps import namespace_stats, stamps_by_hash, stamps_with
from store.reports.trace import trace_workflow
from store.reports.workflows import find_failed_workflows, step_timing, transition_failures
from store.write.liveness import Thresholds

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
