"""How a way to the database is, in the platform's words; the same from a worker and from an adapter of one's own."""

from collections.abc import Mapping
from typing import Any

from omninode_bridge.contract.clock import now

HEALTH_OPERATION = "get_health_status"
BUSY_PERCENT = 80.0  # pool use from which it is degraded

HEALTHY = "HEALTHY"
DEGRADED = "DEGRADED"
UNHEALTHY = "UNHEALTHY"
UNKNOWN = "UNKNOWN"


def health_status(
    *,
    state: Mapping[str, Any] | None,
    version: str | None,
    problem: str | None,
    uptime_s: float,
    took_ms: float,
    correlation_id: str,
) -> dict[str, Any]:
    """What `get_health_status` answers.

    state    `breaker` and `pool` as `store.database.guard` tells them; None where nobody answered
    version  of the server; None when it did not answer
    problem  why not

    A server that could not be asked because every connection is in use is DEGRADED: those who use them know more, and
    an outage that they meet opens the breaker. `healthy` is only what is wholly so. `success` is false as well where
    the pool is nearly used up, not while the breaker tries the database again.
    """
    pool = state["pool"] if state is not None else {}
    breaker = str(state["breaker"]["state"]).upper() if state is not None else UNKNOWN
    busy = pool.get("utilization_percent", 0.0) > BUSY_PERCENT
    answered = version is not None or is_used_up(state)
    status = _status(answered=answered, breaker=breaker, busy=busy)
    return {
        "healthy": status == HEALTHY,
        "success": status != UNHEALTHY and not busy,
        "database_status": status,
        "database_version": version,
        "connection_stats": {
            "pool_size": pool.get("pool_max", 0),
            "active_connections": pool.get("used_connections", 0),
            "idle_connections": pool.get("pool_free", 0),
            "total_queries": pool.get("requests_total", 0),
        },
        "connection_pool_size": pool.get("pool_max", 0),
        "connection_pool_available": pool.get("pool_free", 0),
        "connection_pool_in_use": pool.get("used_connections", 0),
        "circuit_breaker_status": breaker,
        "correlation_id": correlation_id,
        "execution_time_ms": round(took_ms, 3),
        "uptime_seconds": round(uptime_s, 3),
        "last_check_timestamp": now().isoformat(),
        "error_message": problem,
    }


def is_used_up(state: Mapping[str, Any] | None) -> bool:
    """Whether every connection is in use."""
    return state is not None and state["pool"]["pool_free"] == 0


def _status(*, answered: bool, breaker: str, busy: bool) -> str:
    if not answered or breaker == "OPEN":
        return UNHEALTHY
    return DEGRADED if busy or breaker != "CLOSED" else HEALTHY
