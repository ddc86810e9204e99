"""The one way to the database in a process: through the breaker, on a pooled connection. Used by many threads."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from store.database.breaker import Breaker, BreakerState
from store.database.errors import Fate, HeldBack, Lost, Outage, fate_of, outage_of
from store.database.pool import Pool

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Guard:
    """While the breaker is open no work touches the database; somebody has to call `probe` until it is not.

    on_open  called with True when the breaker opened, with False when it did not stay so; from any thread
    """

    def __init__(self, *, pool: Pool, breaker: Breaker) -> None:
        self.pool = pool
        self.on_open: Callable[[bool], None] = lambda is_open: None
        self._breaker = breaker
        self._changed = threading.Condition()
        self._seen = BreakerState.CLOSED
        self._probing = False
        self._stopping = False

    def open(self) -> None:
        with self._changed:
            self._stopping = False
            self.pool.open()

    def stop_waiting(self) -> None:
        """What waits for the database gives up at once."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def close(self) -> None:
        self.stop_waiting()
        self.pool.close()

    def run(self, work: Callable[[Any], T], *, hold_s: float) -> T:
        """Call `work` with a connection in autocommit mode, after waiting so long at most for an open breaker.

        Raises Outage when the database is away, or was and is not yet trusted again; Lost when the connection broke,
        though the database answers on another one. Whatever else `work` raises comes through. Only what says that the
        database is away counts for the breaker.
        """
        ticket = self._enter(hold_s)
        try:
            with self.pool.connection() as conn:
                result = work(conn)
        except Exception as error:
            if self._is_about_work(error):
                self._note(lambda now: self._breaker.released(ticket, now))
                if fate_of(error) is Fate.LOST:
                    raise outage_of(error) from error
                raise
            self._note(lambda now: self._breaker.failed(ticket, now))
            outage = outage_of(error)
            if outage is error and not isinstance(error, Lost):
                raise
            raise Outage(outage.message, error) from error
        except BaseException:
            self._note(lambda now: self._breaker.released(ticket, now))
            raise
        self._note(lambda now: self._breaker.succeeded(ticket, now))
        return result

    def _is_about_work(self, error: Exception) -> bool:
        """Whether an error tells of the work that met it, and not that the database is away."""
        if isinstance(error, HeldBack):
            return True
        if isinstance(error, Lost) or fate_of(error) is Fate.LOST:
            return self.pool.probe()
        return fate_of(error) not in (Fate.OUTAGE, Fate.SUSPECT)  # who cannot tell the two apart waits for both

    def probe(self) -> None:
        """Ask the database whether it is back, if that is due; and let time do what it does to the breaker."""
        with self._changed:
            due = not self._stopping and not self._probing and self._breaker.probe_due(time.monotonic())
            self._probing = self._probing or due
        if not due:
            self._announce()
            return
        try:
            success = self.pool.probe()
        finally:
            self._probing = False
        self._note(lambda now: self._breaker.probed(now, success=success))

    def wait_to_probe(self, *, idle_s: float) -> None:
        """Wait until `probe` may be due: for one of its intervals, or so long at most while the breaker is closed."""
        with self._changed:
            is_open = self._breaker.state(time.monotonic()) is BreakerState.OPEN
            self._changed.wait(self._breaker.config.probe_interval_s if is_open else idle_s)

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than until `stop_waiting`."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, timeout=seconds)

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def is_open(self) -> bool:
        """Whether the breaker is."""
        return self._seen is BreakerState.OPEN

    def state(self) -> dict[str, Any]:
        """Of breaker and pool; plain values."""
        now = time.monotonic()
        with self._changed:
            breaker = {
                "state": self._breaker.state(now).value,
                "seconds_in_state": round(self._breaker.seconds_in_state(now), 3),
                "opened_count": self._breaker.opened_count,
            }
        return {"breaker": breaker, "pool": self.pool.statistics().as_dict()}

    def _enter(self, hold_s: float) -> int:
        deadline = time.monotonic() + hold_s
        with self._changed:
            while True:
                now = time.monotonic()
                ticket = self._breaker.enter(now)
                if ticket is not None:
                    break
                if self._stopping or now >= deadline:
                    raise Outage("the database is away; the breaker is open")
                self._changed.wait(deadline - now)
        self._announce()
        return ticket

    def _note(self, tell: Callable[[float], None]) -> None:
        with self._changed:
            tell(time.monotonic())
            self._changed.notify_all()
        self._announce()

    def _announce(self) -> None:
        """Log a change of state and pass it on, once."""
        with self._changed:
            before, after = self._seen, self._breaker.state(time.monotonic())
            self._seen = after
            if before is after:
                return
            self._changed.notify_all()
            # Told under the lock, so that "open" and "not open" cannot overtake each other.
            self.on_open(after is BreakerState.OPEN)
        level = logging.WARNING if after is BreakerState.OPEN else logging.INFO
        logger.log(level, "breaker_%s", after.value, extra={"fields": {"before": before.value, "after": after.value}})
