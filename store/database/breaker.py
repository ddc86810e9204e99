"""When to leave the database alone: a state machine without clock, lock or thread.

                     5 outages in a row within 30 s
        CLOSED --------------------------------------> OPEN <-----------------+
          ^                                             |                     |
          | 2 trial calls succeeded                     | a probe succeeded,  | a trial call met
          |                                             | or 60 s have passed | an outage
          +---------------- HALF_OPEN <-----------------+                     |
                            (3 trial calls at a time) ------------------------+

Only outages count: wrong data and defects say nothing about the database. A call that began in an earlier state has no
say in a later one, so a late answer neither closes nor opens anything. A database that answers probes but not calls (a
table is missing, say) is probed at doubling intervals, so that work does not go round in circles.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """failure_threshold      outages in a row that open it, when they fall within `window_s`
    open_s                 open for this long at most
    probe_interval_s       time between two probes while open
    half_open_max_calls    trial calls at a time
    half_open_successes    successful trial calls that close it
    """

    failure_threshold: int = 5
    window_s: float = 30.0
    open_s: float = 60.0
    probe_interval_s: float = 1.0
    half_open_max_calls: int = 3
    half_open_successes: int = 2

    def __post_init__(self) -> None:
        wrong = [name for name in self.__slots__ if getattr(self, name) <= 0]
        if self.half_open_successes > self.half_open_max_calls:
            wrong.append("half_open_successes")
        if wrong:
            raise ValueError(f"breaker: {', '.join(wrong)} out of range")


class Breaker:
    """`enter` before a call gives a ticket or None; then exactly one of `succeeded`, `failed` or `released` with it.

    Every `now` is of one monotonic clock, in seconds.
    """

    def __init__(self, config: BreakerConfig, *, now: float) -> None:
        self.config = config
        self._state = BreakerState.CLOSED
        self._since = now
        self._failures: deque[float] = deque(maxlen=config.failure_threshold)
        self._ticket = 0  # the number of the present state; tickets of earlier ones are void
        self._trials = 0
        self._trial_successes = 0
        self._last_probe = now
        self._relapses = 0  # failed trials since it was last closed
        self.opened_count = 0

    def state(self, now: float) -> BreakerState:
        if self._state is BreakerState.OPEN and now - self._since >= self.config.open_s:
            self._become(BreakerState.HALF_OPEN, now)
        return self._state

    def enter(self, now: float) -> int | None:
        """A ticket for one call, or None: not now."""
        match self.state(now):
            case BreakerState.OPEN:
                return None
            case BreakerState.HALF_OPEN if self._trials >= self.config.half_open_max_calls:
                return None
            case BreakerState.HALF_OPEN:
                self._trials += 1
        return self._ticket

    def succeeded(self, ticket: int, now: float) -> None:
        if ticket != self._ticket:
            return
        self._failures.clear()
        if self.state(now) is BreakerState.HALF_OPEN:
            self._trials -= 1
            self._trial_successes += 1
            if self._trial_successes >= self.config.half_open_successes:
                self._become(BreakerState.CLOSED, now)

    def failed(self, ticket: int, now: float) -> None:
        """The call met an outage."""
        if ticket != self._ticket:
            return
        if self.state(now) is BreakerState.HALF_OPEN:
            self._relapses += 1
            self._become(BreakerState.OPEN, now)
            return
        self._failures.append(now)
        full = len(self._failures) == self.config.failure_threshold
        if full and now - self._failures[0] <= self.config.window_s:
            self._become(BreakerState.OPEN, now)

    def released(self, ticket: int, now: float) -> None:
        """The call ended without telling anything about the database."""
        if ticket == self._ticket and self.state(now) is BreakerState.HALF_OPEN:
            self._trials -= 1

    def probe_due(self, now: float) -> bool:
        open_now = self.state(now) is BreakerState.OPEN
        interval_s = self.config.probe_interval_s * 2 ** min(self._relapses, 10)
        return open_now and now - max(self._last_probe, self._since) >= interval_s

    def probed(self, now: float, *, success: bool) -> None:
        self._last_probe = now
        if success and self.state(now) is BreakerState.OPEN:
            self._become(BreakerState.HALF_OPEN, now)

    def seconds_in_state(self, now: float) -> float:
        return max(0.0, now - self._since)

    def _become(self, state: BreakerState, now: float) -> None:
        self._state = state
        self._since = now
        self._ticket += 1
        self._failures.clear()
        self._trials = self._trial_successes = 0
        if state is BreakerState.OPEN:
            self.opened_count += 1
        elif state is BreakerState.CLOSED:
            self._relapses = 0
