"""Who is there: discovery and lists of nodes, at moments that the test chooses."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from omninode_bridge.contract.errors import OnexError
from store.generic.entities import ENTITIES
from store.reports.reports import ask
from store.write.apply import apply
from store.write.liveness import Thresholds
from tests.factories import heartbeat, store_connection

Conn = psycopg.Connection[Any]
AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
MINUTE, A_MICROSECOND = timedelta(seconds=60), timedelta(microseconds=1)
COMPUTED = {"health", "reported_health", "age_s"}


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as opened:
        yield opened


def keep(conn: Conn, node_id: str, **columns: Any) -> None:
    """A row as it may stand between two sweeps: HEALTHY, heard of at AT, FRESH in its column."""
    fields: dict[str, Any] = {
        "node_id": node_id,
        "node_type": "reducer",
        "health_status": "HEALTHY",
        "liveness": "FRESH",
    }
    fields |= {"last_heartbeat": AT, "heartbeat_received_at": AT, "registered_at": AT - timedelta(days=1), **columns}
    marks = ", ".join(["%s"] * len(fields))
    conn.execute(
        f"insert into node_registrations ({', '.join(fields)}) values ({marks})".encode(), list(fields.values())
    )


def items(conn: Conn, name: str, *, at: datetime | None = AT, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(conn, name, parameters, timeout_ms=5000, at=at)["items"]
    return found


def ids(conn: Conn, name: str, *, at: datetime | None = AT, **parameters: Any) -> list[str]:
    return [one["node_id"] for one in items(conn, name, at=at, **parameters)]


# ---- discovery ------------------------------------------------------------------------------------------------------


def test_discovery_never_finds_a_stale_node_whatever_its_column_says(conn: Conn) -> None:
    keep(conn, "n")
    for max_age_s in (60, 3600, 86_400 * 30):
        for silent_for in (timedelta(0), MINUTE):
            assert ids(conn, "healthy_nodes", at=AT + silent_for, max_age_s=max_age_s) == ["n"]
        for silent_for in (MINUTE + A_MICROSECOND, 2 * MINUTE, timedelta(days=1)):
            assert ids(conn, "healthy_nodes", at=AT + silent_for, max_age_s=max_age_s) == []


def test_discovery_finds_a_node_that_is_back_before_the_next_sweep(conn: Conn) -> None:
    keep(conn, "n", liveness="DEAD")
    (found,) = items(conn, "healthy_nodes")
    assert (found["liveness"], found["health"]) == ("FRESH", "HEALTHY")


@pytest.mark.parametrize("name", ["last_heartbeat", "heartbeat_received_at"])
def test_of_what_a_heartbeat_says_and_when_it_came_the_earlier_counts(conn: Conn, name: str) -> None:
    other = {"last_heartbeat": "heartbeat_received_at", "heartbeat_received_at": "last_heartbeat"}[name]
    keep(conn, "n", **{name: AT - timedelta(seconds=61), other: AT + timedelta(minutes=30)})
    assert ids(conn, "healthy_nodes", max_age_s=3600) == []
    assert [one["age_s"] for one in items(conn, "list_nodes")] == [61]


def test_a_node_that_has_said_nothing_is_as_old_as_its_registration(conn: Conn) -> None:
    silent = {"last_heartbeat": None, "heartbeat_received_at": None}
    keep(conn, "old", **silent)
    keep(conn, "new", registered_at=AT, **silent)
    assert ids(conn, "healthy_nodes") == ["new"]
    assert {one["node_id"]: one["liveness"] for one in items(conn, "list_nodes")} == {"new": "FRESH", "old": "DEAD"}


def test_discovery_may_ask_for_younger_nodes_than_fresh_ones(conn: Conn) -> None:
    keep(conn, "n")
    assert ids(conn, "healthy_nodes", at=AT + timedelta(seconds=10), max_age_s=10) == ["n"]
    assert ids(conn, "healthy_nodes", at=AT + timedelta(seconds=10, microseconds=1), max_age_s=10) == []


def test_the_thresholds_are_those_of_the_fleet(conn: Conn) -> None:
    keep(conn, "n")
    short = Thresholds(fresh_for=timedelta(seconds=1), dead_after=timedelta(seconds=2))
    for seconds, liveness in ((1, "FRESH"), (1.5, "STALE"), (2.5, "DEAD")):
        at = AT + timedelta(seconds=seconds)
        found = ask(conn, "healthy_nodes", {}, timeout_ms=5000, thresholds=short, at=at)["items"]
        assert bool(found) is (liveness == "FRESH")
        (one,) = ask(conn, "list_nodes", {}, timeout_ms=5000, thresholds=short, at=at)["items"]
        assert one["liveness"] == liveness


def test_discovery_finds_every_fresh_node_unless_it_is_told_an_age(conn: Conn) -> None:
    keep(conn, "n")
    slow = Thresholds(fresh_for=timedelta(seconds=300), dead_after=timedelta(seconds=600))
    for silent_for_s, found in ((300, ["n"]), (300.000001, [])):
        at = AT + timedelta(seconds=silent_for_s)
        answer = ask(conn, "healthy_nodes", {}, timeout_ms=5000, thresholds=slow, at=at)
        assert [one["node_id"] for one in answer["items"]] == found
    given = {"max_age_s": 60}
    answer = ask(conn, "healthy_nodes", given, timeout_ms=5000, thresholds=slow, at=AT + timedelta(seconds=61))
    assert answer["items"] == []


def test_discovery_goes_on_where_it_ended(conn: Conn) -> None:
    types = {"a": "reducer", "b": "effect", "c": "reducer", "d": "effect", "e": "effect"}
    for node_id, node_type in types.items():
        keep(conn, node_id, node_type=node_type)
    pages, after = [], ""
    while page := ids(conn, "healthy_nodes", limit=2, after=after):
        pages.append(page)
        after = page[-1]
    assert pages == [["b", "d"], ["e", "a"], ["c"]]
    assert ids(conn, "healthy_nodes", node_type="effect", after="b") == ["d", "e"]
    assert ids(conn, "healthy_nodes", node_type="effect", after="bb-that-is-gone") == ["d", "e"]
    with pytest.raises(OnexError, match="VALIDATION_ERROR: after: no node 'bb-that-is-gone'"):
        ids(conn, "healthy_nodes", after="bb-that-is-gone")


def test_discovery_is_by_type_namespace_and_reported_health(conn: Conn) -> None:
    keep(conn, "b", namespace="prod")
    keep(conn, "a", namespace="prod")
    keep(conn, "c", node_type="orchestrator", namespace="prod")
    keep(conn, "elsewhere", namespace="test")
    keep(conn, "nowhere")
    keep(conn, "ill", health_status="DEGRADED", namespace="prod")
    keep(conn, "gone", namespace="prod", deregistered_at=AT)
    assert ids(conn, "healthy_nodes") == ["c", "a", "b", "elsewhere", "nowhere"]
    assert ids(conn, "healthy_nodes", node_type="REDUCER", namespace="prod") == ["a", "b"]
    assert ids(conn, "healthy_nodes", namespace="prod", limit=2) == ["c", "a"]
    assert ids(conn, "healthy_nodes", namespace="Prod") == []


# ---- lists ----------------------------------------------------------------------------------------------------------

REPORTED = ("DEGRADED", "HEALTHY", "OFFLINE", "UNHEALTHY", "UNKNOWN")
EFFECTIVE = [
    (0, "FRESH", REPORTED),
    (60, "FRESH", REPORTED),
    (60.000001, "STALE", ("DEGRADED",) * 5),
    (120, "STALE", ("DEGRADED",) * 5),
    (120.000001, "DEAD", ("UNHEALTHY",) * 5),
]


def test_health_is_as_reported_unless_the_node_is_silent(conn: Conn) -> None:
    for reported in REPORTED:
        keep(conn, reported, health_status=reported)
    for age_s, liveness, health in EFFECTIVE:
        at = AT + timedelta(seconds=age_s)
        found = items(conn, "list_nodes", at=at)
        assert [(one["liveness"], one["age_s"]) for one in found] == [(liveness, age_s)] * 5
        assert tuple(one["reported_health"] for one in found) == REPORTED
        assert tuple(one["health_status"] for one in found) == REPORTED
        assert tuple(one["health"] for one in found) == health
        assert [ask(conn, "get_node", {"node_id": name}, timeout_ms=5000, at=at) for name in REPORTED] == found


def test_a_list_is_by_what_nodes_are_now_and_not_by_what_they_reported(conn: Conn) -> None:
    keep(conn, "fine", last_heartbeat=AT)
    keep(conn, "ill", health_status="DEGRADED")
    keep(conn, "silent", last_heartbeat=AT - timedelta(seconds=90))
    assert ids(conn, "list_nodes", health="degraded") == ["ill", "silent"]
    assert ids(conn, "list_nodes", liveness="stale") == ["silent"]
    assert ids(conn, "list_nodes", liveness="FRESH", health="HEALTHY") == ["fine"]
    assert ids(conn, "list_nodes", liveness="DEAD") == []


def test_a_list_is_by_id_and_goes_on_where_it_ended(conn: Conn) -> None:
    for number in range(5):
        keep(conn, f"n{number}", last_heartbeat=AT - timedelta(hours=number))
    assert ids(conn, "list_nodes", limit=3) == ["n0", "n1", "n2"]
    assert ids(conn, "list_nodes", limit=3, after="n2") == ["n3", "n4"]
    assert ids(conn, "list_nodes", after="n4") == []
    assert ids(conn, "list_nodes", after="", limit=1) == ["n0"]


# ---- large rows -----------------------------------------------------------------------------------------------------

BULKY = Jsonb({"text": "x" * 1_100_000})
OMITTED = ["capabilities", "endpoints", "metadata"]
WITH_JSON = set(ENTITIES["node_heartbeat"].columns) | COMPUTED


@pytest.mark.parametrize("name", ["healthy_nodes", "list_nodes"])
def test_a_bulky_node_is_listed_without_its_json_and_hides_nobody(conn: Conn, name: str) -> None:
    keep(conn, "a", metadata=Jsonb({"small": True}))
    keep(conn, "b", metadata=BULKY, capabilities=BULKY, endpoints=BULKY)
    keep(conn, "c")
    a, b, c = items(conn, name)
    assert (a["metadata"], set(a), set(c)) == ({"small": True}, WITH_JSON, WITH_JSON)
    assert (b["node_id"], b["omitted"], b["age_s"]) == ("b", OMITTED, 0)
    assert set(b) == (WITH_JSON | {"omitted"}) - set(OMITTED)
    assert ids(conn, name, after="a", limit=1) == ["b"]


@pytest.mark.parametrize("name", ["healthy_nodes", "list_nodes"])
def test_rows_just_small_enough_are_told_whole_a_dozen_at_a_time(conn: Conn, name: str) -> None:
    for number in range(30):
        keep(conn, f"n{number:02}", metadata=Jsonb({"text": "x" * 260_000}))
    seen: list[str] = []
    while page := items(conn, name, after=seen[-1] if seen else ""):
        assert all(len(one["metadata"]["text"]) == 260_000 for one in page) and len(page) <= 12
        seen += [one["node_id"] for one in page]
    assert seen == [f"n{number:02}" for number in range(30)]


def test_a_node_alone_is_whole_while_an_answer_can_hold_it(conn: Conn) -> None:
    keep(conn, "large", metadata=BULKY, capabilities=BULKY, endpoints=BULKY)
    keep(conn, "too-large", metadata=BULKY, capabilities=BULKY, endpoints=Jsonb({"text": "x" * 2_000_000}))
    found = ask(conn, "get_node", {"node_id": "large"}, timeout_ms=5000)
    assert set(found) == WITH_JSON and len(found["endpoints"]["text"]) == 1_100_000
    found = ask(conn, "get_node", {"node_id": "too-large"}, timeout_ms=5000)
    assert found["omitted"] == OMITTED and set(found) == (WITH_JSON | {"omitted"}) - set(OMITTED)


def test_a_list_is_by_type_and_namespace(conn: Conn) -> None:
    keep(conn, "a", namespace="prod")
    keep(conn, "b", namespace="prod", node_type="orchestrator")
    keep(conn, "c")
    assert ids(conn, "list_nodes", node_type="Reducer") == ["a", "c"]
    assert ids(conn, "list_nodes", namespace="prod") == ["a", "b"]
    assert ids(conn, "list_nodes", namespace="prod", node_type="reducer") == ["a"]


def test_who_deregistered_is_listed_only_where_asked_for(conn: Conn) -> None:
    keep(conn, "gone", deregistered_at=AT)
    assert ids(conn, "list_nodes") == []
    assert ids(conn, "list_nodes", include_deregistered=True) == ["gone"]
    assert ask(conn, "get_node", {"node_id": "gone"}, timeout_ms=5000)["deregistered_at"] is not None


def test_a_node_is_told_with_its_columns_and_nothing_hidden(conn: Conn) -> None:
    keep(conn, "n")
    columns = set(ENTITIES["node_heartbeat"].columns) | COMPUTED
    assert [set(one) for name in ("healthy_nodes", "list_nodes") for one in items(conn, name)] == [columns] * 2


def test_a_node_that_nobody_has_heard_of_is_not_found(conn: Conn) -> None:
    with pytest.raises(OnexError, match="NOT_FOUND: node_id: no node 'nobody'"):
        ask(conn, "get_node", {"node_id": "nobody"}, timeout_ms=5000)


def test_without_a_moment_the_databases_clock_counts(conn: Conn) -> None:
    keep(conn, "long-silent")
    apply(conn, [heartbeat("heard")])
    assert ids(conn, "healthy_nodes", at=None, max_age_s=86_400 * 3650) == ["heard"]
    long_silent, heard = sorted(items(conn, "list_nodes", at=None), key=lambda one: str(one["node_id"]), reverse=True)
    assert heard["liveness"] == "FRESH" and 0 <= heard["age_s"] < 30
    assert long_silent["liveness"] == "DEAD"
