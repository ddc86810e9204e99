"""Heartbeats, deregistrations and sweeps, in any interleaving: no fresh node is ever left marked otherwise.

Each example has nodes of its own; a sweep is of all nodes there are, so every example's sweeps pass over those of the
examples before. Ages are drawn as multiples of the time for which a node is fresh: either that is a minute, and what
changes is what is told; or it is a few milliseconds, and nodes fall silent while the example runs.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omninode_bridge.contract.clock import now
from store.housekeeping import sweep
from store.housekeeping.sweep import Sweep
from store.write.apply import apply
from store.write.batch import Limits
from store.write.liveness import Thresholds
from tests import generic
from tests.factories import heartbeat
from tests.property.conftest import Connection, Store, examples
from tests.property.strategies import NODE, World

pytestmark = pytest.mark.timeout(400)  # a failure is made smaller first, which takes its time

NODES = 4
THRESHOLDS = [
    Thresholds(),
    Thresholds(fresh_for=timedelta(milliseconds=4), dead_after=timedelta(milliseconds=8)),
]
AHEAD = timedelta(minutes=10)  # of the database's clock, by which operations may be up to an hour


@dataclass(frozen=True)
class Beat:
    """A heartbeat that happened so many `fresh_for` ago, and that says it did so many ago; None is ahead."""

    node: int
    happened: float | None
    says: float | None


@dataclass(frozen=True)
class Leave:
    """A deregistration."""

    node: int


@dataclass(frozen=True)
class Pass:
    """A sweep; its portion of that number is rolled back first."""

    fails_at: int | None


Action = Beat | Leave | Pass

_nodes = st.integers(0, NODES - 1)
_ages = st.sampled_from([0.0, 0.0, 0.5, 1.5, 5.0, None])
_actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(Beat, _nodes, _ages, _ages),
    st.builds(Beat, _nodes, st.just(0.0), st.just(0.0)),
    st.builds(Pass, st.none() | st.integers(0, 2)),
    st.builds(Leave, _nodes),
)


class Example:
    """One world's nodes under some thresholds."""

    def __init__(self, store: Store, world: World, thresholds: Thresholds) -> None:
        self.store = store
        self.names = [f"node-{world.uuid(NODE, number).hex}" for number in range(NODES)]
        self.thresholds = thresholds
        self.limits = Limits(liveness=thresholds)

    def act(self, conn: Connection, action: Action) -> None:
        match action:
            case Beat(node, happened, says):
                beat = heartbeat(
                    self.names[node], occurred_at=self._instant(happened), last_heartbeat=self._instant(says)
                )
                assert [outcome.status for outcome in apply(conn, [beat], limits=self.limits)] == ["applied"]
            case Leave(node):
                fields = {"deregistered_at": now().isoformat()}
                filters = {"node_id": self.names[node]}
                generic.Store(conn).do("update", "node_heartbeat", query_filters=filters, entity=fields)
            case Pass(fails_at):
                self.sweep(conn, fails_at=fails_at)

    def _instant(self, age: float | None) -> datetime:
        return now() + AHEAD if age is None else now() - age * self.thresholds.fresh_for

    def sweep(self, conn: Connection, *, at: datetime | None = None, fails_at: int | None = None) -> None:
        job, number, more = Sweep(self.thresholds, environment="test", at=at), 0, True
        while more:
            with conn.transaction(force_rollback=number == fails_at):
                portion = job(conn)
            more = portion.more or number == fails_at
            number += 1

    def all_at_once(self, actions: Sequence[Action]) -> None:
        connections = self.store.connections
        start = Barrier(len(connections))

        def work(position: int) -> None:
            start.wait(60)
            for action in actions[position :: len(connections)]:
                self.act(connections[position], action)

        with ThreadPoolExecutor(len(connections)) as threads:
            list(threads.map(work, range(len(connections))))

    def wronged(self) -> list[str]:
        """The fresh nodes that are marked otherwise."""
        query = """
            select node_id, liveness from node_registrations
            where node_id = any(%s) and liveness <> 'FRESH'
              and clock_timestamp() - least(last_heartbeat, heartbeat_received_at) <= %s
        """
        return [str(row) for row in self.store.conn.execute(query, [self.names, self.thresholds.fresh_for])]

    def check_marks(self, at: datetime) -> None:
        """After a sweep at that instant: every node is marked as its silence means, and nothing waits to be told."""
        query = """
            select node_id, least(last_heartbeat, heartbeat_received_at), liveness, liveness_announced
            from node_registrations where node_id = any(%s) and deregistered_at is null
        """
        for node_id, heard, *marks in self.store.conn.execute(query, [self.names]).fetchall():
            age = at - heard
            means = "FRESH" if age <= self.thresholds.fresh_for else "STALE"
            means = means if age <= self.thresholds.dead_after else "DEAD"
            assert marks == [means, means], (node_id, age)

    def check_announcements(self) -> None:
        """Of each node they are a chain from FRESH to what was announced last, and every link is a change."""
        events: dict[str, list[tuple[str, str]]] = defaultdict(list)
        query = """
            select partition_key, payload ->> 'old', payload ->> 'new' from event_logs
            where event_type = 'node_health_changed' and direction = 'out' and partition_key = any(%s) order by seq
        """
        for node_id, old, new in self.store.conn.execute(query, [self.names]):
            events[node_id].append((old, new))
        announced = "select node_id, liveness_announced from node_registrations where node_id = any(%s)"
        for node_id, last in self.store.conn.execute(announced, [self.names]).fetchall():
            states = ["FRESH", *(new for _, new in events[node_id])]
            assert [old for old, _ in events[node_id]] == states[:-1]
            assert all(old != new for old, new in events[node_id])
            assert states[-1] == last


@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=["a minute", "milliseconds"])
def test_no_interleaving_leaves_a_fresh_node_marked_stale(
    store: Store, thresholds: Thresholds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PORTION_ROWS", 2)

    @examples(150)
    @given(before=st.lists(_actions, max_size=4), actions=st.lists(_actions, min_size=3, max_size=18))
    def check(before: list[Action], actions: list[Action]) -> None:
        example = Example(store, store.world(), thresholds)
        for action in before:
            example.act(store.conn, action)
        assert example.wronged() == []
        example.all_at_once(actions)
        assert example.wronged() == []
        example.check_announcements()

        ((at,),) = store.conn.execute("select clock_timestamp()").fetchall()
        example.sweep(store.conn, at=at)
        example.check_marks(at)
        example.check_announcements()

    check()
    assert store.deadlocks() == 0
