"""The worker's way to the database: its guard (store/database/guard.py), and what only a worker has beside it.

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

from store.database.breaker import Breaker
from store.database.errors import Outage
from store.database.guard import Guard
from store.database.pool import Pool
from store.outbox import outbox
from store.write.apply import Limits
from store.write.progress import Suspects
from worker.process.begun_tasks import BegunTasks
from worker.process.publication import Publication
from worker.process.published_feed import Feed
from worker.process.rate import Rate

logger = logging.getLogger(__name__)
T = TypeVar("T")

HOLD_S = 5.0  # how long fetched work waits for the breaker; far below the broker's visibility timeout
IDLE_WAIT_S = 30.0  # the prober wakes by itself this often, for the breaker's longest time in the open state


class Gate:
    """What tasks are given (tasks/engine.py). Used by many threads.

    publish_wait_s  how long `published` waits at most
    begun           the tasks that this worker has begun
    on_pause        called with True when work should stay in the broker, with False when it may come again; from any
                    thread
    """

    def __init__(
        self,
        *,
        pool: Pool,
        breaker: Breaker,
        limits: Limits,
        hold_s: float = HOLD_S,
        publish_wait_s: float = 0.0,
        begun: BegunTasks | None = None,
    ) -> None:
        self.limits = limits
        self.suspects = Suspects()
        self.begun = begun or BegunTasks(None)
        self._guard = Guard(pool=pool, breaker=breaker)
        self._hold_s = hold_s
        self._publication = Publication(publish_wait_s)
        self._feed = Feed(pool.config)
        self._rate = Rate()
        self._prober: threading.Thread | None = None

    @property
    def pool(self) -> Pool:
        return self._guard.pool

    @property
    def on_pause(self) -> Callable[[bool], None]:
        return self._guard.on_open

    @on_pause.setter
    def on_pause(self, tell: Callable[[bool], None]) -> None:
        self._guard.on_open = tell

    def open(self) -> None:
        self._guard.open()
        self._feed.open()
        self.begun.open()
        self._prober = threading.Thread(target=self._probe_forever, name="breaker-probe", daemon=True)
        self._prober.start()

    def stop_waiting(self) -> None:
        """The worker is stopping: what waits for the database goes back to the broker at once."""
        self.begun.forgive()
        self._guard.stop_waiting()
        self._feed.stop()

    def close(self) -> None:
        self.stop_waiting()
        if self._prober is not None:
            self._prober.join(timeout=5)
        self._feed.close()
        self._guard.close()
        self.begun.close()

    def run(self, work: Callable[[Any], T]) -> T:
        """Call `work` with a connection in autocommit mode.

        Raises Outage when the database is away, or was and is not yet trusted again: leave the message in the broker.
        Whatever else `work` raises comes through.
        """
        return self._guard.run(work, hold_s=self._hold_s)

    def deaths(self, task_id: str) -> int:
        """How many workers a message took with it, where it is known to be the reason; else 0."""
        return self.begun.deaths(task_id)

    @property
    def settled_total(self) -> int:
        """Operations whose outcome is committed, since the worker began."""
        return self._rate.total

    def settled(self, operations: int) -> None:
        """Count operations whose outcome is committed."""
        self._rate.add(operations, now=time.monotonic())

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the worker lives."""
        self._guard.wait(seconds)

    @property
    def stopping(self) -> bool:
        """Whether the worker is: `wait` returns at once from then on."""
        return self._guard.stopping

    def published(self, event_ids: Collection[UUID]) -> set[UUID]:
        """Which of these committed events are on the bus, after waiting for them a little; nothing is raised."""
        return self._publication.published(event_ids, look=self._look, hear=self._feed.wait)

    @property
    def paused(self) -> bool:
        return self._guard.is_open

    def state(self) -> dict[str, Any]:
        """What `fleet status` shows of this worker's database side; plain values."""
        return {
            "paused": self.paused,
            **self._guard.state(),
            "publication_awaited": self._publication.awaited,
            "operations_total": self._rate.total,
            "operations_per_second": self._rate.per_second(now=time.monotonic()),
        }

    def _look(self, event_ids: Collection[UUID]) -> dict[UUID, bool] | None:
        """Their effect is committed: a database that has gone away since costs this answer nothing but its detail."""
        try:
            return self._guard.run(lambda conn: outbox.ends(conn, list(event_ids)), hold_s=0.0)
        except Outage:
            return None
        except Exception:
            logger.exception("publication_unknown")
            return None

    def _probe_forever(self) -> None:
        while not self._guard.stopping:
            self._guard.wait_to_probe(idle_s=IDLE_WAIT_S)
            self._guard.probe()
