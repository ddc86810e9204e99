"""The guard before Celery's loop: only a task of the fleet gets there; the rest is set aside and acknowledged."""

import json
from collections.abc import Callable
from typing import Any

from celery.app.task import Context
from celery.exceptions import NotRegistered
from celery.worker.consumer import Consumer
from kombu.exceptions import OperationalError

from worker.incoming import unreadable
from worker.incoming.redis import Channel
from worker.incoming.shapes import Unreadable
from worker.incoming.task_message import UNREGISTERED, check_task


class FleetConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """Celery's consumer, whose messages are checked first."""

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        handle = super().create_task_handler(*args, **options)
        known = self.strategies

        def on_message(message: Any) -> Any:
            try:
                check_task(message, known)
            except Unreadable as error:
                return self.set_aside(message, str(error))
            return handle(message)

        return on_message

    def on_decode_error(self, message: Any, error: Exception) -> None:
        """A body that kombu could not unpack, or a broadcast that it could not read."""
        self.set_aside(message, "body: cannot be unpacked")

    def set_aside(self, message: Any, reason: str) -> None:
        """Keep the message where `fleet dlq unreadable` finds it, then acknowledge it.

        A task that is good but for its name is answered too, as Celery does: its producer waits.
        Raises the errors of a broken connection: then the message comes again.
        """
        raw = self._raw(message)
        if raw is None:
            unreadable.count_and_log(queue=unreadable.BROADCAST, reason=reason, size_bytes=len(message.body or b""))
        else:
            self._keep(message, raw, reason)
            if reason == UNREGISTERED:
                self._answer_unregistered(message)
        message.ack()

    def _raw(self, message: Any) -> bytes | None:
        """The message as it came from one of the worker's queues; None of a broadcast."""
        if isinstance(message.channel, Channel):
            reading = message.channel.reading
            return None if reading is None else reading.raw
        is_task = message.delivery_info.get("routing_key") in self.app.amqp.queues.consume_from
        return _as_text(message) if is_task else None

    def _keep(self, message: Any, raw: bytes, reason: str) -> None:
        queue = str(message.delivery_info["routing_key"])
        if isinstance(message.channel, Channel):
            message.channel.keep_unreadable(raw, queue=queue, reason=reason)
            return
        kept = unreadable.unreadable_message(raw, queue=queue, reason=reason)
        try:
            # Not over the worker's own connection: to wait there for the broker's word reads further messages.
            with self.app.producer_or_acquire() as producer:
                unreadable.publish(producer, kept)
        except OperationalError as error:
            raise ConnectionError("the broker did not take a message that is set aside") from error
        unreadable.count_and_log(queue=queue, reason=reason, size_bytes=len(raw))

    def _answer_unregistered(self, message: Any) -> None:
        id_, name = str(message.headers["id"]), message.headers["task"]
        asked = {name: message.properties.get(name) for name in ("correlation_id", "reply_to")}
        request = Context(asked, id=id_, task=name)
        self.app.backend.mark_as_failure(id_, NotRegistered(name), request=request)
        if self.event_dispatcher:
            self.event_dispatcher.send("task-failed", uuid=id_, exception=f"NotRegistered({name!r})")


def _as_text(message: Any) -> bytes:
    """A message of RabbitMQ, which came in parts: its properties as a line of JSON, then its body."""
    try:
        properties = json.dumps(message.properties, default=repr)
    except (ValueError, TypeError, RecursionError):  # keys that are no text, or a circle
        properties = "{}"
    body = message.body or b""
    return properties.encode() + b"\n" + (body.encode() if isinstance(body, str) else bytes(body))
