"""Who is there, and what the bridges are at.

Whether a node is there is computed when somebody asks, by the database's clock and the functions that the sweep uses:
`liveness` and `health` in an answer are of that moment, not of the last sweep's.
"""

from typing import Any

from psycopg import Connection

from omninode_bridge.contract.enums import EnumCoreErrorCode, EnumHealthStatus, EnumLiveness
from omninode_bridge.contract.errors import OnexError, invalid, quoted
from omninode_bridge.persistence.models import MAX_LIMIT
from store.database.bounded_read import walk_in_order
from store.database.statements import statements_beside
from store.reports.lists import listed
from store.reports.parameters import (
    USUAL,
    Given,
    Terms,
    age_of,
    check_names,
    choice_of,
    flag_of,
    limit_of,
    node_id_of,
    optional_text_of,
    text_of,
)

statement = statements_beside(__file__)

NODE_BYTES = 4_000_000  # of a node alone: what an adapter may answer, less what is around it


def healthy_nodes(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """Nodes that said HEALTHY, are FRESH, and were heard of within `max_age_s`; of `node_type`, of `namespace`."""
    check_names(given, "node_type", "namespace", "max_age_s", "after", "limit")
    node_type = optional_text_of(given, "node_type", max_chars=100)
    node_type = node_type and node_type.lower()
    question: dict[str, Any] = {
        "namespace": optional_text_of(given, "namespace", max_chars=255),
        "max_age": age_of(given, default=terms.thresholds.fresh_for),
        "after": node_id_of(given, "after"),
        "rows_limit": limit_of(given, default=MAX_LIMIT),
        **terms.bounds,
        **_moment(terms),
    }
    question["after_type"] = _type_of(conn, question["after"]) if node_type is None else node_type
    if node_type is None:
        question["types"] = [name for (name,) in conn.execute(statement("node_types"))]
    else:
        question["types"] = [node_type]
    return listed(conn, "healthy_nodes", question)


def list_nodes(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """Nodes by id, whatever they are at; `health` is the effective one. Deregistered ones only where asked for."""
    names = ("node_type", "namespace", "liveness", "health", "include_deregistered", "after", "limit")
    check_names(given, *names)
    node_type = optional_text_of(given, "node_type", max_chars=100)
    question = {
        "node_type": node_type and node_type.lower(),
        "namespace": optional_text_of(given, "namespace", max_chars=255),
        "liveness": choice_of(given, "liveness", EnumLiveness),
        "health": choice_of(given, "health", EnumHealthStatus),
        "include_deregistered": flag_of(given, "include_deregistered"),
        "after": node_id_of(given, "after"),
        "rows_limit": limit_of(given, default=MAX_LIMIT),
        **terms.bounds,
        **_moment(terms),
    }
    walk_in_order(conn)
    return listed(conn, "list_nodes", question)


def get_node(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """The node of `node_id`, deregistered or not; whole, unless no answer could hold it.

    Raises OnexError NOT_FOUND for one that nobody has heard of.
    """
    check_names(given, "node_id")
    node_id = text_of(given, "node_id", max_chars=255)
    question = {"node_id": node_id, "row_bytes": max(NODE_BYTES, terms.max_bytes), **_moment(terms)}
    for (item,) in conn.execute(statement("node"), question):
        return dict(item)
    raise OnexError(EnumCoreErrorCode.NOT_FOUND, f"node_id: no node {quoted(node_id)}")


def active_bridge_states(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """Bridges at work, that is neither IDLE nor COMPLETED, counted by node type and state."""
    check_names(given)
    return listed(conn, "active_bridge_states", {})


def _type_of(conn: Connection[Any], node_id: str) -> str:
    """The type behind which a list goes on; of no node, where all begin.   Raises OnexError for a node that is gone."""
    if not node_id:
        return ""
    for (node_type,) in conn.execute(statement("node_type"), {"node_id": node_id}):
        return str(node_type)
    raise invalid(f"after: no node {quoted(node_id)}, so where the list goes on is not known")


def _moment(terms: Terms) -> dict[str, Any]:
    return {"at": terms.at, **terms.thresholds.as_parameters()}
