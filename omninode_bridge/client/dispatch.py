"""The client's two threads: one sends batches, one takes their confirmations in.

    submitted -> buffered -> sent -> confirmed
                             ^  |
                             |  no confirmation in time: due again
                             |  |
                             +--+ held back while messages wait in the queue and none sent later came through

Both go on when the broker is away: what was not sent stays, what was sent is asked for again.
"""

import logging
import threading
import time
from dataclasses import dataclass

from omninode_bridge.client.backoff import RECONNECT, Backoff
from omninode_bridge.client.buffer import Batch
from omninode_bridge.client.confirmation import OddAnswerError, read_confirmation
from omninode_bridge.client.handle import Home, settle
from omninode_bridge.client.pending import Pending
from omninode_bridge.client.sender import Away, Confirmations, Route, Sender

JOIN_S = 0.5  # how long the end of the client waits for a thread that is stuck in a socket; it ends by itself later
FORGET_COUNT = 100  # read answers are removed by the hundred: one command, a second's worth at full rate
MISSED_SWEEPS = 2  # sweeps in a row that find what nobody told of: then the subscription is no good

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How often the threads look around. Seconds; tests are in more of a hurry.

    sweep   an answer that nobody told of is found after this time; longer when there are very many to ask for
    listen  the longest wait for an answer, and so for the end of the client
    hold    how long batches are held back before the queue is looked at again
    """

    sweep_s: float = 0.5
    listen_s: float = 0.2
    hold_s: float = 1.0
    reconnect: Backoff = RECONNECT


class Dispatch:
    """Runs the threads from `start` to `stop`."""

    def __init__(self, pending: Pending, *, route: Route, home: Home, pace: Pace) -> None:
        self.broker_available = True
        self.last_error: str | None = None
        self._pending = pending
        self._home = home
        self._pace = pace
        self._sender = Sender(route)
        self._confirmations = Confirmations(route, task_id_prefix=pending.task_ids.prefix)
        self._stop = threading.Event()
        self._troubles: set[str] = set()  # what is away now: "sending", "confirming"
        self._read: list[str] = []  # task ids whose stored answer can go
        self._threads = [
            threading.Thread(target=self._send_all, name="fleet-client-send", daemon=True),
            threading.Thread(target=self._confirm_all, name="fleet-client-confirm", daemon=True),
        ]
        self._sweep_at = 0.0
        self._missed = 0

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Tell the threads to end (`Pending.stop` wakes the sending one) and wait a moment for them."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(JOIN_S)

    def is_own_thread(self) -> bool:
        """Whether the caller is a callback in the confirming thread, which must not wait for confirmations."""
        return threading.current_thread() in self._threads

    # ---- sending --------------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        failures = 0
        while (batch := self._pending.next_batch()) is not None:
            try:
                self._send(batch)
                failures = 0
                self._trouble_over("sending")
            except Exception as error:
                self._pending.unsent(batch)
                failures += 1
                self._trouble("sending", error)
                self._stop.wait(self._pace.reconnect.delay_s(failures))
        self._sender.close()

    def _send(self, batch: Batch) -> None:
        if batch.times_sent:
            hold = self._must_hold(batch)
            self._pending.hold_resends(self._pace.hold_s if hold else 0)
            if hold:
                return
        self._sender.send(batch)
        self._pending.sent(batch)

    def _must_hold(self, batch: Batch) -> bool:
        """Whether the batch very likely still waits in the queue: another copy would only lengthen it."""
        return not self._pending.overtaken(batch) and self._sender.backlog() > 0

    # ---- confirming -----------------------------------------------------------------------------------------------

    def _confirm_all(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._listen()
                failures = 0
            except Exception as error:
                failures += 1
                self._trouble("confirming", error)
                self._stop.wait(self._pace.reconnect.delay_s(failures))
        self._end_confirming()

    def _listen(self) -> None:
        now = time.monotonic()
        told = self._confirmations.receive(max(0.0, min(self._pace.listen_s, self._sweep_at - now)))
        if self._confirmations.listening:
            self._trouble_over("confirming")
        if told == ("", b""):
            self._sweep(older_than_s=0.0)
        elif told is not None:
            self._confirm(*told)
        if time.monotonic() >= self._sweep_at:
            self._notice_missed(self._sweep(older_than_s=self._pace.sweep_s))

    def _sweep(self, *, older_than_s: float) -> int:
        """Ask for the answers to all batches of that age; returns how many it confirmed."""
        task_ids = self._pending.unconfirmed(older_than_s=older_than_s)
        found = sum(self._confirm(task_id, raw) for task_id, raw in self._confirmations.look_up(task_ids))
        self._forget(at_least=1)
        self._sweep_at = time.monotonic() + self._pace.sweep_s * (1 + len(task_ids) / 1000)
        return found

    def _notice_missed(self, found: int) -> None:
        """A subscription can die without an error, where something on the way forgets idle connections."""
        self._missed = self._missed + 1 if found else 0
        if self._missed >= MISSED_SWEEPS:
            self._missed = 0
            self._confirmations.close()

    def _confirm(self, task_id: str, raw: bytes) -> bool:
        batch = self._pending.find(task_id)
        if batch is None or raw == batch.odd_answer:
            return False
        try:
            outcomes = read_confirmation(raw, [handle.operation_id for handle in batch.handles])
        except OddAnswerError as error:
            batch.odd_answer = raw
            self.last_error = f"task {task_id}: {error}"
            logger.warning("%s; its %d operations will be sent again", self.last_error, len(batch.handles))
            return False
        if outcomes is None:
            return False
        settle(batch.handles, outcomes, home=self._home)
        self._pending.confirm(batch, outcomes)  # after the callbacks, so that a flush has waited for them too
        self._read.append(task_id)
        self._forget(at_least=FORGET_COUNT)
        return True

    def _forget(self, *, at_least: int) -> None:
        if len(self._read) >= at_least:
            read, self._read = self._read, []
            self._confirmations.forget(read)

    def _end_confirming(self) -> None:
        try:
            if "confirming" not in self._troubles:
                self._forget(at_least=1)
        except Away as away:
            logger.debug("read results stay until they expire: %s", away)
        self._confirmations.close()

    # ---- both -----------------------------------------------------------------------------------------------------

    def _trouble(self, what: str, error: Exception) -> None:
        """Note it; log it once, until it is over."""
        self.last_error = str(error) if isinstance(error, Away) else type(error).__name__
        if what not in self._troubles:
            if isinstance(error, Away):
                logger.warning("the fleet's broker is away for %s, work waits: %s", what, error)
            else:
                logger.error("a defect while %s, work waits", what, exc_info=error)
        self._troubles.add(what)
        self.broker_available = False

    def _trouble_over(self, what: str) -> None:
        if what in self._troubles:
            logger.warning("the fleet's broker is back for %s", what)
            self._troubles.discard(what)
            self.broker_available = not self._troubles
