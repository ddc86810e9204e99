"""One round of a relay: take shards of the outbox, publish what waits in them, note what became of each event.

    take shards -> read by seq -> publish -> refused ones to `<topic>.dlq` -> settle -> release

Nothing is settled before the bus has it, so a relay that dies on the way leaves events that are published again: at
least once. While it holds a shard nobody else publishes of it, so a key's events reach the bus in the order of their
seq. An event that the bus did not take holds back what follows it under its key: that is published again behind it.
A topic that the bus does not take is left out of the next rounds, and then tried again behind the rest:
worker/relay/pauses.py. While that lasts, a key's order is kept within each topic.
"""

import logging
import math
import time
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import orjson

from omninode_bridge.bus.envelope import DLQ_SUFFIX
from omninode_bridge.contract.clock import now
from store.database.pool import Conn
from store.outbox import outbox
from store.outbox.outbox import PendingEvent
from worker.bus import Bus, BusMessage, Delivery
from worker.relay.pauses import Pauses

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
    """A batch's events by what became of them.

    waiting  how many are away, or behind such a one under its key
    away     the topics of the former, and what the bus said
    """

    published: list[PendingEvent]
    refused: list[Refusal]
    waiting: int
    away: dict[str, str]


def shares(relays: int, random: Random) -> list[list[int]]:
    """Every shard once, in random order, in as many shares as there are relays: each finds some that are free."""
    shards = random.sample(range(outbox.SHARDS), outbox.SHARDS)
    size = math.ceil(outbox.SHARDS / max(1, relays))
    return [shards[start : start + size] for start in range(0, len(shards), size)]


def run_round(
    conn: Conn, bus: Bus, shards: Sequence[int], *, rows_limit: int, timeout_s: float, pauses: Pauses | None = None
) -> Counts:
    """Publish up to `rows_limit` events of those of the shards that nobody else holds.

    pauses  what to leave out; what went and what did not is noted there
    Raises what PostgreSQL raises. The shards may then still be held: close the connection, and they are free.
    """
    pauses = pauses or Pauses()
    taken = outbox.take_shards(conn, shards)
    if not taken:
        return Counts()
    events = outbox.pending(conn, taken, rows_limit=rows_limit, without=pauses.left_out(time.monotonic()))
    on_trial = [event for event in events if pauses.on_trial(event.topic)]
    others = [event for event in events if not pauses.on_trial(event.topic)]
    patience_s = pauses.patience_s({event.topic for event in on_trial}, most_s=timeout_s)
    counts = _publish(conn, bus, others, pauses, timeout_s)
    counts = counts.plus(_publish(conn, bus, on_trial, pauses, patience_s))
    outbox.release_shards(conn, taken)
    return counts


def _publish(conn: Conn, bus: Bus, events: Sequence[PendingEvent], pauses: Pauses, timeout_s: float) -> Counts:
    if not events:
        return Counts()
    messages = [BusMessage(event.topic, event.partition_key, event.value(), event.headers()) for event in events]
    done = sort_out(events, bus.publish(messages, timeout_s=timeout_s))
    kept, stuck = _to_dead_letter_topics(bus, done.refused, timeout_s)
    if done.published or kept:
        outbox.settle(conn, published=[event.id for event in done.published], refused=kept)
    for event, reason in kept:
        logger.warning("event_refused", extra={"fields": _fields(event, reason)})
    went = {event.topic for event in done.published} | {event.topic for event, _ in kept}
    away = done.away | {event.topic: reason for event, reason in stuck}
    pauses.note(went=went, away=away, now=time.monotonic())
    return Counts(len(done.published), len(kept), done.waiting + len(stuck), next(iter(away.values()), ""))


def sort_out(events: Sequence[PendingEvent], deliveries: Sequence[Delivery]) -> Sorted:
    """What may be settled; `deliveries` are of the events, in their order.

    Behind an event that is away nothing of its key may: it would stay before that event for ever.
    """
    published: list[PendingEvent] = []
    refused: list[Refusal] = []
    away: dict[str, str] = {}
    held: set[str] = set()
    for event, delivery in zip(events, deliveries, strict=True):
        if delivery.status == "away":
            away.setdefault(event.topic, delivery.reason or "away")
            held.add(event.partition_key)
        elif event.partition_key in held:
            continue
        elif delivery.status == "published":
            published.append(event)
        else:
            refused.append((event, delivery.reason))
    return Sorted(published, refused, len(events) - len(published) - len(refused), away)


# ---- what the bus refused -------------------------------------------------------------------------------------------


def _to_dead_letter_topics(
    bus: Bus, refused: Sequence[Refusal], timeout_s: float
) -> tuple[list[Refusal], list[Refusal]]:
    """Tell the topics' DLQs. Returns the events that are done with, and those whose DLQ is away, with what it said.

    What is too large there too goes without its content, and what is refused even then stays a dead letter of the
    database alone. Where the DLQ is away, the event waits and is tried again as a whole.
    """
    done: list[Refusal] = []
    away: list[Refusal] = []
    left = list(refused)
    for whole in (True, False):
        shorter: list[Refusal] = []
        for refusal, delivery in _tell(bus, left, timeout_s, whole=whole):
            if delivery.status == "away":
                away.append((refusal[0], f"dead letters: {delivery.reason or 'away'}"))
            elif delivery.status == "refused" and whole:
                shorter.append(refusal)
            else:
                if delivery.status == "refused":
                    logger.warning("dead_letter_record_refused", extra={"fields": _fields(refusal[0], delivery.reason)})
                done.append(refusal)
        left = shorter
    return done, away


def _tell(bus: Bus, refused: Sequence[Refusal], timeout_s: float, *, whole: bool) -> list[tuple[Refusal, Delivery]]:
    if not refused:
        return []
    messages = [dead_letter_record(event, reason, whole=whole) for event, reason in refused]
    return list(zip(refused, bus.publish(messages, timeout_s=timeout_s), strict=True))


def dead_letter_record(event: PendingEvent, reason: str, *, whole: bool) -> BusMessage:
    """The platform's record about an event that its producer could not publish (spec 4.6), under the event's key.

    Not `whole`: payload and metadata are empty. It stays an envelope of the fleet's, by which a consumer knows that it
    is to pass it over.
    """
    said = event if whole else _emptied(event)
    record = {
        "original_topic": event.topic,
        "original_key": event.partition_key,
        "original_data": orjson.Fragment(said.value()),
        "failure_reason": reason,
        "failure_timestamp": now().isoformat(),
        "retry_attempts": event.attempts,
    }
    return BusMessage(event.topic + DLQ_SUFFIX, event.partition_key, orjson.dumps(record), event.headers())


def _emptied(event: PendingEvent) -> PendingEvent:
    envelope = None if event.envelope is None else event.envelope | {"metadata": {}}
    return event._replace(payload={}, envelope=envelope)


def _fields(event: PendingEvent, reason: str) -> dict[str, Any]:
    return {"event_id": str(event.id), "topic": event.topic, "key": event.partition_key, "reason": reason}
