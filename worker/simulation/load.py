"""A simulated load on a real fleet, and the proof that the database holds what it should afterwards.

submit what the world says, paced --> wait until all is confirmed --> play the world again into the reference fold
                                                                      --> compare with the database
"""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Protocol
from uuid import UUID

from omninode_bridge.contract.clock import now
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.outcome import Outcome
from store.database.connection import connection
from store.write.compare import compare_stream
from worker.client import client_of
from worker.settings import Settings
from worker.simulation.latency import Latencies
from worker.simulation.world import UNPACED_PER_S, BridgeWorld

WINDOW = 8000  # unconfirmed operations per client where nothing else paces: enough to keep every message slot full
PIECE = 200  # operations submitted between two looks at the clock
PROGRESS_S = 0.25
FLUSH_TIMEOUT_S = 60.0
GIVE_UP_S = 1.0  # what a client gets to close with operations unconfirmed, after the flush had its time


class Sent(Protocol):
    """What a client hands out for an operation."""

    operation_id: UUID
    submitted_at: float
    confirmed_at: float | None

    def result(self, timeout_s: float | None = None) -> Outcome: ...

    def add_done_callback(self, callback: Any, /) -> None: ...


class Client(Protocol):
    """What a load needs of a client."""

    def submit(self, item: Operation, /) -> Sent: ...

    def flush(self, timeout_s: float | None = None) -> None: ...

    def close(self, timeout_s: float | None = None) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What is to be sent.

    rate_per_s  operations a second; 0 is as fast as they are confirmed
    """

    rate_per_s: float
    seconds: float
    seed: int
    clients: int = 1
    start: datetime = field(default_factory=now)
    flush_timeout_s: float = FLUSH_TIMEOUT_S

    def world(self) -> BridgeWorld:
        return BridgeWorld(self.seed, self.start, rate_per_s=self.rate_per_s or UNPACED_PER_S)


@dataclass(frozen=True)
class Progress:
    """How far a simulation is; `rate_per_s` is of operations confirmed since the last look."""

    phase: str  # load, confirm, verify
    elapsed_s: float
    submitted: int
    confirmed: int
    rate_per_s: float
    latency_ms: dict[str, float]

    @property
    def in_flight(self) -> int:
        return self.submitted - self.confirmed


@dataclass(frozen=True)
class SimulationResult:
    """What came of a simulation.

    rate_per_s   confirmed operations a second, from the first submission to the last confirmation
    latency_ms   from submission to confirmation: p50, p95, p99, max
    rows         rows of the fold that were looked for, per table; empty where nothing was compared
    differences  the first of `difference_count` ways in which the database is not as the fold says
    """

    seed: int
    start: datetime
    elapsed_s: float
    submitted: int
    applied: int
    duplicate: int
    refused: dict[str, int]
    rate_per_s: float
    latency_ms: dict[str, float]
    rows: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    difference_count: int = 0

    @property
    def confirmed(self) -> int:
        return self.applied + self.duplicate + sum(self.refused.values())

    @property
    def unconfirmed(self) -> int:
        return self.submitted - self.confirmed

    @property
    def ok(self) -> bool:
        """Everything is confirmed, and the database was compared and is as it should be."""
        return self.unconfirmed == 0 and bool(self.rows) and self.difference_count == 0

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "confirmed": self.confirmed, "unconfirmed": self.unconfirmed, "ok": self.ok}


class Tally:
    """Counts what becomes of operations.

    The clients' threads only put them down (`settle`); all else belongs to the submitting thread, which counts them a
    block at a time: that takes no lock for each.
    """

    def __init__(self) -> None:
        self.submitted = 0
        self.statuses: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.refused_ids: set[UUID] = set()
        self.latencies = Latencies()
        self.last_confirmed_at = 0.0
        self._counted = 0
        self._ended: deque[Sent] = deque()  # confirmed and not counted
        self._room = threading.Condition()
        self._wanted: float = math.inf  # the length of `_ended` that somebody waits for

    @property
    def confirmed(self) -> int:
        return self._counted + len(self._ended)

    def settle(self, sent: Sent) -> None:
        if sent.confirmed_at is None:  # given up: the client was closed
            return
        self._ended.append(sent)
        if len(self._ended) >= self._wanted:  # asked after the append, as who waits looks after saying what it wants
            with self._room:
                if len(self._ended) >= self._wanted:
                    self._wanted = math.inf
                    self._room.notify_all()

    def count(self) -> None:
        """Count what has been put down by now."""
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        if not ended:
            return
        outcomes = [sent.result(0) for sent in ended]
        self.statuses.update([outcome.status for outcome in outcomes])
        for outcome in outcomes:
            if outcome.status == "refused":
                self.refused[outcome.code or EnumCoreErrorCode.INTERNAL_ERROR.value] += 1
                self.refused_ids.add(outcome.operation_id)
        times = [(sent.submitted_at, sent.confirmed_at or 0.0) for sent in ended]
        self.latencies.add_all([confirmed_at - submitted_at for submitted_at, confirmed_at in times])
        self.last_confirmed_at = max(self.last_confirmed_at, max(confirmed_at for _, confirmed_at in times))
        self._counted += len(ended)

    def wait_room(self, window: int, *, timeout_s: float) -> None:
        """Wait until half of a full window is free, or the time is over."""
        self.count()
        with self._room:
            self._wanted = wanted = self.submitted - window // 2 - self._counted
            self._room.wait_for(lambda: len(self._ended) >= wanted, timeout_s)
            self._wanted = math.inf

    def latency_ms(self) -> dict[str, float]:
        return self.latencies.percentiles_ms()


class Load:
    """One simulation, step by step; `run_simulation` takes all of them."""

    def __init__(
        self, plan: Plan, clients: list[Client], *, window: int, on_progress: Callable[[Progress], None]
    ) -> None:
        self.plan = plan
        self.tally = Tally()
        self._clients = clients
        self._window = window
        self._on_progress = on_progress
        self._started_at = time.monotonic()
        self._shown_at, self._shown_confirmed = self._started_at, 0

    def submit(self, stop: threading.Event) -> None:
        """Submit until the plan's seconds are over or somebody says stop."""
        world, tally, rate = self.plan.world(), self.tally, self.plan.rate_per_s
        while not stop.is_set() and (elapsed_s := time.monotonic() - self._started_at) < self.plan.seconds:
            self._show("load")
            tally.count()
            room = self._window - (tally.submitted - tally.confirmed)
            due = int(elapsed_s * rate) + 1 - tally.submitted if rate else room
            if room <= 0:
                tally.wait_room(self._window, timeout_s=PROGRESS_S)
            elif due <= 0:
                stop.wait(min(tally.submitted / rate - elapsed_s, PROGRESS_S))
            else:
                self._submit(world, min(due, room, PIECE))

    def confirm(self) -> None:
        """Wait until everything is confirmed, or the plan's patience is over."""
        deadline = time.monotonic() + self.plan.flush_timeout_s
        for client in self._clients:
            while True:
                self._show("confirm")
                try:
                    client.flush(PROGRESS_S)
                    break
                except OnexError as error:
                    if error.error_code is not EnumCoreErrorCode.TIMEOUT or time.monotonic() > deadline:
                        return

    def result(self) -> SimulationResult:
        tally = self.tally
        tally.count()
        elapsed_s = max(tally.last_confirmed_at - self._started_at, 0.0)
        return SimulationResult(
            seed=self.plan.seed,
            start=self.plan.start,
            elapsed_s=round(elapsed_s, 3),
            submitted=tally.submitted,
            applied=tally.statuses["applied"],
            duplicate=tally.statuses["duplicate"],
            refused=dict(sorted(tally.refused.items())),
            rate_per_s=round(tally.confirmed / elapsed_s, 1) if elapsed_s else 0.0,
            latency_ms=tally.latency_ms(),
        )

    def accepted(self) -> Iterator[Operation]:
        """What was submitted and not refused, once more from the beginning."""
        self._show("verify", at_once=True)
        for operation in islice(self.plan.world(), self.tally.submitted):
            if operation.operation_id not in self.tally.refused_ids:
                yield operation
                self._show("verify")

    def _submit(self, world: BridgeWorld, number: int) -> None:
        tally, clients, settle = self.tally, self._clients, self.tally.settle
        for operation in islice(world, number):
            sent = clients[tally.submitted % len(clients)].submit(operation)
            tally.submitted += 1
            sent.add_done_callback(settle)

    def _show(self, phase: str, *, at_once: bool = False) -> None:
        moment = time.monotonic()
        if moment - self._shown_at < PROGRESS_S and not at_once:
            return
        confirmed = self.tally.confirmed
        rate = (confirmed - self._shown_confirmed) / max(moment - self._shown_at, 1e-9)
        self._shown_at, self._shown_confirmed = moment, confirmed
        self.tally.count()
        elapsed_s = moment - self._started_at
        progress = Progress(phase, elapsed_s, self.tally.submitted, confirmed, rate, self.tally.latency_ms())
        self._on_progress(progress)


