"""One round of a relay: take shards of the outbox, publish what waits in them, note what became of each event.

    take shards -> read by seq -> publish -> refused ones to `<topic>.dlq` -> settle -> release

Nothing is settled before the bus has it, so a relay that dies on the way leaves events that are published again: at
least once. While it holds a shard nobody else publishes of it, so a key's events reach the bus in the order of their
seq. An event that the bus did not take holds back what follows it under its key: that is published again behind it.
"""

import logging
import math
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from omninode_bridge.clock import now
from omninode_bridge.envelope import DLQ_SUFFIX
from store import outbox
from store.outbox import PendingEvent
from store.pool import Conn
from worker.bus import Bus, BusMessage, Delivery

logger = logging.getLogger(__name__)

Refusal = tuple[PendingEvent, str]  # an event that the bus will never take, and why


class Counts(NamedTuple):
    """Events of a round, or of several.

    away     the bus did not take them, so they wait for the next round; those held back behind them among them
    problem  what the bus said about the first of them
    """

    published: int = 0
    refused: int = 0
    away: int = 0
    problem: str = ""

    @property
    def settled(self) -> int:
        return self.published + self.refused

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            self.published + other.published,
            self.refused + other.refused,
            self.away + other.away,
            self.problem or other.problem,
        )


class Sorted(NamedTuple):
    """A batch's events by what became of them."""

    published: list[UUID]
    refused: list[Refusal]
    away: int
    problem: str


def shares(relays: int, random: Random) -> list[list[int]]:
    """Every shard once, in random order, in as many shares as there are relays: each finds some that are free."""
    shards = random.sample(range(outbox.SHARDS), outbox.SHARDS)
    size = math.ceil(outbox.SHARDS / max(1, relays))
    return [shards[start : start + size] for start in range(0, len(shards), size)]


def run_round(conn: Conn, bus: Bus, shards: Sequence[int], *, rows_limit: int, timeout_s: float) -> Counts:
    """Publish up to `rows_limit` events of those of the shards that nobody else holds.

    Raises what PostgreSQL raises. The shards may then still be held: close the connection, and they are free.
    """
    taken = outbox.take_shards(conn, shards)
    if not taken:
        return Counts()
    counts = _publish(conn, bus, outbox.pending(conn, taken, rows_limit=rows_limit), timeout_s)
    outbox.release_shards(conn, taken)
    return counts


def _publish(conn: Conn, bus: Bus, events: Sequence[PendingEvent], timeout_s: float) -> Counts:
    if not events:
        return Counts()
    messages = [BusMessage(event.topic, event.partition_key, event.value(), event.headers()) for event in events]
    done = sort_out(events, bus.publish(messages, timeout_s=timeout_s))
    kept = _to_dead_letter_topics(bus, done.refused, timeout_s)
    if done.published or kept:
        outbox.settle(conn, published=done.published, refused=kept)
    for event, reason in kept:
        logger.warning("event_refused", extra={"fields": _fields(event, reason)})
    lost = len(done.refused) - len(kept)
    problem = done.problem or ("dead letters: the bus did not take them" if lost else "")
    return Counts(len(done.published), len(kept), done.away + lost, problem)


def sort_out(events: Sequence[PendingEvent], deliveries: Sequence[Delivery]) -> Sorted:
    """What may be settled; `deliveries` are of the events, in their order.

    Behind an event that is away nothing of its key may: it would stay before that event for ever.
    """
    done = Sorted([], [], 0, "")
    held: set[str] = set()
    for event, delivery in zip(events, deliveries, strict=True):
        if delivery.status == "away" or event.partition_key in held:
            held.add(event.partition_key)
            done = done._replace(away=done.away + 1, problem=done.problem or delivery.reason or "away")
        elif delivery.status == "published":
            done.published.append(event.id)
        else:
            done.refused.append((event, delivery.reason))
    return done


# ---- what the bus refused -------------------------------------------------------------------------------------------


def _to_dead_letter_topics(bus: Bus, refused: Sequence[Refusal], timeout_s: float) -> list[Refusal]:
    """Tell the topics' DLQs; returns those that are done with.

    What is too large there too goes without its content, and what is refused even then stays a dead letter of the
    database alone. Where the bus is away, the event waits and is tried again as a whole.
    """
    done: list[Refusal] = []
    shorter: list[Refusal] = []
    for refusal, delivery in _tell(bus, refused, timeout_s, whole=True):
        if delivery.status != "away":
            (done if delivery.status == "published" else shorter).append(refusal)
    for refusal, delivery in _tell(bus, shorter, timeout_s, whole=False):
        if delivery.status == "away":
            continue
        if delivery.status == "refused":
            logger.warning("dead_letter_record_refused", extra={"fields": _fields(refusal[0], delivery.reason)})
        done.append(refusal)
    return done


def _tell(bus: Bus, refused: Sequence[Refusal], timeout_s: float, *, whole: bool) -> list[tuple[Refusal, Delivery]]:
    if not refused:
        return []
    messages = [dead_letter_record(event, reason, whole=whole) for event, reason in refused]
    return list(zip(refused, bus.publish(messages, timeout_s=timeout_s), strict=True))


def dead_letter_record(event: PendingEvent, reason: str, *, whole: bool) -> BusMessage:
    """The platform's record about an event that its producer could not publish (spec 4.6), under the event's key.

    Not `whole`: without the envelope's payload and metadata.
    """
    record = {
        "original_topic": event.topic,
        "original_key": event.partition_key,
        "original_data": orjson.Fragment(event.value()) if whole else _headless(event),
        "failure_reason": reason,
        "failure_timestamp": now().isoformat(),
        "retry_attempts": event.attempts,
    }
    return BusMessage(event.topic + DLQ_SUFFIX, event.partition_key, orjson.dumps(record), event.headers())


def _headless(event: PendingEvent) -> dict[str, Any] | None:
    if event.envelope is None:
        return None
    return {name: value for name, value in event.envelope.items() if name not in ("payload", "metadata")}


def _fields(event: PendingEvent, reason: str) -> dict[str, Any]:
    return {"event_id": str(event.id), "topic": event.topic, "key": event.partition_key, "reason": reason}
