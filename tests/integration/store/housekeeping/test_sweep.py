"""The sweep of stale heartbeats: every threshold and edge, by a clock that the test sets."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from omninode_bridge.contract.clock import now
from store.database.bounded_read import walk_in_order
from store.housekeeping import sweep
from store.housekeeping.job import Batch
from store.housekeeping.sweep import Sweep, statement
from store.write.liveness import Thresholds
from tests import generic
from tests.factories import heartbeat, store_connection

Conn = psycopg.Connection[Any]
Row = dict[str, Any]

T0 = now().replace(microsecond=0) - timedelta(minutes=30)
MICROSECOND = timedelta(microseconds=1)
NOTHING = {"stale": 0, "dead": 0, "back": 0}


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class Nodes:
    """Nodes, and sweeps over them."""

    def __init__(self, conn: Conn) -> None:
        self.conn = conn
        self.store = generic.Store(conn)

    def hear(self, node_id: str, *, said: datetime = T0, came: datetime = T0, **fields: Any) -> None:
        """A heartbeat that says it was at `said`, and that came at `came`, when the node was fresh."""
        self.store.apply(heartbeat(node_id, occurred_at=said, last_heartbeat=said, **fields))
        text = "update node_registrations set heartbeat_received_at = %s, liveness = 'FRESH' where node_id = %s"
        self.conn.execute(text, [came, node_id])

    def sweep(self, at: datetime, *, thresholds: Thresholds | None = None) -> dict[str, int]:
        """A whole sweep; what it counted."""
        counts, job = dict(NOTHING), Sweep(thresholds or Thresholds(), environment="test", at=at)
        for portion in portions(self.conn, job):
            counts = {name: counts[name] + more for name, more in portion.counts.items()}
        return counts

    def row(self, node_id: str) -> Row:
        with self.conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            row = cursor.execute("select * from node_registrations where node_id = %s", [node_id]).fetchone()
        assert row is not None
        return row

    def liveness(self, node_id: str) -> str:
        row = self.row(node_id)
        assert row["liveness"] == row["liveness_announced"]
        return str(row["liveness"])

    def events(self, node_id: str) -> list[Row]:
        """The payloads that were announced of a node, in their order."""
        found = self.conn.execute(
            "select payload from event_logs where event_type = 'node_health_changed' and partition_key = %s"
            " and direction = 'out' order by seq",
            [node_id],
        )
        return [payload for (payload,) in found]

    def changes(self, node_id: str) -> list[tuple[str, str]]:
        return [(event["old"], event["new"]) for event in self.events(node_id)]


def portions(conn: Conn, job: Sweep) -> Iterator[Batch]:
    more = True
    while more:
        with conn.transaction():
            portion = job(conn)
        yield portion
        more = portion.more


@pytest.fixture
def nodes(database_any: str) -> Iterator[Nodes]:
    with store_connection(database_any) as conn:
        yield Nodes(conn)


@pytest.mark.parametrize(
    ("age", "liveness"),
    [
        pytest.param(timedelta(0), "FRESH", id="just now"),
        pytest.param(timedelta(minutes=-5), "FRESH", id="by a clock that is ahead"),
        pytest.param(timedelta(seconds=60), "FRESH", id="60 s"),
        pytest.param(timedelta(seconds=60) + MICROSECOND, "STALE", id="60 s and a microsecond"),
        pytest.param(timedelta(seconds=120), "STALE", id="120 s"),
        pytest.param(timedelta(seconds=120) + MICROSECOND, "DEAD", id="120 s and a microsecond"),
        pytest.param(timedelta(days=400), "DEAD", id="more than a year"),
    ],
)
def test_a_node_is_fresh_up_to_60_s_stale_up_to_120_s_and_dead_beyond(
    nodes: Nodes, age: timedelta, liveness: str
) -> None:
    nodes.hear("a")
    nodes.sweep(T0 + age)
    assert nodes.liveness("a") == liveness
    assert nodes.changes("a") == ([] if liveness == "FRESH" else [("FRESH", liveness)])


def test_the_thresholds_are_those_that_are_given(nodes: Nodes) -> None:
    nodes.hear("a")
    thresholds = Thresholds(fresh_for=timedelta(seconds=5), dead_after=timedelta(seconds=9))
    found = []
    for seconds in (5, 5.1, 9, 9.1):
        nodes.sweep(after(seconds), thresholds=thresholds)
        found.append(nodes.liveness("a"))
    assert found == ["FRESH", "STALE", "STALE", "DEAD"]


def test_the_earlier_of_heartbeat_and_arrival_counts(nodes: Nodes) -> None:
    nodes.hear("fast clock", said=after(50), came=T0)
    nodes.hear("long on its way", said=T0, came=after(50))
    nodes.hear("both late", said=after(50), came=after(50))
    assert nodes.sweep(after(61)) == NOTHING | {"stale": 2}
    assert [nodes.liveness(name) for name in ("fast clock", "long on its way", "both late")] == [
        "STALE",
        "STALE",
        "FRESH",
    ]


def test_a_node_that_was_never_heard_of_counts_from_its_registration(nodes: Nodes) -> None:
    nodes.store.do("insert", "node_heartbeat", entity={"node_id": "a"})
    row = nodes.row("a")
    assert (row["last_heartbeat"], row["heartbeat_received_at"], row["liveness"]) == (None, None, "FRESH")
    registered: datetime = row["registered_at"]
    assert nodes.sweep(registered + timedelta(seconds=60)) == NOTHING
    assert nodes.sweep(registered + timedelta(seconds=60) + MICROSECOND) == NOTHING | {"stale": 1}
    (event,) = nodes.events("a")
    assert event["last_heartbeat"] is None


def test_a_row_of_which_nobody_noted_when_its_heartbeat_came_goes_by_the_heartbeat(nodes: Nodes) -> None:
    nodes.hear("a")
    nodes.conn.execute("update node_registrations set heartbeat_received_at = null")
    assert nodes.sweep(after(60)) == NOTHING
    assert nodes.sweep(after(61)) == NOTHING | {"stale": 1}


def test_a_change_is_announced_with_all_that_there_is_to_say(nodes: Nodes) -> None:
    nodes.hear("a", node_type="effect", namespace="tests")
    nodes.sweep(after(75.5))
    (event,) = nodes.events("a")
    assert event == {
        "node_id": "a",
        "node_type": "effect",
        "namespace": "tests",
        "last_heartbeat": T0.isoformat(),
        "old": "FRESH",
        "new": "STALE",
        "old_health": "HEALTHY",
        "new_health": "DEGRADED",
        "age_s": 75.5,
        "timestamp": after(75.5).isoformat(),
    }
    ((key, topic, envelope, shards),) = nodes.conn.execute(
        "select partition_key, topic, envelope, count(*) over () from event_logs where direction = 'out'"
    ).fetchall()
    assert (key, topic, shards) == ("a", "omninode_bridge.reducer.events.node_health_changed", 1)
    assert (envelope["environment"], envelope["source_service"]) == ("test", "omninode-bridge-fleet")


def test_each_change_is_announced_once_and_in_order(nodes: Nodes) -> None:
    nodes.hear("a")
    for seconds in (30, 61, 62, 119, 121, 121, 500):
        nodes.sweep(after(seconds))
    nodes.hear("a", said=after(500), came=after(500))
    for seconds in (500, 501, 562):
        nodes.sweep(after(seconds))
    assert nodes.changes("a") == [("FRESH", "STALE"), ("STALE", "DEAD"), ("DEAD", "FRESH"), ("FRESH", "STALE")]
    healths = [(event["old_health"], event["new_health"]) for event in nodes.events("a")]
    assert healths == [
        ("HEALTHY", "DEGRADED"),
        ("DEGRADED", "UNHEALTHY"),
        ("UNHEALTHY", "HEALTHY"),
        ("HEALTHY", "DEGRADED"),
    ]


def test_a_fresh_heartbeat_brings_a_node_back_at_once_and_the_next_sweep_says_so_once(nodes: Nodes) -> None:
    nodes.hear("a")
    nodes.sweep(after(300))
    nodes.store.apply(heartbeat("a"))  # now, by the database's clock
    row = nodes.row("a")
    assert (row["liveness"], row["liveness_announced"]) == ("FRESH", "DEAD")
    at = row["heartbeat_received_at"]
    assert [nodes.sweep(at), nodes.sweep(at)] == [NOTHING | {"back": 1}, NOTHING]
    assert nodes.changes("a") == [("FRESH", "DEAD"), ("DEAD", "FRESH")]


def test_a_node_that_came_back_and_fell_silent_between_two_sweeps_never_left(nodes: Nodes) -> None:
    nodes.hear("a")
    nodes.sweep(after(61))
    nodes.store.apply(heartbeat("a"))
    assert nodes.row("a")["liveness"] == "FRESH"
    assert nodes.sweep(now() + timedelta(seconds=90)) == NOTHING
    assert nodes.liveness("a") == "STALE"
    assert nodes.changes("a") == [("FRESH", "STALE")]


def test_a_heartbeat_that_comes_late_is_judged_when_it_comes(nodes: Nodes) -> None:
    said = now() - timedelta(seconds=90)
    nodes.store.apply(heartbeat("new", occurred_at=said, last_heartbeat=said))
    row = nodes.row("new")
    assert (row["liveness"], row["liveness_announced"]) == ("STALE", "FRESH")
    nodes.sweep(row["heartbeat_received_at"])
    assert nodes.changes("new") == [("FRESH", "STALE")]


def test_an_older_heartbeat_brings_nobody_back(nodes: Nodes) -> None:
    nodes.hear("a")
    nodes.sweep(after(300))
    nodes.store.apply(heartbeat("a", occurred_at=after(-1)))
    row = nodes.row("a")
    assert (row["liveness"], row["heartbeat_received_at"]) == ("DEAD", T0)


def test_what_the_node_reported_stays_as_it_is(nodes: Nodes) -> None:
    nodes.hear("a", health_status="DEGRADED", metadata={"a": 1})
    before = nodes.row("a")
    nodes.sweep(after(61))
    assert nodes.row("a") == before | {"liveness": "STALE", "liveness_announced": "STALE"}


def test_a_deregistered_node_is_left_alone_until_it_comes_back(nodes: Nodes) -> None:
    nodes.hear("a")
    nodes.sweep(after(61))
    gone = {"deregistered_at": now().isoformat()}
    nodes.store.do("update", "node_heartbeat", query_filters={"node_id": "a"}, entity=gone)
    assert nodes.sweep(after(300)) == NOTHING
    nodes.store.apply(heartbeat("a", occurred_at=after(1)))  # of before it went
    assert nodes.row("a")["deregistered_at"] is not None
    assert nodes.sweep(after(300)) == NOTHING

    nodes.store.apply(heartbeat("a"))
    row = nodes.row("a")
    assert (row["deregistered_at"], row["liveness"]) == (None, "FRESH")
    assert nodes.sweep(row["heartbeat_received_at"]) == NOTHING | {"back": 1}
    assert nodes.changes("a") == [("FRESH", "STALE"), ("STALE", "FRESH")]


def test_a_deregistration_loses_to_a_heartbeat_that_happened_after_it(nodes: Nodes) -> None:
    """By a clock that is ahead of the database's; the heartbeat before it says nothing of that."""
    ahead, long_ago = now() + timedelta(minutes=10), now() - timedelta(hours=1)
    nodes.store.apply(heartbeat("a", occurred_at=ahead), heartbeat("b", occurred_at=long_ago))
    for name in ("a", "b"):
        gone = {"deregistered_at": T0.isoformat()}
        nodes.store.do("update", "node_heartbeat", query_filters={"node_id": name}, entity=gone)
    assert [nodes.row(name)["deregistered_at"] for name in ("a", "b")] == [None, T0]