def run_simulation(
    settings: Settings,
    plan: Plan,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
    make_client: Callable[[Settings], Client] = client_of,
) -> SimulationResult:
    """Send a simulated load, wait for its confirmation, compare the database with the reference fold.

    settings needs `broker_url` and `database_url`. `stop` ends the sending early; the rest goes on as usual.
    Raises OnexError when the database cannot be read for the comparison.
    """
    # Never more than one client takes, so that no submission blocks.
    window = settings.client_max_pending if plan.rate_per_s else min(WINDOW * plan.clients, settings.client_max_pending)
    clients = [make_client(settings) for _ in range(plan.clients)]
    load = Load(plan, clients, window=window, on_progress=on_progress)
    try:
        load.submit(stop or threading.Event())
        load.confirm()
    finally:
        _close(clients)
    result = load.result()
    if result.unconfirmed:
        return result
    with connection(settings.database_url) as conn:
        comparison = compare_stream(conn, load.accepted())
    return SimulationResult(
        **{
            **vars(result),
            "rows": dict(comparison.rows),
            "differences": [str(difference) for difference in comparison.differences],
            "difference_count": comparison.total,
        }
    )


def _close(clients: list[Client]) -> None:
    for client in clients:
        try:
            client.close(GIVE_UP_S)
        except OnexError:
            continue  # says what is unconfirmed, and so does the tally
