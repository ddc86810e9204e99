"""What relays have just published, heard from PostgreSQL in the moment in which they note it.

One thread with a connection of its own, from the first question on. It is a hint, not the truth: while the connection
is away nothing is heard, and what was published before somebody asked may be forgotten. Who has not heard of an event
looks into the outbox (publication.py).
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection
from uuid import UUID

from omninode_bridge.client.backoff import RECONNECT
from store.database.pool import PoolConfig, lone_connection
from store.outbox import outbox

logger = logging.getLogger(__name__)

REMEMBERED = 20_000  # events: a second's worth of a relay at full speed; who asks does so within milliseconds
WAIT_STEP_S = 0.5  # within this time the thread notices that it is to stop


class Feed:
    """Used by many threads."""

    def __init__(self, database: PoolConfig) -> None:
        self._database = database
        self._changed = threading.Condition()
        self._heard: OrderedDict[UUID, None] = OrderedDict()  # the last ones, the oldest first
        self._stopping = False
        self._thread: threading.Thread | None = None

    def wait(self, event_ids: Collection[UUID], timeout_s: float) -> set[UUID] | None:
        """Those of the events that have been heard of, as soon as all have, or after `timeout_s`; None: at the end."""
        wanted = set(event_ids)
        with self._changed:
            if self._stopping:
                return None
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="published-feed", daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: self._stopping or self._heard.keys() >= wanted, timeout=timeout_s)
            return {id_ for id_ in wanted if id_ in self._heard}

    def stop(self) -> None:
        """Nobody waits any more; the thread ends soon."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def open(self) -> None:
        """Let others wait again, after a stop."""
        self.close()
        self._stopping = False

    def close(self) -> None:
        self.stop()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=5)

    def _listen(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                with lone_connection(self._database) as conn:
                    outbox.listen(conn, outbox.PUBLISHED_CHANNEL)
                    failures = 0
                    while not self._stopping:
                        self._remember(outbox.hear_published(conn, WAIT_STEP_S))
            except Exception as error:
                failures += 1
                if failures == 1:
                    fields = {"reason": type(error).__name__}
                    logger.info("published_feed_away", extra={"fields": fields})
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, timeout=RECONNECT.delay_s(failures))

    def _remember(self, event_ids: Collection[UUID]) -> None:
        if not event_ids:
            return
        with self._changed:
            self._heard.update(dict.fromkeys(event_ids))
            while len(self._heard) > REMEMBERED:
                self._heard.popitem(last=False)
            self._changed.notify_all()