def test_a_written_heartbeat_is_heard_when_it_is_written(nodes: Nodes) -> None:
    nodes.hear("a")
    nodes.sweep(after(300))
    for said, liveness in ((now(), "FRESH"), (now() - timedelta(seconds=90), "STALE"), (now(), "FRESH")):
        written = {"node_id": "a", "last_heartbeat": said.isoformat()}
        nodes.store.do("upsert", "node_heartbeat", query_filters={"node_id": "a"}, entity=written)
        row = nodes.row("a")
        assert (row["last_heartbeat"], row["liveness"]) == (said, liveness)
        assert now() - timedelta(minutes=1) < row["heartbeat_received_at"] <= now()
    nodes.store.do("insert", "node_heartbeat", entity={"node_id": "b", "last_heartbeat": T0.isoformat()})
    row = nodes.row("b")
    assert (row["liveness"], row["liveness_announced"]) == ("DEAD", "FRESH")
    assert row["heartbeat_received_at"] > T0


def test_a_heartbeat_that_is_written_away_was_never_heard(nodes: Nodes) -> None:
    nodes.hear("a")
    nodes.store.do("update", "node_heartbeat", query_filters={"node_id": "a"}, entity={"last_heartbeat": None})
    row = nodes.row("a")
    assert (row["last_heartbeat"], row["heartbeat_received_at"], row["liveness"]) == (None, None, "FRESH")


