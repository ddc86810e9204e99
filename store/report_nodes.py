"""Who is there, and what the bridges are at."""

from typing import Any

from psycopg import Connection

from omninode_bridge.persistence.models import MAX_LIMIT
from store.report_parameters import MAX_BYTES, Given, age_of, check_names, limit_of, text_of
from store.statements import statement

MAX_AGE_S = 60.0


def healthy_nodes(conn: Connection[Any], given: Given) -> dict[str, Any]:
    """Nodes that say HEALTHY and said so within `max_age_s`; of `node_type`, or of every type."""
    check_names(given, "node_type", "max_age_s", "limit")
    max_age, rows_limit = age_of(given, default=MAX_AGE_S), limit_of(given, default=MAX_LIMIT)
    types = [text_of(given, "node_type", max_chars=100).lower()] if given.get("node_type") is not None else None
    if types is None:
        types = [name for (name,) in conn.execute(statement("report_node_types"))]
    question = {"types": types, "max_age": max_age, "rows_limit": rows_limit, "bytes_limit": MAX_BYTES}
    return {"items": [item for (item,) in conn.execute(statement("report_healthy_nodes"), question)]}


def active_bridge_states(conn: Connection[Any], given: Given) -> dict[str, Any]:
    """Bridges at work, that is neither IDLE nor COMPLETED, counted by node type and state."""
    check_names(given)
    return {"items": [item for (item,) in conn.execute(statement("report_active_bridge_states"))]}
