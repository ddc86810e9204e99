"""Asking the database how it is, through whatever leads to it."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from psycopg import Connection

from omninode_bridge.persistence.health import health_status, is_used_up
from store.database.errors import Outage
from store.database.statements import statements_beside

statement = statements_beside(__file__)


def health(
    run: Callable[[Callable[[Connection[Any]], str]], str],
    state: Callable[[], Mapping[str, Any]],
    *,
    uptime_s: float,
    correlation_id: str,
) -> dict[str, Any]:
    """The health status of a way to the database: `run` uses it, `state` tells of its breaker and pool.

    Where every connection is in use nobody is asked: the question would wait for one, and its failure would count as an
    outage.
    """
    started = time.perf_counter()
    version: str | None = None
    problem: str | None = None
    if is_used_up(state()):
        problem = "every connection to the database is in use"
    else:
        try:
            version = run(server_version)
        except Outage as outage:
            problem = outage.message
    return health_status(
        state=state(),
        version=version,
        problem=problem,
        uptime_s=uptime_s,
        took_ms=(time.perf_counter() - started) * 1000,
        correlation_id=correlation_id,
    )


def server_version(conn: Connection[Any]) -> str:
    """ "PostgreSQL 18.1", asked of the server."""
    ((version,),) = conn.execute(statement("server_version")).fetchall()
    return f"PostgreSQL {version.split()[0]}"