def test_a_locked_node_is_left_to_the_next_sweep(nodes: Nodes, database_any: str) -> None:
    for name in ("a", "b", "c"):
        nodes.hear(name)
    with store_connection(database_any) as other, other.transaction():
        other.execute("select from node_registrations where node_id = 'b' for update")
        assert nodes.sweep(after(61)) == NOTHING | {"stale": 2}
        assert [nodes.changes(name) for name in "abc"] == [[("FRESH", "STALE")], [], [("FRESH", "STALE")]]
    assert nodes.sweep(after(61)) == NOTHING | {"stale": 1}
    assert nodes.changes("b") == [("FRESH", "STALE")]


def test_a_portion_goes_on_behind_the_one_before_only_where_that_was_committed(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PORTION_ROWS", 2)
    for name in ("a", "b", "c", "d"):
        nodes.hear(name)
    job = Sweep(Thresholds(), environment="test", at=after(61))

    def livenesses() -> str:
        return "".join(nodes.liveness(name)[0] for name in "abcd")

    with nodes.conn.transaction(force_rollback=True):
        assert job(nodes.conn) == Batch(2, more=True, counts=NOTHING | {"stale": 2})
    assert livenesses() == "FFFF"
    with nodes.conn.transaction():
        assert job(nodes.conn).rows == 2
    assert livenesses() == "SSFF"
    with nodes.conn.transaction(force_rollback=True):
        assert job(nodes.conn).rows == 2
    assert livenesses() == "SSFF"
    assert [portion.rows for portion in portions(nodes.conn, job)] == [2, 0]
    assert livenesses() == "SSSS"
    assert [nodes.changes(name) for name in "abcd"] == [[("FRESH", "STALE")]] * 4
    nodes.hear("a", said=after(50), came=after(50))
    assert [portion.rows for portion in portions(nodes.conn, job)] == [1], "it begins anew when it is used again"


def test_the_statement_writes_the_functions_out_and_goes_by_the_key_even_if_first_planned_for_an_empty_table(
    nodes: Nodes,
) -> None:
    nodes.conn.execute("set plan_cache_mode = force_generic_plan")
    numbers = {name: f"${n}" for n, name in enumerate(("at", "fresh_for", "dead_after", "after", "rows_limit"), 1)}
    text = re.sub(r"%\((\w+)\)s", lambda found: numbers[found[1]], statement("sweep_nodes"))
    with nodes.conn.transaction():
        walk_in_order(nodes.conn)
        nodes.conn.execute(f"prepare swept (timestamptz, interval, interval, text, bigint) as {text}".encode())
        explained = nodes.conn.execute("explain execute swept (now(), '60 s', '120 s', '', 1000)")
        plan = "\n".join(line for (line,) in explained)
    assert "$1" in plan and "node_liveness(" not in plan and "node_heard(" not in plan, plan
    found = plan[plan.index("LockRows") : plan.index("InitPlan")]
    assert "Index Scan using node_registrations_pkey" in found and "Sort" not in found, plan
