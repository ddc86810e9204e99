"""What reports refuse to be asked, before the database hears of it."""

from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge.contract.errors import OnexError
from store.reports.parameters import USUAL
from store.reports.reports import REPORTS

NEVER_ASKED = cast("psycopg.Connection[Any]", None)
NEEDED: dict[str, dict[str, Any]] = {
    "trace_workflow": {"correlation_id": str(uuid4())},
    "namespace_stats": {"namespace": "tests"},
    "session_events": {"session_id": str(uuid4())},
    "stamps_by_hash": {"file_hash": "ab"},
    "stamps_with": {"intelligence": {"a": 1}},
    "get_node": {"node_id": "node-1"},
}
WITHOUT_VALUE: list[dict[str, Any]] = [{"nope": {}}, {"tags": []}, {"a": {"b": [{}, []]}, "c": {}}]
WRONG: list[tuple[str, dict[str, Any], str]] = [
    *[(name, {}, f"{next(iter(parameters))}: missing") for name, parameters in NEEDED.items()],
    *[(name, {**NEEDED.get(name, {}), "hostile'": 1}, "query_filters: ") for name in REPORTS],
    ("trace_workflow", {"correlation_id": "x"}, "correlation_id: not a UUID"),
    ("session_events", {"session_id": 7}, "session_id: not a UUID"),
    ("namespace_stats", {"namespace": " "}, "namespace: "),
    ("namespace_stats", {"namespace": "a\0"}, "namespace: "),
    ("namespace_stats", {"namespace": "\ud800"}, "namespace: "),
    ("namespace_stats", {"namespace": "n" * 256}, "namespace: "),
    ("stamps_by_hash", {"file_hash": 7}, "file_hash: not text"),
    ("stamps_with", {"intelligence": {}}, "intelligence: "),
    ("stamps_with", {"intelligence": [1]}, "intelligence: "),
    *[
        (
            "stamps_with",
            {"intelligence": one},
            "intelligence: has no text, number, true, false or null in it, so every row",
        )
        for one in WITHOUT_VALUE
    ],
    *[("trace_workflow", {"correlation_id": str(uuid4()), "limit": one}, "limit: ") for one in (0, 10_001, True, "5")],
    ("stamps_with", {"intelligence": {"a": float("nan")}}, "intelligence"),
    *[
        ("step_timing", {"time_range_hours": one}, "time_range_hours: ")
        for one in (0, -1, True, "24", 1e9, float("nan"))
    ],
    *[("events_with_error", {"limit": one}, "limit: ") for one in (0, 1001, True, "5", 2.5)],
    ("healthy_nodes", {"max_age_s": 0}, "max_age_s: "),
    ("healthy_nodes", {"node_type": 3}, "node_type: "),
    ("healthy_nodes", {"namespace": "n" * 256}, "namespace: "),
    *[("list_nodes", {"liveness": one}, "liveness: not one of FRESH, STALE, DEAD") for one in ("ALIVE", 1, "")],
    *[("list_nodes", {"include_deregistered": one}, "include_deregistered: ") for one in ("true", 1, 0)],
    *[
        ("list_nodes", {"health": one}, "health: not one of HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN, OFFLINE")
        for one in ("HELTHY", "", 1)
    ],
    ("healthy_nodes", {"after": 7}, "after: not text"),
    ("list_nodes", {"after": 7}, "after: not text"),
    ("get_node", {"node_id": "n" * 256}, "node_id: "),
]


@pytest.mark.parametrize(("name", "parameters", "said"), WRONG)
def test_a_wrong_parameter_is_named(name: str, parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(OnexError) as caught:
        REPORTS[name](NEVER_ASKED, parameters, USUAL)
    assert caught.value.error_code == "VALIDATION_ERROR" and caught.value.message.startswith(said)
    assert "hostile" not in caught.value.message
