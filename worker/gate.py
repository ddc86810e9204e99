"""The one way from a task to the database: through the breaker, on a pooled connection.

While the breaker is open no task touches the database. Consuming pauses (consuming.py), so work waits in the broker;
what this worker had already fetched waits here for a moment and then goes back. A thread probes until the database
answers.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, TypeVar
from uuid import UUID

from store import outbox
from store.apply import Limits
from store.errors import Fate, Outage, fate_of
from worker.breaker import Breaker, BreakerState
from worker.feed import Feed
from worker.pool import Pool
from worker.publication import Publication
from worker.rate import Rate

logger = logging.getLogger(__name__)
T = TypeVar("T")

HOLD_S = 5.0  # how long fetched work waits for the breaker; far below the broker's visibility timeout
IDLE_WAIT_S = 30.0  # the prober wakes by itself this often, for the breaker's longest time in the open state


class Gate:
    """What tasks are given (tasks/engine.py). Used by many threads.

    publish_wait_s  how long `published` waits at most
    on_pause        called with True when work should stay in the broker, with False when it may come again; from any
                    thread
    """

    def __init__(
        self, *, pool: Pool, breaker: Breaker, limits: Limits, hold_s: float = HOLD_S, publish_wait_s: float = 0.0
    ) -> None:
        self.pool = pool
        self.limits = limits
        self.on_pause: Callable[[bool], None] = lambda paused: None
        self._breaker = breaker
        self._hold_s = hold_s
        self._publication = Publication(publish_wait_s)
        self._feed = Feed(pool.config)
        self._rate = Rate()
        self._changed = threading.Condition()
        self._seen = BreakerState.CLOSED
        self._stopping = False
        self._prober: threading.Thread | None = None

    def open(self) -> None:
        self._stopping = False
        self.pool.open()
        self._feed.open()
        self._prober = threading.Thread(target=self._probe_forever, name="breaker-probe", daemon=True)
        self._prober.start()

    def stop_waiting(self) -> None:
        """The worker is stopping: what waits for the database goes back to the broker at once."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._feed.stop()

    def close(self) -> None:
        self.stop_waiting()
        if self._prober is not None:
            self._prober.join(timeout=5)
        self._feed.close()
        self.pool.close()

    def run(self, work: Callable[[Any], T]) -> T:
        """Call `work` with a connection in autocommit mode.

        Raises Outage when the database is away, or was and is not yet trusted again: leave the message in the broker.
        Whatever else `work` raises comes through.
        """
        return self._run(work, hold_s=self._hold_s)

    def _run(self, work: Callable[[Any], T], *, hold_s: float) -> T:
        ticket = self._enter(hold_s)
        try:
            with self.pool.connection() as conn:
                result = work(conn)
        except Exception as error:
            if fate_of(error) is not Fate.OUTAGE:
                self._note(lambda now: self._breaker.released(ticket, now))
                raise
            self._note(lambda now: self._breaker.failed(ticket, now))
            if isinstance(error, Outage):
                raise
            raise Outage(f"the database is away or not ready: {type(error).__name__}", error) from error
        except BaseException:
            self._note(lambda now: self._breaker.released(ticket, now))
            raise
        self._note(lambda now: self._breaker.succeeded(ticket, now))
        return result

    @property
    def settled_total(self) -> int:
        """Operations whose outcome is committed, since the worker began."""
        return self._rate.total

    def settled(self, operations: int) -> None:
        """Count operations whose outcome is committed."""
        self._rate.add(operations, now=time.monotonic())

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the worker lives."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, timeout=seconds)

    def published(self, event_ids: Collection[UUID]) -> set[UUID]:
        """Which of these committed events are on the bus, after waiting for them a little; nothing is raised."""
        return self._publication.published(event_ids, look=self._look, hear=self._feed.wait)

    @property
    def paused(self) -> bool:
        return self._seen is BreakerState.OPEN

    def state(self) -> dict[str, Any]:
        """What `fleet status` shows of this worker's database side; plain values."""
        now = time.monotonic()
        with self._changed:
            breaker = {
                "state": self._breaker.state(now).value,
                "seconds_in_state": round(self._breaker.seconds_in_state(now), 3),
                "opened_count": self._breaker.opened_count,
            }
        return {
            "paused": self.paused,
            "breaker": breaker,
            "publication_awaited": self._publication.awaited,
            "pool": self.pool.statistics().as_dict(),
            "operations_total": self._rate.total,
            "operations_per_second": self._rate.per_second(now=now),
        }

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

    def _look(self, event_ids: Collection[UUID]) -> dict[UUID, bool] | None:
        """Their effect is committed: a database that has gone away since costs this answer nothing but its detail."""
        try:
            return self._run(lambda conn: outbox.ends(conn, list(event_ids)), hold_s=0.0)
        except Outage:
            return None
        except Exception:
            logger.exception("publication_unknown")
            return None

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
            # Told under the lock, so that "pause" and "resume" cannot overtake each other.
            self.on_pause(after is BreakerState.OPEN)
        level = logging.WARNING if after is BreakerState.OPEN else logging.INFO
        logger.log(level, "breaker_%s", after.value, extra={"fields": {"before": before.value, "after": after.value}})

    def _probe_forever(self) -> None:
        interval_s = self._breaker.config.probe_interval_s
        while not self._stopping:
            with self._changed:
                is_open = self._breaker.state(time.monotonic()) is BreakerState.OPEN
                self._changed.wait(interval_s if is_open else IDLE_WAIT_S)
                due = not self._stopping and self._breaker.probe_due(time.monotonic())
            if due:
                success = self.pool.probe()
                self._note(lambda now, success=success: self._breaker.probed(now, success=success))  # type: ignore[misc]
            else:
                self._announce()
