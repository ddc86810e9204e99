"""From the event bus into the fleet: read, map, submit, and commit what is confirmed. docs/events.md tells the story.

A record is done when the fleet has confirmed its operation: applied, a duplicate, or refused and kept, in which case
its dead letter must stand on the bus as well. Only the contiguous prefix of done records of each partition is committed
(prefix.py), so whatever happens to this process, the bus delivers the rest again, and the ledger counts it once.

One thread does all of it; the client's thread only puts confirmations into a queue.
"""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

from omninode_bridge.bus.queries import consumed_item
from omninode_bridge.client.backoff import RECONNECT
from omninode_bridge.contract.clock import now
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.wire import Item
from worker.bus import Bus, BusConsumer, BusMessage, BusRecord, Partition
from worker.bus.protocol import BusAway
from worker.intake.bus_values import is_own, value_of
from worker.intake.confirmed_prefix import Prefix, Ticket
from worker.intake.dlq_record import dead_letter, is_dead_letter
from worker.intake.ingest import Confirmation

POLL_RECORDS = 500  # the client's batch, and bounds by how much one reading can overshoot the bytes
POLL_S = 0.1  # how long an idle reading lasts, and so how late a confirmation may be noticed
DEAD_LETTER_TIMEOUT_S = 2.0  # for one try; nothing is read meanwhile
REPORT_INTERVAL_S = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ConsumeConfig:
    """What one consumer does.

    max_records, max_bytes  read and not committed; beyond either it reads no more (by one reading at most)
    commit_every_s          no more than one commit in that time, but for the last one and that of a lost partition
    lost_wait_s             how long a partition that goes to another member may hold the rebalance up
    stop_s                  how long a warm stop waits for confirmations
    """

    group: str
    topics: tuple[str, ...]
    max_records: int = 5000
    max_bytes: int = 64 << 20
    commit_every_s: float = 0.2
    lost_wait_s: float = 5.0
    stop_s: float = 20.0

    def __post_init__(self) -> None:
        if not self.group or not self.topics or min(self.max_records, self.max_bytes) < 1:
            raise ValueError("group, topics, max_records, max_bytes: empty or less than 1")


@dataclass
class Counts:
    """What became of the records so far.

    own    passed over: what the fleet itself published, and tombstones
    dlq    dead letters that stand on the bus now; `dlq_refused` those that it would not take
    """

    records: int = 0
    applied: int = 0
    duplicate: int = 0
    refused: int = 0
    own: int = 0
    committed: int = 0
    dlq: int = 0
    dlq_refused: int = 0


_Note = tuple[Ticket, UUID | None, Confirmation]


