"""A relay: publishes what waits in the outbox, for as long as it lives. Any number of them share the work.

    connect, listen, join the others  -->  sweep: a round for every share of the shards  <--+
          ^                                  | nothing there: wait for a nudge, or a while  |
          | PostgreSQL is away               +----------------------------------------------+
          +-- pause, longer each time <-- whatever goes wrong: the connection is dropped, its locks with it

A bus that is away costs nothing but time: its breaker opens after the second round in which it took nothing and did not
say that it is well; from then on it is only asked how it is, and the events wait in the outbox for as long as that
takes. A topic that it does not take though it is well is left out for a while: worker/relay/pauses.py.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from omninode_bridge.client.backoff import RECONNECT
from store.database.breaker import Breaker, BreakerConfig, BreakerState
from store.database.errors import Fate, fate_of
from store.database.pool import Conn, PoolConfig, lone_connection
from store.outbox import outbox, relays
from worker.bus import Bus
from worker.bus.protocol import BusAway
from worker.polling import wait_until
from worker.relay.pauses import Pauses
from worker.relay.round import Counts, run_round, shares

logger = logging.getLogger(__name__)

COUNT_RELAYS_S = 1.0  # how old the number of relays may be
REPORT_S = 10.0  # between two lines of counts, and two rounds of tidying
WAIT_STEP_S = 0.2  # within this time a waiting relay notices that it is to stop
LAST_S = 2.0  # how long a relay that is to stop goes on with what it finds
HEALTH_TIMEOUT_S = 2.0
FAILED_ROUNDS = 2  # a batch that the bus did not take may be a connection that broke; the next one tells


@dataclass(frozen=True, kw_only=True)
class RelayConfig:
    """name  by which others may ask whether it has begun; two of one name are no harm."""

    name: str
    batch_events: int = 500
    sweep_s: float = 1.0
    bus_timeout_s: float = 10.0
    breaker: BreakerConfig = field(default_factory=lambda: BreakerConfig(failure_threshold=FAILED_ROUNDS))

    def __post_init__(self) -> None:
        wrong = [name for name in ("batch_events", "sweep_s", "bus_timeout_s") if getattr(self, name) <= 0]
        if wrong or not self.name:
            raise ValueError(f"relay: {', '.join(wrong or ['name'])} out of range")


class Relay:
    """`run` in one thread; `stop` from any, or from a signal handler."""

    def __init__(self, config: RelayConfig, database: PoolConfig, bus: Bus) -> None:
        self.config = config
        self._database = database
        self._bus = bus
        self._breaker = Breaker(config.breaker, now=time.monotonic())
        self._pauses = Pauses()
        self._random = random.Random()
        self._stopping = False  # a plain flag: a signal handler must not take a lock
        self._relays, self._counted_at = 1, float("-inf")
        self._failures = 0  # of the database, in a row
        self._bus_is_away = False
        self._counts = Counts()  # since the last line about them
        self._reported_at = time.monotonic()

    def stop(self) -> None:
        """End soon: what waits goes out first, as far as that takes no longer than `LAST_S`."""
        self._stopping = True

    def run(self) -> None:
        """Relay until told to stop. Whatever fails is logged, once while it lasts, and tried again."""
        self._log(logging.INFO, "relay_started", bus=self._bus.name)
        while not self._stopping:
            try:
                with lone_connection(self._database) as conn:
                    self._serve(conn)
            except Exception as error:
                self._failed(error)
                wait_until(lambda: self._stopping, seconds=RECONNECT.delay_s(self._failures))
        self._report()
        self._log(logging.INFO, "relay_stopped")

    def run_once(self, conn: Conn) -> Counts:
        """A sweep: one round for each share of the shards, as long as the breaker lets it.

        Raises as `run_round`.
        """
        total = Counts()
        for share in shares(self._alive(conn), self._random):
            ticket = self._breaker.enter(time.monotonic())
            if ticket is None:
                break
            counts = run_round(
                conn,
                self._bus,
                share,
                rows_limit=self.config.batch_events,
                timeout_s=self.config.bus_timeout_s,
                pauses=self._pauses,
            )
            self._judge(ticket, counts)
            total = total.plus(counts)
        self._counts = self._counts.plus(total)
        return total

    # ---- the loop ---------------------------------------------------------------------------------------------------

    def _serve(self, conn: Conn) -> None:
        outbox.listen(conn)
        outbox.settle_at_once(conn)
        relays.join(conn, self.config.name)
        while not self._stopping:
            outbox.wait(conn, 0)  # nudges that nobody takes would pile up; whatever they told of is seen now
            counts = self.run_once(conn)
            self._succeeded()
            self._housekeep()
            if not counts.settled and not (counts.away and self._bus_is_away and self._bus_is_trusted()):
                self._wait(conn)
        until = time.monotonic() + LAST_S
        while self.run_once(conn).settled and time.monotonic() < until:
            pass

    def _wait(self, conn: Conn) -> None:
        """Until somebody has appended, or it is time to look anyway; with the bus away, until the next probe."""
        if self._bus_is_trusted():
            self._pause(self.config.sweep_s, lambda step_s: outbox.wait(conn, step_s))
            return
        self._pause(self.config.breaker.probe_interval_s, lambda step_s: wait_until(self._ends, seconds=step_s))
        self._probe()

    def _pause(self, seconds: float, wait: Callable[[float], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and (left_s := deadline - time.monotonic()) > 0:
            if wait(min(left_s, WAIT_STEP_S)):
                return

    def _ends(self) -> bool:
        return self._stopping

    def _alive(self, conn: Conn) -> int:
        now = time.monotonic()
        if now - self._counted_at >= COUNT_RELAYS_S:
            self._relays, self._counted_at = relays.alive(conn), now
        return self._relays

    # ---- the bus ----------------------------------------------------------------------------------------------------

    def _bus_is_trusted(self) -> bool:
        return self._breaker.state(time.monotonic()) is not BreakerState.OPEN

    def _judge(self, ticket: int, counts: Counts) -> None:
        """A round fails for the breaker when the bus took nothing of what it was given, and is not well either."""
        is_well = counts.settled > 0 or (counts.away > 0 and self._bus.health(HEALTH_TIMEOUT_S) is None)
        if counts.settled:
            self._breaker.succeeded(ticket, time.monotonic())
        elif is_well or not counts.away:
            self._breaker.released(ticket, time.monotonic())
        else:
            self._breaker.failed(ticket, time.monotonic())
            self._pauses.clear()
            if not self._bus_is_away:
                self._bus_is_away = True
                self._log(logging.WARNING, "bus_away", reason=counts.problem)
        if is_well and self._bus_is_away:
            self._bus_is_away = False
            self._log(logging.INFO, "bus_back")
        for topic, reason in self._pauses.news():
            if reason is None:
                self._log(logging.INFO, "topic_back", topic=topic)
            else:
                self._log(logging.WARNING, "topic_away", topic=topic, reason=reason)

    def _probe(self) -> None:
        if self._breaker.probe_due(time.monotonic()):
            problem = self._bus.health(HEALTH_TIMEOUT_S)
            self._breaker.probed(time.monotonic(), success=problem is None)

    # ---- the database, and what is told -----------------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._counted_at = float("-inf")
        first_line = (str(error).splitlines() or [""])[0][:200]
        if fate_of(error) in (Fate.BUG, Fate.REFUSE):
            logger.error("relay_failed", exc_info=error, extra={"fields": {"relay": self.config.name}})
        elif self._failures == 1:
            self._log(logging.WARNING, "database_away", reason=f"{type(error).__name__}: {first_line}")

    def _succeeded(self) -> None:
        if self._failures:
            self._failures = 0
            self._log(logging.INFO, "database_back")

    def _housekeep(self) -> None:
        if time.monotonic() - self._reported_at < REPORT_S:
            return
        self._report()
        if not self._bus_is_trusted():
            return
        try:
            self._bus.tidy()
        except BusAway as error:
            logger.debug("tidying_failed", extra={"fields": {"reason": str(error)}})

    def _report(self) -> None:
        now = time.monotonic()
        counts, seconds = self._counts, now - self._reported_at
        self._counts, self._reported_at = Counts(), now
        if counts.settled or counts.away:
            fields = {"published": counts.published, "refused": counts.refused, "away": counts.away}
            rate = round(counts.published / max(seconds, 0.001), 1)
            self._log(logging.INFO, "relay_counts", **fields, seconds=round(seconds, 1), published_per_second=rate)

    def _log(self, level: int, event: str, **fields: Any) -> None:
        logger.log(level, event, extra={"fields": {"relay": self.config.name, **fields}})
