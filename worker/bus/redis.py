"""The bus as Redis streams, by any server of the Redis protocol from version 7.0 on: publishing, health, tidying.

A message goes to the partition of its key. Messages go in transactions of a chunk each: a server that is full or away
takes all of a chunk or none, so that no message of a key ever overtakes an earlier one that was not taken. What keeps a
chunk away because its own stream is forbidden is found out, refused, and the chunk goes without it.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence

from omninode_bridge.bus.envelope import checked_topic
from omninode_bridge.contract.errors import OnexError
from worker.bus.limits import max_message_bytes
from worker.bus.protocol import PUBLISHED, BusMessage, Delivery, Partition
from worker.bus.redis_consumer import RedisConsumer
from worker.bus.redis_streams import (
    FAILURES,
    MAX_PARTITIONS,
    VALUE,
    Client,
    Streams,
    fields,
    is_forbidden,
    partition_count,
    partition_of,
)
from worker.bus.redis_tidy import tidy
from worker.settings import Settings

log = logging.getLogger(__name__)

# One transaction: long enough that its round trip does not count, short enough that it holds nobody up (1 to 2 ms).
CHUNK_MESSAGES = 250
CHUNK_BYTES = 1 << 20


def open_redis_bus(settings: Settings) -> "RedisBus":
    """The bus at settings.bus_url.   Raises FleetError for an address that no client can use."""
    return RedisBus(
        Streams(settings.bus_url, settings.broker_key_prefix),
        partitions=settings.bus_partitions,
        max_bytes=max_message_bytes(settings),
        timeout_s=settings.bus_timeout_s,
        claim_idle_s=settings.bus_claim_idle_s,
        retention_s=settings.bus_retention_hours * 3600,
    )


class RedisBus:
    """See worker.bus.protocol.Bus."""

    name = "redis"

    def __init__(
        self,
        streams: Streams,
        *,
        partitions: int,
        max_bytes: int,
        timeout_s: float,
        claim_idle_s: float,
        retention_s: float,
    ) -> None:
        self._streams = streams
        self._new_topic_partitions = partitions
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._claim_idle_s = claim_idle_s
        self._retention_s = retention_s
        self._topics: dict[str, int] = {}  # registered, and how many partitions they have
        self._client: Client = None
        self._client_timeout_s = 0.0

    def publish(self, messages: Sequence[BusMessage], *, timeout_s: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout_s
        outcomes = [self._refusal(message) for message in messages]
        left = [index for index, outcome in enumerate(outcomes) if outcome is None]
        away = Delivery("away", "the time was over")
        try:
            client = self._connected(timeout_s)
            unusable = self._register(client, {messages[index].topic for index in left})
            for index in left:
                outcomes[index] = unusable.get(messages[index].topic)
            left = [index for index in left if outcomes[index] is None]
            for chunk in _chunks(left, lambda index: len(messages[index].value)):
                if time.monotonic() >= deadline:
                    break
                sent = self._send(client, [messages[index] for index in chunk])
                for index, outcome in zip(chunk, sent, strict=True):
                    outcomes[index] = outcome
        except FAILURES as error:
            self._disconnect()
            away = Delivery("away", self._streams.text(error))
        return [outcome or away for outcome in outcomes]

    def health(self, timeout_s: float) -> str | None:
        try:
            with self._streams.connect(timeout_s) as client:
                client.ping()
        except FAILURES as error:
            return self._streams.text(error)
        return None

    def consumer(
        self, group: str, topics: Sequence[str], *, on_lost: Callable[[Collection[Partition]], None]
    ) -> RedisConsumer:
        """As the protocol says; `on_lost` is never called, because the members of a group share every partition."""
        return RedisConsumer(
            self._streams, group=group, topics=topics, claim_idle_s=self._claim_idle_s, timeout_s=self._timeout_s
        )

    def tidy(self) -> int:
        try:
            return tidy(self._connected(self._timeout_s), self._streams, retention_s=self._retention_s)
        except FAILURES as error:
            self._disconnect()
            raise self._streams.away(error) from None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _refusal(self, message: BusMessage) -> Delivery | None:
        """Why the bus will never take it, as far as that can be seen here."""
        try:
            checked_topic(message.topic)
            fields(message)
        except OnexError as error:
            return Delivery("refused", error.message)
        except (UnicodeEncodeError, TypeError):
            return Delivery("refused", "key or headers: no text that UTF-8 can hold")
        if len(message.value) > self._max_bytes:
            return Delivery(
                "refused", f"value: {len(message.value)} bytes are more than the bus takes: {self._max_bytes}"
            )
        return None

    def _register(self, client: Client, topics: Collection[str]) -> dict[str, Delivery]:
        """Learn how many partitions each topic has; a new one gets as many as the settings say.

        Returns the topics that cannot be written to, and what becomes of their messages.
        """
        new = sorted(set(topics) - self._topics.keys())
        if not new:
            return {}
        with client.pipeline(transaction=True) as pipe:
            for topic in new:
                pipe.hsetnx(self._streams.topics_key, topic, str(self._new_topic_partitions))
            pipe.hmget(self._streams.topics_key, new)
            found = dict(zip(new, pipe.execute()[-1], strict=True))
        counts = {topic: partition_count(text) for topic, text in found.items()}
        self._topics |= {topic: count for topic, count in counts.items() if count is not None}
        reason = f"{self._streams.topics_key}: what stands there of the topic is no number from 1 to {MAX_PARTITIONS}"
        return {topic: Delivery("refused", reason) for topic, count in counts.items() if count is None}

    def _send(self, client: Client, messages: Sequence[BusMessage]) -> list[Delivery]:
        """Append all or, when the server takes none, raise; a stream that cannot be written to refuses its own."""
        keys = [self._stream_key(message) for message in messages]
        try:
            return self._append(client, messages, keys)
        except FAILURES as error:
            refusals = self._forbidden(client, keys) if is_forbidden(error) else {}
            if not refusals:
                raise
        allowed = [(message, key) for message, key in zip(messages, keys, strict=True) if key not in refusals]
        sent = iter(self._append(client, *zip(*allowed, strict=True)) if allowed else ())
        return [refusals.get(key) or next(sent) for key in keys]

    def _stream_key(self, message: BusMessage) -> str:
        return self._streams.stream_key(message.topic, partition_of(message.key, self._topics[message.topic]))

    def _append(self, client: Client, messages: Sequence[BusMessage], keys: Sequence[str]) -> list[Delivery]:
        topics = sorted({message.topic for message in messages})
        with client.pipeline(transaction=True) as pipe:
            for message, key in zip(messages, keys, strict=True):
                pipe.xadd(key, fields(message))
            for topic in topics:  # a server that came back without its data knows the topics again
                pipe.hsetnx(self._streams.topics_key, topic, str(self._topics[topic]))
            answers = pipe.execute(raise_on_error=False)[: len(messages)]
        return [Delivery("refused", str(a)) if isinstance(a, Exception) else PUBLISHED for a in answers]

    def _forbidden(self, client: Client, keys: Collection[str]) -> dict[str, Delivery]:
        """Those of the streams that the user may not write to; none where the topics are forbidden too, which is no
        fault of any stream.

        By an entry of an impossible id: rights are looked at first, so nothing comes of it either way.
        """
        streams = sorted(set(keys))
        topic, count = next(iter(self._topics.items()))
        with client.pipeline(transaction=False) as pipe:
            for key in streams:
                pipe.xadd(key, {VALUE: b""}, id="0-0")
            pipe.hsetnx(self._streams.topics_key, topic, str(count))  # as `_append` does
            *answers, topics = pipe.execute(raise_on_error=False)
        if is_forbidden(topics):
            return {}
        return {
            key: Delivery("refused", self._streams.text(answer))
            for key, answer in zip(streams, answers, strict=True)
            if is_forbidden(answer)
        }

    def _connected(self, timeout_s: float) -> Client:
        if self._client is None or self._client_timeout_s != timeout_s:
            self.close()
            self._client, self._client_timeout_s = self._streams.connect(timeout_s), timeout_s
        return self._client

    def _disconnect(self) -> None:
        """Connect anew at the next use: the address may have come to mean another server."""
        self.close()


def _chunks(indices: Sequence[int], size: Callable[[int], int]) -> Iterator[list[int]]:
    chunk: list[int] = []
    total = 0
    for index in indices:
        if chunk and (len(chunk) == CHUNK_MESSAGES or total + size(index) > CHUNK_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(index)
        total += size(index)
    if chunk:
        yield chunk