class Consumption:
    """One member of the group. `submit` hands an item to the fleet, and must not wait for room."""

    def __init__(self, config: ConsumeConfig, *, bus: Bus, submit: Callable[[Item], Confirmation]) -> None:
        self.counts = Counts()
        self._config = config
        self._bus = bus
        self._submit = submit
        self._consumer: BusConsumer | None = None
        self._prefix = Prefix()
        self._notes: SimpleQueue[_Note | None] = SimpleQueue()  # its `put` is safe in a signal handler
        self._letters: list[tuple[Ticket, BusMessage]] = []
        self._letters_tries = 0
        self._letters_due = self._commit_due = 0.0
        self._stopping = False
        self._reported = (0.0, "")

    @property
    def under_way(self) -> int:
        """Records read and not confirmed."""
        return self._prefix.unconfirmed

    # ---- its life -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Go on until `stop`, then finish warm: confirmations are waited for, committed, and the group is left."""
        logger.info("consume_started", extra={"fields": {"group": self._config.group, "bus": self._bus.name}})
        tries = 0
        while not self._stopping:
            try:
                self.run_once(time.monotonic())
            except BusAway as error:
                tries += 1
                if tries == 1:
                    logger.warning("bus_away", extra={"fields": {"error": str(error)}})
                self._rest(RECONNECT.delay_s(tries))
            else:
                if tries:
                    logger.info("bus_back", extra={"fields": {"tries": tries}})
                tries = 0
            self._report(time.monotonic())
        self.finish()

    def stop(self) -> None:
        """Read no more. Safe in a signal handler, and any number of times."""
        self._stopping = True
        self._notes.put(None)

    def run_once(self, now_s: float, *, reading: bool = True) -> int:
        """One round at monotonic time `now_s`; returns how many records were read.

        Raises BusAway: nothing is lost, and the next round goes on.
        """
        self._take_notes(0)
        self._write_letters(now_s)
        if now_s >= self._commit_due:
            self._commit_due = now_s + self._config.commit_every_s
            self._commit()
        records = self._read(self._room() if reading else 0)
        for record in records:
            self._begin(record)
        return len(records)

    def finish(self) -> None:
        """Wait, at most `stop_s`, for what is under way, commit what is confirmed, and leave the group."""
        deadline = time.monotonic() + self._config.stop_s
        while self.under_way and time.monotonic() < deadline:
            self._take_notes(POLL_S)
            self._try(lambda: self.run_once(time.monotonic(), reading=False))
        self._stopping = True  # and a partition that is lost from here on waits for nothing
        self._try(self._commit)
        if self._consumer is not None:
            self._consumer.close()
        logger.info("consume_stopped", extra={"fields": self._summary()})

    # ---- one round ------------------------------------------------------------------------------------------------

    def _room(self) -> int:
        if self._prefix.byte_count >= self._config.max_bytes:
            return 0
        return min(POLL_RECORDS, self._config.max_records - self._prefix.count)

    def _read(self, limit: int) -> list[BusRecord]:
        if self._consumer is None:
            config = self._config
            self._consumer = self._bus.consumer(config.group, config.topics, on_lost=self._lost)
        if limit > 0:
            return self._consumer.poll(limit, POLL_S)
        records = self._consumer.poll(0, 0.0)
        if not self._stopping:
            self._take_notes(POLL_S)
        return records

    def _begin(self, record: BusRecord) -> None:
        self.counts.records += 1
        ticket = self._prefix.delivered(record)
        value = None if record.value is None else value_of(record.value)
        if record.value is None or is_own(record.topic, record.key, value):
            self.counts.own += 1
            self._prefix.done(ticket)
            return
        item = consumed_item(record.topic, record.key, value, timestamp=record.timestamp_ms)
        self._submit(item).add_done_callback(partial(self._note, ticket, item.correlation_id))

    def _note(self, ticket: Ticket, correlation_id: UUID | None, confirmation: Confirmation) -> None:
        """In the client's thread."""
        self._notes.put((ticket, correlation_id, confirmation))

    def _take_notes(self, wait_s: float) -> None:
        """Take every confirmation that is there, waiting for the first; `stop` ends the waiting."""
        try:
            note = self._notes.get(timeout=wait_s) if wait_s else self._notes.get_nowait()
            while True:
                if note is not None:
                    self._confirm(*note)
                note = self._notes.get_nowait()
        except Empty:
            return

    def _confirm(self, ticket: Ticket, correlation_id: UUID | None, confirmation: Confirmation) -> None:
        try:
            outcome = confirmation.result(0)
        except OnexError:
            return  # the client was closed before: it is not confirmed, and the bus delivers it again
        self._count(outcome)
        if outcome.committed or ticket.is_lost or is_dead_letter(ticket.record):
            self._prefix.done(ticket)
            return
        letter = dead_letter(ticket.record, outcome, correlation_id=correlation_id, at=now())
        self._letters.append((ticket, letter))

    def _count(self, outcome: Outcome) -> None:
        if outcome.status == "applied":
            self.counts.applied += 1
        elif outcome.status == "duplicate":
            self.counts.duplicate += 1
        else:
            self.counts.refused += 1

    # ---- dead letters ---------------------------------------------------------------------------------------------

    def _write_letters(self, now_s: float) -> None:
        """Publish those that wait, and when the bus is away, again later."""
        if not self._letters or now_s < self._letters_due:
            return
        tried, self._letters = self._letters[:POLL_RECORDS], self._letters[POLL_RECORDS:]
        deliveries = self._bus.publish([letter for _, letter in tried], timeout_s=DEAD_LETTER_TIMEOUT_S)
        away = []
        for (ticket, letter), delivery in zip(tried, deliveries, strict=True):
            if delivery.status == "away":
                away.append((ticket, letter))
                continue
            self._written(ticket, letter, delivery.reason if delivery.status == "refused" else None)
        self._letters = away + self._letters
        self._letters_tries = self._letters_tries + 1 if away else 0
        self._letters_due = now_s + RECONNECT.delay_s(self._letters_tries) if away else now_s

    def _written(self, ticket: Ticket, letter: BusMessage, refused: str | None) -> None:
        if refused is None:
            self.counts.dlq += 1
        else:  # the fleet keeps what was refused all the same
            self.counts.dlq_refused += 1
            logger.error("dead_letter_refused", extra={"fields": {"topic": letter.topic, "reason": refused}})
        self._prefix.done(ticket)

    # ---- commits --------------------------------------------------------------------------------------------------

    def _commit(self, places: Collection[Partition] | None = None) -> None:
        records = self._prefix.committable(places)
        if not records or self._consumer is None:
            return
        self._consumer.commit(records)
        self._prefix.committed(records)
        self.counts.committed += len(records)

    def _lost(self, places: Collection[Partition]) -> None:
        """Partitions go to another member: give what is under way there a moment, commit it, forget the rest."""
        deadline = time.monotonic() + (0.0 if self._stopping else self._config.lost_wait_s)
        while self._prefix.is_waiting(places) and time.monotonic() < deadline:
            self._take_notes(0.02)
            self._write_letters(time.monotonic())
        self._try(lambda: self._commit(places))
        self._prefix.forget(places)
        for ticket, _ in self._letters:
            if ticket.is_lost:
                self._prefix.done(ticket)
        self._letters = [(ticket, letter) for ticket, letter in self._letters if not ticket.is_lost]
        logger.info("partitions_lost", extra={"fields": {"partitions": len(places)}})

    # ---- waiting and telling --------------------------------------------------------------------------------------

    def _try(self, action: Callable[[], object]) -> None:
        """Where the bus may be away and nothing more can be done about it: what is not committed comes again."""
        try:
            action()
        except BusAway as error:
            logger.debug("bus_away", extra={"fields": {"error": str(error)}})

    def _rest(self, seconds: float) -> None:
        """Let time pass; confirmations are taken meanwhile."""
        deadline = time.monotonic() + seconds
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            self._take_notes(left)

    def _summary(self) -> dict[str, Any]:
        return {**asdict(self.counts), "under_way": self.under_way}

    def _report(self, now_s: float) -> None:
        """A line now and then, when something has happened since the last one."""
        due, before = self._reported
        if now_s < due:
            return
        told = repr(self._summary())
        if told != before and self.counts.records:
            logger.info("consuming", extra={"fields": self._summary()})
        self._reported = (now_s + REPORT_INTERVAL_S, told)
