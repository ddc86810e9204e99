"""From the breaker's state and the pool's use to one word for it."""

from typing import Any

import pytest

from omninode_bridge.persistence.health import health_status


def state(breaker: str = "closed", used: int = 8) -> dict[str, Any]:
    pool = {"pool_max": 20, "used_connections": used, "pool_free": 20 - used, "requests_total": 15420}
    return {"breaker": {"state": breaker}, "pool": pool | {"utilization_percent": 5.0 * used}}


def health(found: dict[str, Any] | None, *, version: str | None = "PostgreSQL 15.3") -> dict[str, Any]:
    return health_status(
        state=found, version=version, problem=None, uptime_s=1.0, took_ms=2.0, correlation_id="some-trace"
    )


@pytest.mark.parametrize(
    ("found", "answers", "status", "healthy", "success"),
    [
        (state(), True, "HEALTHY", True, True),
        (state(used=16), True, "HEALTHY", True, True),
        (state(used=17), True, "DEGRADED", False, False),
        (state("half_open"), True, "DEGRADED", False, True),
        (state("open"), True, "UNHEALTHY", False, False),
        (state(), False, "UNHEALTHY", False, False),
        (state(used=19), False, "UNHEALTHY", False, False),
        (state(used=20), False, "DEGRADED", False, False),
        (state("open", used=20), False, "UNHEALTHY", False, False),
        (None, False, "UNHEALTHY", False, False),
    ],
)
def test_the_status_follows_the_breaker_the_use_and_the_answer(
    found: dict[str, Any] | None, answers: bool, status: str, healthy: bool, success: bool
) -> None:
    told = health(found, version="PostgreSQL 15.3" if answers else None)
    assert (told["database_status"], told["healthy"], told["success"]) == (status, healthy, success)


def test_it_tells_of_the_connections_in_both_forms() -> None:
    told = health(state())
    assert told["connection_stats"] == {
        "pool_size": 20,
        "active_connections": 8,
        "idle_connections": 12,
        "total_queries": 15420,
    }
    numbers = [told[f"connection_pool_{name}"] for name in ("size", "in_use", "available")]
    assert numbers == [20, 8, 12]
    assert (told["circuit_breaker_status"], told["database_version"]) == ("CLOSED", "PostgreSQL 15.3")


def test_it_has_the_same_keys_where_nobody_answered() -> None:
    nobody = health(None, version=None)
    assert nobody.keys() == health(state()).keys()
    assert nobody["connection_stats"].keys() == health(state())["connection_stats"].keys()
    assert nobody["circuit_breaker_status"] == "UNKNOWN"
