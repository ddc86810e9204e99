"""The simulated world: the same every time, plausible, and in step with its clock. How a load is paced and counted."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from statistics import mean
from typing import Any
from uuid import UUID

import pytest

from omninode_bridge.contract.clock import TIMELESS
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.operation import FsmTransitionData, Operation, WorkflowExecutionData, WorkflowStepData
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.wire import encode
from worker.cli.simulate import verdict
from worker.simulation.latency import Latencies
from worker.simulation.load import Load, Plan, Progress, SimulationResult, Tally
from worker.simulation.world import BridgeWorld

START = datetime(2026, 11, 20, 12, 0, 0, 250, tzinfo=UTC)


def play(number: int, *, seed: int = 1, start: datetime = START, rate_per_s: float = 1000) -> list[Operation]:
    return list(islice(BridgeWorld(seed, start, rate_per_s=rate_per_s), number))


def test_the_same_seed_and_start_give_the_same_operations() -> None:
    assert play(3000) == play(3000)


def test_worlds_of_another_seed_or_start_share_no_key() -> None:
    def keys(operations: list[Operation]) -> set[Any]:
        named = ("correlation_id", "workflow_id", "entity_id", "bridge_id", "node_id")
        return {getattr(one.data, name, None) for one in operations for name in named} | {
            one.operation_id for one in operations
        }

    one = keys(play(2000)) - {None}
    assert len(one) > 2000
    assert not one & keys(play(2000, seed=2)) and not one & keys(play(2000, start=START + timedelta(microseconds=1)))


def test_operation_ids_are_distinct_and_carry_their_time() -> None:
    operations = play(5000)
    assert len({one.operation_id for one in operations}) == 5000
    assert {one.operation_id.version for one in operations} == {7}
    for one in operations:
        in_id = TIMELESS + timedelta(milliseconds=one.operation_id.int >> 80)
        assert abs(in_id - one.occurred_at) < timedelta(milliseconds=2)


def test_played_at_its_rate_the_stream_looks_like_now_with_a_few_that_are_late() -> None:
    operations = play(10_000, rate_per_s=1000)
    lateness = [START + timedelta(milliseconds=n) - one.occurred_at for n, one in enumerate(operations, start=1)]
    late = [one for one in lateness if one > timedelta(seconds=1)]
    assert max(abs(one) for one in lateness if one not in late) <= timedelta(seconds=1)
    assert 0 < len(late) < 0.1 * len(operations)
    moments = [one.occurred_at for one in operations]
    assert moments != sorted(moments)


def test_the_mix_is_that_of_bridge_nodes() -> None:
    operations = play(20_000)
    counts = Counter(one.operation_type for one in operations)
    wanted = {
        "persist_workflow_step": 0.45,
        "persist_fsm_transition": 0.20,
        "persist_workflow_execution": 0.20,
        "persist_metadata_stamp": 0.07,
        "persist_bridge_state": 0.04,
        "update_node_heartbeat": 0.04,
    }
    assert set(counts) == set(wanted)
    assert {kind: counts[kind] / len(operations) for kind in wanted} == pytest.approx(wanted, abs=0.025)
    assert 300 < mean(len(encode(one)) for one in operations) < 450


def test_workflows_run_side_by_side_from_start_to_end() -> None:
    lives: dict[UUID, list[Operation]] = defaultdict(list)
    positions: dict[UUID, list[int]] = defaultdict(list)
    for position, one in enumerate(play(20_000)):
        if isinstance(one.data, WorkflowExecutionData | WorkflowStepData | FsmTransitionData):
            assert one.correlation_id is not None
            lives[one.correlation_id].append(one)
            positions[one.correlation_id].append(position)
    ended = [life for life in lives.values() if states(life) >= {"PROCESSING", "COMPLETED"}]
    failed = [life for life in lives.values() if states(life) >= {"PROCESSING", "FAILED"}]
    assert len(ended) > 5 * len(failed) > 0
    for life in ended:
        times = {one.data.current_state: one.occurred_at for one in life if isinstance(one.data, WorkflowExecutionData)}
        assert times["PROCESSING"] < times["COMPLETED"]
    spread = [max(places) - min(places) + 1 > len(places) for places in positions.values() if len(places) > 1]
    assert all(spread), "others happen in between"


def states(life: list[Operation]) -> set[str]:
    return {one.data.current_state for one in life if isinstance(one.data, WorkflowExecutionData)}


# ---- the load -------------------------------------------------------------------------------------------------------


class Sent:
    """A handle of a client that answers when it is told to."""

    def __init__(self, operation: Operation) -> None:
        self.operation_id = operation.operation_id
        self.submitted_at = 0.0
        self.confirmed_at: float | None = None
        self.outcome: Outcome | None = None
        self.callback: Callable[[Any], None] = lambda _: None

    def add_done_callback(self, callback: Callable[[Any], None], /) -> None:
        if self.outcome is not None:
            callback(self)
        self.callback = callback

    def result(self, timeout_s: float | None = None) -> Outcome:
        assert self.outcome is not None
        return self.outcome

    def end(self, status: Any = "applied", *, after_s: float = 0.002) -> None:
        self.outcome = Outcome(self.operation_id, status, "CONFLICT" if status == "refused" else None)
        self.confirmed_at = self.submitted_at + after_s
        self.callback(self)


class Client:
    """Keeps what it is given; `answers` says whether it confirms at once."""

    def __init__(self, *, answers: bool = True) -> None:
        self.sent: list[Sent] = []
        self.operations: list[Operation] = []
        self._answers = answers

    def submit(self, item: Operation, /) -> Sent:
        self.operations.append(item)
        self.sent.append(Sent(item))
        if self._answers:
            self.sent[-1].end()
        return self.sent[-1]

    def flush(self, timeout_s: float | None = None) -> None:
        if any(sent.outcome is None for sent in self.sent):
            raise OnexError(EnumCoreErrorCode.TIMEOUT, "not confirmed")

    def close(self, timeout_s: float | None = None) -> None:
        self.flush()


def ignore(_: Progress) -> None:
    pass


def plan(**given: Any) -> Plan:
    return Plan(**{"rate_per_s": 2000, "seconds": 0.2, "seed": 1, "start": START, **given})


def test_a_paced_load_sends_what_its_rate_says_and_not_more() -> None:
    client = Client()
    load = Load(plan(), [client], window=1000, on_progress=ignore)
    load.submit(threading.Event())
    assert 200 <= len(client.operations) <= 401
    assert client.operations == list(load.accepted())
    assert load.result().confirmed == len(client.operations)


def test_a_load_never_has_more_than_its_window_unconfirmed() -> None:
    client = Client(answers=False)
    load = Load(plan(rate_per_s=0), [client], window=50, on_progress=ignore)
    load.submit(threading.Event())
    assert load.tally.submitted == len(client.operations) == 50


def test_room_in_the_window_is_used_as_soon_as_half_of_it_is_free() -> None:
    tally, client = Tally(), Client(answers=False)
    for operation in play(10):
        client.submit(operation).add_done_callback(tally.settle)
        tally.submitted += 1
    waited = threading.Event()

    def wait() -> None:
        tally.wait_room(10, timeout_s=30)
        waited.set()

    thread = threading.Thread(target=wait)
    thread.start()
    for sent in client.sent[:4]:
        sent.end()
    assert not waited.wait(0.05)
    client.sent[4].end()
    assert waited.wait(60)
    thread.join()


def test_somebody_can_stop_a_load() -> None:
    client, stop = Client(), threading.Event()
    stop.set()
    load = Load(plan(seconds=3600), [client], window=1000, on_progress=ignore)
    load.submit(stop)
    assert client.operations == []


def test_clients_share_the_load_and_the_order_stays_that_of_the_world() -> None:
    clients = [Client(), Client(), Client()]
    load = Load(plan(rate_per_s=0, seconds=0.05), list(clients), window=500, on_progress=ignore)
    load.submit(threading.Event())
    dealt = [client.operations for client in clients]
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    assert [dealt[n % 3][n // 3] for n in range(load.tally.submitted)] == list(load.accepted())


def test_what_was_refused_is_told_by_code_and_left_out_of_the_fold() -> None:
    client = Client(answers=False)
    load = Load(plan(rate_per_s=0), [client], window=4, on_progress=ignore)
    load.submit(threading.Event())
    for sent, status in zip(client.sent, ("applied", "refused", "duplicate", "refused"), strict=True):
        sent.end(status)
    result = load.result()
    assert (result.applied, result.duplicate, result.refused, result.confirmed) == (1, 1, {"CONFLICT": 2}, 4)
    assert list(load.accepted()) == [client.operations[0], client.operations[2]]


def test_a_load_that_is_not_confirmed_says_so_and_is_not_compared() -> None:
    client = Client(answers=False)
    load = Load(plan(rate_per_s=0, seconds=0.3, flush_timeout_s=0), [client], window=2, on_progress=ignore)
    load.submit(threading.Event())
    load.confirm()
    result = load.result()
    assert (result.unconfirmed, result.ok) == (2, False)
    assert verdict(result) == "2 of 2 operations are unconfirmed: the database was not compared"


def test_the_verdict_counts_rows_or_names_the_differences() -> None:
    def result(**given: Any) -> SimulationResult:
        told: dict[str, Any] = {"seed": 1, "start": START, "elapsed_s": 1.0, "submitted": 3, "applied": 3}
        told |= {"duplicate": 0, "refused": {}, "rate_per_s": 3.0, "latency_ms": {}}
        return SimulationResult(**told | given)

    equal = result(rows={"workflow_steps": 1200, "event_logs": 0, "fsm_states": 34})
    assert verdict(equal) == "database equals the fold: 1,234 rows in 2 tables" and equal.ok
    other = result(rows={"workflow_steps": 2}, differences=["a", "b"], difference_count=7)
    assert verdict(other).splitlines() == ["the database differs from the fold in 7 places, first:", "  a", "  b"]
    assert not other.ok and not result().ok


def test_percentiles_are_right_to_two_percent() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 1001):
        latencies.add(milliseconds / 1000)
    found = latencies.percentiles_ms()
    assert found == pytest.approx({"p50": 500, "p95": 950, "p99": 990, "max": 1000}, rel=0.021)


def test_percentiles_of_nothing_and_of_one() -> None:
    latencies = Latencies()
    assert set(latencies.percentiles_ms().values()) == {0}
    latencies.add(0.0)
    latencies.add(0.25)
    assert latencies.percentiles_ms()["max"] == latencies.percentiles_ms()["p99"] == 250
