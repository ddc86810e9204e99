"""What the fleet asks of an event bus: publish a batch, read as one of a group, say how it is.

A topic has partitions; records with the same key go to the same one and keep their order. Delivery is at least once:
whoever reads knows events by their id. Whatever is wrong with one record is an outcome of its own; a bus that is away
is an outcome too, never an exception, so that a caller has one way to go on.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

Partition = tuple[str, int]  # topic and number


@dataclass(frozen=True, slots=True)
class BusMessage:
    """What is to be published. `value` is the record's bytes; `headers` are text."""

    topic: str
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Delivery(NamedTuple):
    """What became of one message.

    published  the bus has it, durably by its own standard
    refused    the bus will never take it; `reason` says why
    away       not known to be there: publish it again. No later message of its key was published before it, unless
               that one is published again as well
    """

    status: Literal["published", "refused", "away"]
    reason: str = ""


PUBLISHED = Delivery("published")


@dataclass(frozen=True, slots=True)
class BusRecord:
    """What was read.

    offset        its place in the partition, in the bus's own words
    value         None for a tombstone
    timestamp_ms  the bus's own time of it, milliseconds since 1970, where the bus keeps one
    """

    topic: str
    partition: int
    offset: int | str
    key: str | None
    value: bytes | None
    timestamp_ms: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Partition:
        return self.topic, self.partition


class BusConsumer(Protocol):
    """One member of a group, used by one thread. Raises BusAway from any method; the next call tries again."""

    def poll(self, limit: int, timeout_s: float) -> list[BusRecord]:
        """Up to `limit` records, waiting up to `timeout_s` for the first; keeps the membership alive.

        With a limit of 0 none is read, but the membership is kept. Each partition's records come in order; those that
        a dead member had not committed come again, in their own order, to somebody.
        """
        ...

    def commit(self, records: Sequence[BusRecord]) -> None:
        """These are done with: of each partition, the next ones in the order in which `poll` gave them."""
        ...

    def close(self) -> None:
        """Leave the group; what was not committed goes to others at once. Never raises."""
        ...


class Bus(Protocol):
    """Used by one thread, but for `health`."""

    @property
    def name(self) -> str:
        """ "redis" or "kafka"."""
        ...

    def publish(self, messages: Sequence[BusMessage], *, timeout_s: float) -> list[Delivery]:
        """Publish in order; one outcome per message, in input order, within about `timeout_s`. Never raises."""
        ...

    def health(self, timeout_s: float) -> str | None:
        """None when it answers; else what is wrong, in a line without secrets. Never raises."""
        ...

    def consumer(
        self, group: str, topics: Sequence[str], *, on_lost: Callable[[Collection[Partition]], None]
    ) -> BusConsumer:
        """Join a group. A group's first member reads from the earliest record there is.

        topics   names; one that begins with ^ is a regular expression that must match the whole name, and new topics
                 that it matches are found within seconds
        on_lost  called from within `poll` when partitions go to another member, while their records can still be
                 committed; afterwards they cannot
        """
        ...

    def tidy(self) -> int:
        """Remove what every group has acknowledged, where the bus does not do that itself; returns records removed.

        Raises BusAway.
        """
        ...

    def close(self) -> None: ...


class BusAway(Exception):
    """The bus does not answer. The text holds no secret."""
