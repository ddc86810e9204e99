"""Messages that were set aside unread: the newest few, in the broker itself, and how many this process set aside.

In a Redis-protocol broker they are a list, in RabbitMQ a queue of its own; both drop the oldest past a bound.
"""

import base64
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

import orjson
from celery import Celery
from kombu import Queue

from omninode_bridge.client.broker import PUBLISH_RETRY

logger = logging.getLogger(__name__)

UNREADABLE = "unreadable"  # the key, after the prefix; the queue
BROADCAST = "broadcast"  # instead of a queue's name, of what is not kept: every worker has a copy
MAX_KEPT = 500  # of 64 KiB each, a third more as base64: 43 MiB at most
MAX_HEAD_BYTES = 64 << 10
CONNECT_TIMEOUT_S = 3
# A classic queue: what lies there is for people to look at, and may be lost with its node.
_QUEUE = Queue(
    UNREADABLE,
    exchange="",
    routing_key=UNREADABLE,
    durable=True,
    queue_arguments={"x-max-length": MAX_KEPT, "x-overflow": "drop-head"},
)


@dataclass(frozen=True, kw_only=True)
class UnreadableMessage:
    """at  when it was set aside, ISO text; size_bytes  of the whole message; head  its beginning, as it came"""

    id: str
    at: str
    queue: str
    reason: str
    size_bytes: int
    head: bytes


class Shelf(Protocol):
    """Where a broker keeps them."""

    def messages(self) -> list[UnreadableMessage]:
        """All that are kept, the newest first."""
        ...

    def discard(self, ids: Collection[str] | None) -> int:
        """Remove those of the ids, or all; returns how many."""
        ...


class Tally:
    """Counts what this process has set aside since it began."""

    def __init__(self) -> None:
        self.total = 0


tally = Tally()  # one a process, as its event loop is


def count_and_log(*, queue: str, reason: str, size_bytes: int) -> None:
    """Of every message that is set aside or dropped, once; what it holds is not logged."""
    tally.total += 1
    logger.warning("message_unreadable", extra={"fields": {"queue": queue, "reason": reason, "size_bytes": size_bytes}})


def unreadable_message(raw: bytes, *, queue: str, reason: str) -> UnreadableMessage:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    head = raw[:MAX_HEAD_BYTES]
    return UnreadableMessage(id=uuid4().hex, at=at, queue=queue, reason=reason, size_bytes=len(raw), head=head)


def encode(message: UnreadableMessage) -> bytes:
    return orjson.dumps(asdict(message) | {"head": base64.b64encode(message.head).decode()})


def decode(text: bytes) -> UnreadableMessage:
    """Raises ValueError for what `encode` did not write."""
    told = orjson.loads(text)
    names = {field.name for field in fields(UnreadableMessage)}
    if not isinstance(told, dict) or told.keys() != names or not isinstance(told["head"], str):
        raise ValueError("not a message that was set aside")
    return UnreadableMessage(**told | {"head": base64.b64decode(told["head"])})


def push(pipe: Any, prefix: str, message: UnreadableMessage) -> None:
    """Add it to the list of a Redis-protocol broker.

    pipe  of a kombu channel: it puts the prefix before the keys of some commands by itself, LPUSH among them
    """
    pipe.lpush(UNREADABLE, encode(message))
    pipe.ltrim(prefix + UNREADABLE, 0, MAX_KEPT - 1)


@contextmanager
def open_shelf(app: Celery) -> Iterator[Shelf]:
    """The shelf of the app's broker, for a command. Raises kombu's OperationalError when the broker is away."""
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=CONNECT_TIMEOUT_S)
        is_amqp = connection.transport.driver_type == "amqp"
        yield UnreadableQueue(connection) if is_amqp else UnreadableList(connection.default_channel)


class UnreadableList:
    """The list of a Redis-protocol broker."""

    def __init__(self, channel: Any) -> None:
        self._client = channel.client
        self._key = channel.global_keyprefix + UNREADABLE

    def messages(self) -> list[UnreadableMessage]:
        return list(_decoded(self._client.lrange(self._key, 0, -1)))

    def discard(self, ids: Collection[str] | None) -> int:
        removed = 0
        for text in self._client.lrange(self._key, 0, -1):
            if ids is None or any(message.id in ids for message in _decoded([text])):
                removed += int(self._client.lrem(self._key, 1, text))
        return removed


class UnreadableQueue:
    """The queue of RabbitMQ. To look at what is in it, it is taken and given back when the channel closes."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def messages(self) -> list[UnreadableMessage]:
        with self._connection.channel() as channel:
            _declare(channel)
            return list(_decoded(bytes(taken.body) for taken in _taken(channel)))[::-1]

    def discard(self, ids: Collection[str] | None) -> int:
        removed = 0
        with self._connection.channel() as channel:
            _declare(channel)
            for taken in list(_taken(channel)):
                if ids is None or any(message.id in ids for message in _decoded([bytes(taken.body)])):
                    channel.basic_ack(taken.delivery_tag)
                    removed += 1
        return removed


def publish(producer: Any, message: UnreadableMessage) -> None:
    """Add it to the queue of RabbitMQ; returns when the broker has it. Raises kombu's OperationalError."""
    producer.publish(
        encode(message),
        content_type="application/json",
        content_encoding="utf-8",
        exchange="",
        routing_key=UNREADABLE,
        declare=[_QUEUE],
        retry=True,
        retry_policy=PUBLISH_RETRY,
    )


def _declare(channel: Any) -> None:
    """Make the queue where it is not there."""
    _QUEUE(channel).queue_declare()


def _taken(channel: Any) -> Iterator[Any]:
    while (taken := channel.basic_get(UNREADABLE)) is not None:
        yield taken


def _decoded(texts: Any) -> Iterator[UnreadableMessage]:
    """What others have put there is passed over."""
    for text in texts:
        try:
            yield decode(text)
        except (ValueError, TypeError):
            continue
