"""Waiting until events are on the bus: for a moment, and not at all while that is in vain.

Events are committed when this is asked about them, so nothing depends on the answer but what a result may say. Most
are heard of at once (feed.py); the outbox is looked into for the others. Where a wait ends without all of its events,
the bus may be away, or the relay behind: after a few such waits in a row nobody waits, until one that is tried now and
then is not in vain.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection
from uuid import UUID

from store.database.breaker import Breaker, BreakerConfig, BreakerState

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.025  # for events that were published before the feed was there, or will never be
# One wait in five seconds finds out that the bus is back. It costs one thread the length of one wait.
BREAKER = BreakerConfig(
    failure_threshold=3, window_s=30.0, open_s=5.0, probe_interval_s=5.0, half_open_max_calls=1, half_open_successes=1
)

# Of those events that wait no more, whether the bus has them; None: nobody can tell now.
Look = Callable[[Collection[UUID]], dict[UUID, bool] | None]
# Those that are heard of within so many seconds; None: there is no more time for waiting.
Hear = Callable[[Collection[UUID], float], set[UUID] | None]


class Publication:
    """Used by many threads.

    wait_s  how long one wait is at most; 0: look once, never wait
    """

    def __init__(self, wait_s: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._wait_s = wait_s
        self._now = now
        self._lock = threading.Lock()
        self._breaker = Breaker(BREAKER, now=now())
        self._awaited = True

    def published(self, event_ids: Collection[UUID], *, look: Look, hear: Hear) -> set[UUID]:
        """Which of the events are on the bus."""
        asked = set(event_ids)
        missing = asked - (hear(asked, 0.0) or set()) if asked else asked
        if not missing:
            return asked
        ticket = self._enter()
        if ticket is not None:
            return asked - self._wait(missing, ticket, look, hear)
        ends = look(missing) or {}
        return asked - {id_ for id_ in missing if not ends.get(id_)}

    @property
    def awaited(self) -> bool:
        """False while waiting is known to be in vain."""
        return self._awaited

    def _wait(self, missing: set[UUID], ticket: int, look: Look, hear: Hear) -> set[UUID]:
        """What is not on the bus at the end."""
        deadline = self._now() + self._wait_s
        refused: set[UUID] = set()
        leave = self._breaker.released
        try:
            while (heard := hear(missing, min(LOOK_INTERVAL_S, self._wait_s))) is not None:
                missing = missing - heard
                ends = look(missing) if missing else {}
                if ends is None:
                    break
                refused |= {id_ for id_, on_bus in ends.items() if not on_bus}
                missing -= ends.keys()
                if not missing or self._now() >= deadline:
                    leave = self._breaker.failed if missing else self._breaker.succeeded
                    break
        finally:
            with self._lock:
                leave(ticket, self._now())
            self._tell()
        return missing | refused

    def _enter(self) -> int | None:
        if self._wait_s <= 0:
            return None
        with self._lock:
            ticket = self._breaker.enter(self._now())
        self._tell()
        return ticket

    def _tell(self) -> None:
        """Log a change, once; a wait that only tries is none."""
        with self._lock:
            state = self._breaker.state(self._now())
            before, self._awaited = self._awaited, state is BreakerState.CLOSED
            if state is BreakerState.HALF_OPEN:
                self._awaited = before
            after = self._awaited
        if after and not before:
            logger.info("publication_awaited")
        elif before and not after:
            logger.warning("publication_not_awaited")
