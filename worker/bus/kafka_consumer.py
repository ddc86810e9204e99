"""One member of a consumer group.

Partitions are dealt out anew whenever a member or a topic comes or goes: all of them go back first, each member commits
what it has done, then they are assigned (the eager protocol). What is revoked may be committed in the callback and no
later; what was lost, because the group went on without this member, may not be committed at all.

Topics are looked up here rather than by librdkafka, so that a pattern means the same as on the other bus.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, TopicPartition

from worker.bus import kafka_library
from worker.bus.kafka_library import FAILURES, kafka_error
from worker.bus.kafka_settings import KafkaSettings
from worker.bus.protocol import BusAway, BusRecord, Partition
from worker.bus.subscription import Subscription

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 2.0  # between two looks for new topics
LOOK_TIMEOUT_S = 2.0
INTERNAL_PREFIX = "__"  # Kafka's own topics

# The group has gone on without this member: its records come again, to whoever has their partition now.
_GONE = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError._ASSIGNMENT_LOST,
}
# Told besides records: news, not an obstacle.
_NEWS = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._MAX_POLL_EXCEEDED}


class KafkaConsumer:
    """See worker.bus.protocol.BusConsumer."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        group: str,
        topics: Sequence[str],
        on_lost: Callable[[Collection[Partition]], None],
    ) -> None:
        self._settings = settings
        self._group = group
        self._subscription = Subscription(topics)
        self._on_lost = on_lost
        self._consumer: Any = None
        self._topics: list[str] = []
        self._next_look_s = 0.0
        self._assigned: set[Partition] = set()
        self._first: dict[Partition, int] = {}  # offset of the first record given out since it was assigned
        self._kept: deque[BusRecord] = deque()  # read, and not yet given out
        self._reading: bool | None = True  # None: not known
        self._trouble: Any = None  # the last thing said to be wrong
        self._raised: Exception | None = None  # by on_lost

    def poll(self, limit: int, timeout_s: float) -> list[BusRecord]:
        self._trouble = None
        for step in (self._look, lambda: self._read(limit, timeout_s)):  # read in any case: it serves the callbacks
            try:
                step()
            except FAILURES as failure:
                self._note(kafka_error(failure))
        if self._trouble is not None and self._trouble.fatal():
            self._discard()
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised
        records = [self._kept.popleft() for _ in range(min(limit, len(self._kept)))]
        if self._trouble is not None and not records:
            raise self._away(self._trouble)
        for record in records:
            self._first.setdefault(record.place, _offset(record))
        return records

    def commit(self, records: Sequence[BusRecord]) -> None:
        ends: dict[Partition, int] = {}
        for record in records:
            if _offset(record) >= self._first.get(record.place, _offset(record) + 1):
                ends[record.place] = max(_offset(record) + 1, ends.get(record.place, 0))
        if not ends:
            return
        offsets = [TopicPartition(topic, number, end) for (topic, number), end in sorted(ends.items())]
        try:
            # A commit has no time limit of its own: first see that the coordinator answers.
            self._consumer.committed(offsets[:1], timeout=self._settings.timeout_s)
            answers = self._consumer.commit(offsets=offsets, asynchronous=False)
            errors = [answer.error for answer in answers if answer.error is not None]
        except FAILURES as failure:
            errors = [kafka_error(failure)]
        if serious := [error for error in errors if error.code() not in _GONE]:
            raise self._away(serious[0])
        if errors:
            log.info("bus_commit_dropped", extra={"fields": {"reason": errors[0].str()}})

    def close(self) -> None:
        self._assigned.clear()  # nobody is to be told
        self._discard()

    def _joined(self) -> Any:
        if self._consumer is None:
            config = {**self._settings.consumer, "group.id": self._group, "error_cb": self._note}
            self._consumer = Consumer(config, logger=kafka_library.log)
        return self._consumer

    def _look(self) -> None:
        """Subscribe to what there is now, every `LOOK_INTERVAL_S`."""
        if time.monotonic() < self._next_look_s:
            return
        consumer = self._joined()
        try:
            there = consumer.list_topics(timeout=LOOK_TIMEOUT_S).topics
        finally:
            self._next_look_s = time.monotonic() + LOOK_INTERVAL_S
        topics = sorted(t for t in there if self._subscription.takes(t) and not t.startswith(INTERNAL_PREFIX))
        if topics != self._topics:
            log.info("bus_subscribed", extra={"fields": {"topics": len(topics)}})
            consumer.subscribe(topics, on_assign=self._gained, on_revoke=self._revoked, on_lost=self._lost)
            self._topics = topics

    def _read(self, limit: int, timeout_s: float) -> None:
        """What the library has, and in any case a turn for its callbacks, on which the membership depends."""
        consumer = self._joined()
        self._pause_or_resume(consumer, reading=limit > 0)
        wait_s = timeout_s if len(self._kept) < max(limit, 1) and not (self._kept and limit) else 0
        first = consumer.consume(1, wait_s)  # waits for all that it is asked for: so for one
        self._keep(first)
        if first and (more := limit - len(self._kept)) > 0:
            self._keep(consumer.consume(more, 0))

    def _pause_or_resume(self, consumer: Any, *, reading: bool) -> None:
        if reading is not self._reading:
            change = consumer.resume if reading else consumer.pause
            change(consumer.assignment())
            self._reading = reading

    def _keep(self, messages: Sequence[Any]) -> None:
        for message in messages:
            if message.error() is not None:
                self._note(message.error())
            elif (message.topic(), message.partition()) in self._assigned:
                self._kept.append(_record(message))

    def _gained(self, consumer: Any, partitions: Sequence[Any]) -> None:
        self._assigned |= _places(partitions)
        self._reading = None  # a pause may outlive a revocation: one that comes back may still be paused

    def _revoked(self, consumer: Any, partitions: Sequence[Any]) -> None:
        """The last moment in which they can be committed. Nothing may be raised through the library."""
        places = _places(partitions) & self._assigned
        try:
            if places:
                self._on_lost(places)
        except Exception as error:
            self._raised = error
        self._forget(places)

    def _lost(self, consumer: Any, partitions: Sequence[Any]) -> None:
        for place in _places(partitions):
            self._first.pop(place, None)  # so that commits have no effect
        self._revoked(consumer, partitions)

    def _forget(self, places: Collection[Partition]) -> None:
        self._assigned.difference_update(places)
        self._kept = deque(record for record in self._kept if record.place not in places)
        for place in places:
            self._first.pop(place, None)

    def _discard(self) -> None:
        """Leave the group; the next poll joins it anew."""
        consumer, self._consumer = self._consumer, None
        self._lost(consumer, [TopicPartition(*place) for place in self._assigned])
        self._topics, self._next_look_s, self._reading = [], 0.0, True
        self._first.clear()
        self._kept.clear()
        try:
            if consumer is not None:
                consumer.close()
        except (*FAILURES, RuntimeError) as error:
            log.warning("bus_consumer_not_closed", extra={"fields": {"reason": self._settings.scrubbed(str(error))}})

    def _note(self, error: Any) -> None:
        if error.code() in _NEWS:
            log.warning("bus_consumer_told", extra={"fields": {"reason": self._settings.scrubbed(error.str())}})
        elif self._trouble is None or not self._trouble.fatal():
            self._trouble = error

    def _away(self, error: Any) -> BusAway:
        return BusAway(self._settings.scrubbed(error.str()))


def _places(partitions: Sequence[Any]) -> set[Partition]:
    return {(partition.topic, partition.partition) for partition in partitions}


def _offset(record: BusRecord) -> int:
    return int(record.offset)


def _record(message: Any) -> BusRecord:
    kind, timestamp_ms = message.timestamp()
    return BusRecord(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        key=_text(message.key()),
        value=message.value(),
        timestamp_ms=None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms,
        headers={name: _text(value) or "" for name, value in message.headers() or ()},
    )


def _text(value: bytes | None) -> str | None:
    """Not everybody's key is text; what is not UTF-8 is shown as its escapes."""
    return None if value is None else value.decode(errors="backslashreplace")
