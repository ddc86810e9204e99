"""The comparison sees every kind of difference, and nothing where there is none."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, LiteralString

import psycopg
import pytest

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.operation import EventData, Operation
from store.write.apply import apply
from store.write.compare import CHUNK_ROWS, compare_stream, differences, same
from store.write.fold import Fold
from tests.factories import bridge_state, execution, heartbeat, stamp, step, store_connection, transition
from worker.settings import Settings
from worker.simulation.load import Plan, SimulationResult, run_simulation
from worker.simulation.world import BridgeWorld

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as connection:
        yield connection


def one_of_each() -> list[Operation]:
    workflow_id = uuid7()
    event = EventData(event_type="e", payload={"a": [1, 1.5, None, True, 1e300]}, envelope={"metadata": {"b": 1}})
    return [
        execution(workflow_id, metadata={"a": None}, started_at=datetime(2026, 11, 20, tzinfo=UTC)),
        step(workflow_id, event=event, step_data={"n": 1}),
        transition(workflow_id),
        stamp(workflow_id),
        bridge_state(items_per_second=2.675, unique_file_types=["pdf"], unique_workflows=[workflow_id]),
        heartbeat(),
    ]


def folded(operations: list[Operation]) -> Fold:
    fold = Fold()
    for operation in operations:
        fold.add(operation)
    return fold


def test_a_database_that_is_as_the_fold_says_has_no_difference(conn: Conn) -> None:
    operations = one_of_each()
    apply(conn, operations)
    rows = folded(operations).rows()
    assert all(rows.values()), "every table has a row to compare"
    assert differences(conn, rows) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("update workflow_executions set namespace = 'x'", "workflow_executions * namespace is 'x', not 'unknown'"),
        ("update workflow_executions set metadata = '{}'", "workflow_executions * metadata is {}, not {'a': None}"),
        (
            "update workflow_steps set step_data = '{\"n\": true}'",
            "workflow_steps * step_data is {'n': True}, not {'n': 1}",
        ),
        ("update fsm_states set transition_count = 2", "fsm_states * transition_count is 2, not 1"),
        ("update fsm_states set metadata = '{\"x\": 1}'", "fsm_states * metadata is {'x': 1}, not {}"),
        ("update bridge_states set contributed_size_bytes = 1", "bridge_states * contributed_size_bytes is 1, not 0"),
        ("update fsm_transitions set triggered_by = 'x'", "fsm_transitions * triggered_by is 'x', not None"),
        ("update metadata_stamps set metadata_version = '9'", "metadata_stamps * metadata_version is '9', not '0.1'"),
        ("update bridge_states set items_per_second = 2.67", "bridge_states * items_per_second is *2.67*, not *2.68*"),
        (
            "update node_registrations set last_heartbeat = null",
            "node_registrations node-1: last_heartbeat is None, not *",
        ),
        (
            "update event_logs set payload = '{}'",
            "event_logs * payload is {}, not {'a': [[]1, 1.5, None, True, 1e+300]}",
        ),
        ("delete from bridge_states", "bridge_states * no such row"),
        ("delete from event_logs", "event_logs * no such row"),
        (
            "insert into workflow_steps (id, workflow_id, step_name, step_order, status) "
            "select uuid_v7(), id, 's', 1, 'S' from workflow_executions",
            "workflow_steps * count is 2, not 1",
        ),
        (
            "insert into metadata_stamps (workflow_id, stamp_data) select id, '{}' from workflow_executions",
            "metadata_stamps * count is 2, not 1",
        ),
        (
            "insert into fsm_transitions (id, entity_id, entity_type, to_state, transition_event) "
            "select uuid_v7(), entity_id, entity_type, 'S', 'e' from fsm_states",
            "fsm_transitions * count is 2, not 1",
        ),
    ],
)
def test_each_difference_is_seen_and_named(conn: Conn, change: LiteralString, said: str) -> None:
    operations = one_of_each()
    apply(conn, operations)
    conn.execute(change)
    (found,) = differences(conn, folded(operations).rows())
    assert fnmatchcase(str(found), said), str(found)


def test_what_others_wrote_is_no_difference(conn: Conn) -> None:
    operations = one_of_each()
    apply(conn, [*operations, step(), transition(), stamp(uuid7()), heartbeat("another"), bridge_state()])
    assert differences(conn, folded(operations).rows()) == []


def test_the_first_differences_are_shown_and_all_are_counted(conn: Conn) -> None:
    operations = [step(uuid7()) for _ in range(40)]
    apply(conn, operations)
    conn.execute("update workflow_steps set step_order = 7")
    comparison = compare_stream(conn, operations, limit=5)
    assert (len(comparison.differences), comparison.total) == (5, 40)


def test_a_stream_of_many_chunks_is_compared_in_pieces(conn: Conn) -> None:
    operations = list(islice(BridgeWorld(1, datetime.now(UTC)), 6 * CHUNK_ROWS))
    for start in range(0, len(operations), 1000):
        apply(conn, operations[start : start + 1000])
    comparison = compare_stream(conn, operations)
    assert comparison.differences == []
    assert comparison.rows.total() > len(operations) * 0.8
    conn.execute("delete from workflow_steps where id = %s", [last_step(operations)])
    assert [one.column for one in compare_stream(conn, operations).differences] == [None, "count"]


def last_step(operations: list[Operation]) -> Any:
    return next(one.operation_id for one in reversed(operations) if one.operation_type == "persist_workflow_step")


ENOUGH = 150  # operations: some steps are among them


class Direct:
    """Where a node has a client: applies at once, without a fleet between; says stop when it has applied enough."""

    def __init__(self, conn: Conn, stop: threading.Event) -> None:
        self._conn = conn
        self._stop = stop
        self._applied = 0

    def submit(self, item: Operation, /) -> Any:
        (outcome,) = apply(self._conn, [item])
        self._applied += 1
        if self._applied == ENOUGH:
            self._stop.set()
        return Confirmed(item, outcome)

    def flush(self, timeout_s: float | None = None) -> None:
        pass

    def close(self, timeout_s: float | None = None) -> None:
        pass


class Confirmed:
    submitted_at = confirmed_at = 1.0

    def __init__(self, operation: Operation, outcome: Any) -> None:
        self.operation_id, self._outcome = operation.operation_id, outcome

    def result(self, timeout_s: float | None = None) -> Any:
        return self._outcome

    def add_done_callback(self, callback: Any, /) -> None:
        callback(self)


def test_a_simulation_ends_with_the_database_compared(conn: Conn, database: str) -> None:
    settings = Settings(database_url=database, broker_url="redis://nowhere")
    plan = Plan(rate_per_s=300, seconds=60, seed=3)

    def simulated() -> SimulationResult:
        stop = threading.Event()
        return run_simulation(settings, plan, make_client=lambda _: Direct(conn, stop), stop=stop)

    result = simulated()
    assert result.ok and result.submitted == result.applied >= ENOUGH, result
    conn.execute("update workflow_steps set status = 'LOST'")
    conn.execute("truncate operations")
    again = simulated()
    assert not again.ok and "status is 'LOST', not 'COMPLETED'" in " ".join(again.differences)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True),
        (1.0, 1, True),
        (1e300, 10**300, True),
        (True, 1, False),
        (0, False, False),
        (None, False, False),
        ({"a": [1, {}]}, {"a": [1.0, {}]}, True),
        ({"a": None}, {}, False),
        ([1], [1, 2], False),
        ([], {}, False),
        ("1", 1, False),
    ],
)
def test_values_are_the_same_as_columns_and_json_see_it(one: object, other: object, equal: bool) -> None:
    assert same(one, other) is equal
