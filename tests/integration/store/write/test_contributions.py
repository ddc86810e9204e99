"""What is added to bridge states: summed once each, apart from the snapshots, and only while the ledger remembers."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from omninode_bridge.contract.clock import TIMELESS, derived_uuid7, now
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.values import INT64_MAX
from store import letters
from store.write import batch as batch_module
from store.write.apply import Limits, apply
from store.write.compare import differences
from store.write.fold import Fold
from tests.deadline import wait_until
from tests.factories import (
    bridge_state,
    contribution,
    count,
    heartbeat,
    step,
    store_connection,
    transition,
    transition_intent,
)

Conn = psycopg.Connection[Any]
LONG = Limits(horizon=timedelta(days=3650))


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as connection:
        yield connection


def statuses(conn: Conn, batch: list[Any], limits: Limits | None = None) -> list[str]:
    return [outcome.status for outcome in apply(conn, batch, limits=limits or Limits())]


def items_of(conn: Conn, bridge_id: UUID) -> int:
    query = "select total_items_aggregated from bridge_states where bridge_id = %s"
    ((total,),) = conn.execute(query, [bridge_id]).fetchall()
    return int(total)


def as_folded(conn: Conn, *operations: Operation) -> bool:
    fold = Fold()
    for operation in operations:
        fold.add(operation)
    found = differences(conn, fold.rows())
    assert found == [], "; ".join(map(str, found))
    return True


def of_days_ago(days: float, **fields: Any) -> Operation:
    """A contribution whose id is that old."""
    when = now() - timedelta(days=days)
    return contribution(operation_id=derived_uuid7(when, uuid4().bytes), occurred_at=when, **fields)


def test_a_contribution_counts_once_however_often_it_comes(conn: Conn) -> None:
    bridge_id = uuid4()
    one, two = contribution(bridge_id), contribution(bridge_id)
    assert statuses(conn, [one, two, one]) == ["applied", "applied", "duplicate"]
    assert statuses(conn, [two, one]) == ["duplicate", "duplicate"]
    assert items_of(conn, bridge_id) == 4
    assert as_folded(conn, one, two)


def test_a_contribution_adds_to_each_of_its_namespaces(conn: Conn) -> None:
    bridge_id = uuid4()
    one = contribution(bridge_id, namespaces={"a": {"total_items": 1}, "b": {"total_items": 2, "metadata": {"k": 1}}})
    assert statuses(conn, [one, contribution(uuid4(), namespaces={})]) == ["applied", "applied"]
    assert as_folded(conn, one)
    rows = conn.execute("select namespace, total_items_aggregated, aggregation_metadata from bridge_states order by 1")
    assert rows.fetchall() == [("a", 1, {}), ("b", 2, {"k": 1})]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
def test_snapshots_and_contributions_in_any_order_make_the_same_row(conn: Conn, together: bool) -> None:
    """An older snapshot that comes late changes nothing, a newer one replaces all but what was contributed."""
    start = now() - timedelta(hours=1)
    for order in permutations(range(4)):
        bridge_id = uuid4()
        operations = [
            bridge_state(bridge_id, occurred_at=start, total_items_aggregated=700, version=7, node_type="reducer"),
            contribution(bridge_id, occurred_at=start + timedelta(minutes=1), current_fsm_state="ADDING"),
            bridge_state(bridge_id, occurred_at=start + timedelta(minutes=2), total_items_aggregated=10, version=2),
            contribution(bridge_id, occurred_at=start + timedelta(minutes=3), current_fsm_state="ADDED"),
        ]
        delivered = [operations[position] for position in order]
        for batch in [delivered] if together else [[one] for one in delivered]:
            assert set(statuses(conn, batch)) == {"applied"}
        assert as_folded(conn, *operations)
        columns = "total_items_aggregated, version, node_type, current_fsm_state"
        rows = conn.execute(f"select {columns} from bridge_states where bridge_id = %s", [bridge_id]).fetchall()
        assert rows == [(14, 2, None, "ADDED")]


def test_what_a_row_held_before_the_fleet_stays_under_what_is_contributed(conn: Conn) -> None:
    bridge_id = uuid4()
    conn.execute(
        "insert into bridge_states (bridge_id, namespace, total_items_aggregated, current_fsm_state) "
        "values (%s, 'tests', 40, 'IDLE')",
        [bridge_id],
    )
    assert statuses(conn, [contribution(bridge_id)]) == ["applied"]
    assert items_of(conn, bridge_id) == 42
    assert conn.execute("select current_fsm_state from bridge_states").fetchall() == [("PROCESSING",)]


def test_a_sum_that_is_too_great_refuses_only_what_goes_beyond(conn: Conn) -> None:
    """Of a batch the sum may pass even what a JSON number of 64 bits holds."""
    bridge_id = uuid4()
    greatest = [contribution(bridge_id, namespaces={"tests": {"total_items": INT64_MAX}}) for _ in range(3)]
    outcomes = apply(conn, [*greatest, contribution(bridge_id, namespaces={"other": {"total_items": 1}}), step()])
    assert [(one.status, one.code) for one in outcomes] == [
        ("applied", None),
        ("refused", "VALIDATION_ERROR"),
        ("refused", "VALIDATION_ERROR"),
        ("applied", None),
        ("applied", None),
    ]
    rows = conn.execute("select namespace, total_items_aggregated from bridge_states order by 1").fetchall()
    assert rows == [("other", 1), ("tests", INT64_MAX)]


def test_a_contribution_older_than_the_ledger_remembers_is_refused_and_stays_refused(conn: Conn) -> None:
    old, recent = of_days_ago(8), of_days_ago(6)
    outcomes = apply(conn, [old, recent])
    assert [(one.status, one.code) for one in outcomes] == [("refused", "TOO_OLD"), ("applied", None)]
    assert outcomes[0].message is not None and "7 days" in outcomes[0].message
    assert count(conn, "bridge_states") == 1
    assert conn.execute("select id, code, operation_type from dead_letters").fetchall() == [
        (old.operation_id, "TOO_OLD", "persist_state")
    ]
    ledger = dict(conn.execute("select operation_id, code from operations").fetchall())
    assert ledger == {old.operation_id: "TOO_OLD", recent.operation_id: None}
    (again,) = apply(conn, [old], limits=LONG)
    assert (again.status, again.code, again.message) == ("refused", "TOO_OLD", outcomes[0].message)
    assert count(conn, "dead_letters") == 1


def test_an_old_contribution_that_the_ledger_has_is_a_duplicate(conn: Conn) -> None:
    old = of_days_ago(8)
    assert statuses(conn, [old], LONG) == ["applied"]
    assert statuses(conn, [old, old]) == ["duplicate", "duplicate"]
    conn.execute("delete from operations")
    assert statuses(conn, [old]) == ["refused"], "the ledger has forgotten it, and it might count twice"
    assert as_folded(conn, old)


def test_age_is_the_ids_and_not_that_of_what_happened(conn: Conn) -> None:
    """The ledger forgets by the time in an id; an event of long ago with an id of today is known again."""
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    timeless = contribution(operation_id=derived_uuid7(TIMELESS, b"x"))
    assert statuses(conn, [contribution(occurred_at=long_ago), timeless]) == ["applied", "refused"]


def test_age_refuses_nothing_that_its_row_knows_again(conn: Conn) -> None:
    old = now() - timedelta(days=400)
    made = (bridge_state, step, transition, transition_intent, heartbeat)
    batch = [make(occurred_at=old, operation_id=derived_uuid7(old, make.__name__.encode())) for make in made]
    assert statuses(conn, batch) == ["applied"] * len(batch)


def test_a_contribution_from_the_future_is_told_from_an_old_one(conn: Conn) -> None:
    ahead, old = contribution(occurred_at=now() + timedelta(hours=2)), of_days_ago(8)
    both = step(occurred_at=ahead.occurred_at, operation_id=derived_uuid7(old.occurred_at, b"both"))
    assert [outcome.code for outcome in apply(conn, [ahead, old, both])] == ["FUTURE", "TOO_OLD", "FUTURE"]


def test_an_old_contribution_that_another_transaction_has_just_taken_is_a_duplicate(
    conn: Conn, database_any: str
) -> None:
    """It grew too old between the two: one took it in time, the other must not say that nobody did."""
    old = of_days_ago(8)
    results: list[str] = []
    late = threading.Thread(target=lambda: results.extend(statuses(conn, [old])))
    waiting = "select count(*) from pg_locks where not granted and pid = %s"
    with store_connection(database_any) as other, store_connection(database_any) as watcher:
        with other.transaction():
            batch_module.write(other, [old], LONG)
            late.start()
            pid = (conn.info.backend_pid,)
            wait_until(
                lambda: (watcher.execute(waiting, pid).fetchone() or (0,))[0], seconds=10, what="it waits for the claim"
            )
        late.join(60)
    assert results == ["duplicate"]
    assert count(conn, "dead_letters") == 0
    assert as_folded(conn, old)


def test_rows_of_both_kinds_are_locked_in_one_pass_by_key(conn: Conn, database_any: str) -> None:
    """Who waits for the third bridge holds the first two and none after it, whatever the order in the batch."""
    bridges = [UUID(int=n) for n in range(1, 6)]
    make = {bridge_id: (bridge_state, contribution)[bridge_id.int % 2] for bridge_id in bridges}
    assert set(statuses(conn, [contribution(bridge_id) for bridge_id in bridges])) == {"applied"}
    batch = [make[bridge_id](bridge_id) for bridge_id in reversed(bridges)]
    waiting = "select count(*) from pg_locks where not granted and pid = %s"
    applying = threading.Thread(target=lambda: statuses(conn, batch))
    with store_connection(database_any) as other, store_connection(database_any) as watcher:
        with other.transaction():
            other.execute("select from bridge_states where bridge_id = %s for update", [bridges[2]])
            applying.start()
            pid = (conn.info.backend_pid,)
            wait_until(
                lambda: (watcher.execute(waiting, pid).fetchone() or (0,))[0], seconds=10, what="it waits for the row"
            )
            free = watcher.execute("select bridge_id from bridge_states order by 1 for update skip locked").fetchall()
        applying.join(60)
    assert [bridge_id for (bridge_id,) in free] == bridges[3:]


def test_a_letter_of_an_old_contribution_counts_when_it_is_retried(conn: Conn) -> None:
    """Whoever retries it says that it never counted; after that it does, and not again."""
    old = of_days_ago(8)
    apply(conn, [old])
    assert letters.retry(conn, letters.find(conn, old.operation_id)) == old.operation_id
    assert statuses(conn, [old]) == ["duplicate"]
    assert as_folded(conn, old)


def test_a_state_machine_keeps_what_its_newest_transition_said_beside_it(conn: Conn) -> None:
    start, entity_id = now() - timedelta(hours=1), uuid4()
    first = transition(entity_id, occurred_at=start, metadata={"first": True})
    last = transition_intent(
        entity_id,
        from_state="PROCESSING",
        to_state="COMPLETED",
        occurred_at=start + timedelta(minutes=2),
        transition_data={"last": True},
    )
    between = transition(entity_id, occurred_at=start + timedelta(minutes=1))
    for batch in ([last], [first, between]):
        assert set(statuses(conn, batch)) == {"applied"}
    assert conn.execute("select metadata, transition_count from fsm_states").fetchall() == [({"last": True}, 3)]
    assert as_folded(conn, first, between, last)
