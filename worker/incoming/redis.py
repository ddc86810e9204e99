"""kombu's Redis transport, in which every message is checked before it becomes one.

            BRPOP                   check_envelope                  check_task (consumer.py)
    queue --------> bytes ------------------------> kombu's message ------------------------> Celery
                          \\ no message                             \\ no task
                           `----------> list `unreadable` <----------'

Messages also come out of `unacked`, when a worker died that had them: what stands there and is none goes the same way,
so that it does not keep the others from coming back. Broadcasts (remote control, events) that are none are dropped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty
from typing import Any

from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from worker.incoming import unreadable
from worker.incoming.envelope import check_envelope, put_in_place, read_envelope
from worker.incoming.shapes import Unreadable

REPLIES = ".pidbox"  # ends the name of a queue of answers to remote control, which holds no tasks


@dataclass(frozen=True)
class Reading:
    """The message that is being handed over; its body is decoded once.

    raw  as it lay in the queue; body  as it stands in the message
    """

    raw: bytes
    body: str
    decoded: bytes | str


class QoS(redis.QoS):  # type: ignore[misc]  # kombu has no types
    """What is not yet acknowledged."""

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Give the message back to its queue; what is none is set aside, in the same transaction."""
        channel = self.channel
        dropped: list[tuple[str, str, int]] = []

        def restore(pipe: Any) -> None:
            dropped.clear()  # the transaction may run again
            held = pipe.hget(self.unacked_key, tag)
            pipe.multi()
            self._remove_from_indices(tag, pipe)
            if not held:
                return
            try:
                message, exchange, routing_key = _held(held)
                if not channel._lookup(exchange, routing_key):
                    raise Unreadable("unacked: its queue is unknown")
                channel._do_restore_message(message, exchange, routing_key, pipe, leftmost)
            except Unreadable as error:
                unreadable.push(pipe, channel.global_keyprefix, _set_aside(held, self.unacked_key, error, dropped))

        with channel.conn_or_acquire(client) as conn:
            conn.transaction(restore, self.unacked_key)
        for queue, reason, size_bytes in dropped:
            unreadable.count_and_log(queue=queue, reason=reason, size_bytes=size_bytes)


class Channel(redis.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel to Redis or Valkey."""

    QoS = QoS
    reading: Reading | None = None

    def keep_unreadable(self, raw: bytes, *, queue: str, reason: str) -> None:
        """Add it to the list, count it, log it once. Raises the client's errors when the broker is away."""
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            message = unreadable.unreadable_message(raw, queue=queue, reason=reason)
            unreadable.push(pipe, self.global_keyprefix, message)
            pipe.execute()
        unreadable.count_and_log(queue=queue, reason=reason, size_bytes=len(raw))

    def _has_queue(self, queue: str, **_: Any) -> bool:
        """A list that is there is not empty. kombu asks for the key without its prefix."""
        return bool(self._size(queue) > 0)

    def decode_body(self, body: Any, encoding: str | None = None) -> Any:
        reading = self.reading
        if reading is not None and reading.body is body:
            return reading.decoded
        return super().decode_body(body, encoding)

    def _brpop_read(self, **options: Any) -> bool:
        """Hand over what a queue gave. Raises queue.Empty when it gave nothing."""
        try:
            popped = self._popped(options)
            if not popped:
                raise Empty
            queue, raw = bytes_to_str(popped[0]).rsplit(self.sep, 1)[0], popped[1]
            self._queue_cycle.rotate(queue)
            try:
                message = self._message_of(raw, queue)
            except Unreadable as error:
                self.keep_unreadable(raw, queue=queue, reason=str(error))
            else:
                self._hand_over(message, queue, raw)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()  # as kombu does: while no command is under way on this connection

    def _popped(self, options: dict[str, Any]) -> Any:
        connection = self.client.connection
        try:
            return self.client.parse_response(connection, "BRPOP", **options)
        except self.connection_errors:
            connection.disconnect()  # so that the next round connects again
            raise

    def _message_of(self, raw: bytes, queue: str) -> tuple[dict[str, Any], bytes | str]:
        """The message, and its decoded body. Raises Unreadable."""
        message = read_envelope(raw)
        try:
            body = super().decode_body(message["body"], message["properties"].get("body_encoding"))
        except ValueError:  # base64, or text that UTF-8 cannot hold
            raise Unreadable("body: not base64") from None
        if not queue.endswith(REPLIES):
            put_in_place(message, queue)
        return message, body

    def _hand_over(self, message: tuple[dict[str, Any], bytes | str], queue: str, raw: bytes) -> None:
        payload, decoded = message
        with self._reading(Reading(raw, payload["body"], decoded)):
            self.connection._deliver(payload, queue)

    @contextmanager
    def _reading(self, reading: Reading) -> Iterator[None]:
        self.reading = reading
        try:
            yield
        finally:
            self.reading = None

    def _handle_message(self, client: Any, response: Any) -> dict[str, Any]:
        """A broadcast; without its data where that is none, which kombu passes over."""
        told: dict[str, Any] = super()._handle_message(client, response)
        if bytes_to_str(told["type"]).endswith("message") and isinstance(told["data"], bytes):
            try:
                read_envelope(told["data"])
            except Unreadable as error:
                unreadable.count_and_log(queue=unreadable.BROADCAST, reason=str(error), size_bytes=len(told["data"]))
                told["data"] = None
        return told


class Transport(redis.Transport):  # type: ignore[misc]  # kombu has no types
    """redis:// and rediss://"""

    Channel = Channel


class SentinelChannel(Channel, redis.SentinelChannel):  # type: ignore[misc]  # kombu has no types
    """A channel to the master that Sentinel names."""


class SentinelTransport(redis.SentinelTransport):  # type: ignore[misc]  # kombu has no types
    """sentinel://"""

    Channel = SentinelChannel


def _held(held: bytes) -> tuple[dict[str, Any], str, str]:
    """A message of `unacked`, its exchange and its queue. Raises Unreadable."""
    try:
        message, exchange, routing_key = loads(held)
    except Exception:
        raise Unreadable("unacked: not JSON of three") from None
    check_envelope(message)
    if not isinstance(exchange, str) or not isinstance(routing_key, str) or not (exchange or routing_key):
        raise Unreadable("unacked: no exchange and queue")
    return message, exchange, routing_key


def _set_aside(
    held: bytes, key: str, error: Unreadable, dropped: list[tuple[str, str, int]]
) -> unreadable.UnreadableMessage:
    dropped.append((key, str(error), len(held)))
    return unreadable.unreadable_message(held, queue=key, reason=str(error))
