"""The client's way to the broker, by Celery's and the Redis client's own means; no other module here knows them.

A `Sender` belongs to the sending thread, a `Confirmations` to the confirming one; neither is shared. Both raise `Away`
for whatever goes wrong on the way and connect anew at their next use: none of it loses a batch, so there is nothing
that the caller must tell apart.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from celery import Celery
from redis.exceptions import NoPermissionError

from omninode_bridge.client.address import RESULT_SCHEMES, SCHEMES, masked, scheme, scrubbed
from omninode_bridge.client.broker import celery_settings
from omninode_bridge.client.buffer import Batch
from omninode_bridge.contract.errors import invalid

CONNECT_TIMEOUT_S = 2.0  # a broker that does not answer must not hold up the end of a program
SOCKET_TIMEOUT_S = 3.0
IDS_PER_REQUEST = 500
AWAY_TEXT_CHARS = 200


class Away(Exception):
    """The broker or the result store did not take or tell something. The text holds no secret."""


@dataclass(frozen=True, repr=False)
class Route:
    """Where the fleet is: addresses, and the names that it and its clients agree on; `task` takes a batch.

    Raises OnexError VALIDATION_ERROR for an address that no fleet can have.
    """

    broker_url: str
    result_backend_url: str
    key_prefix: str
    queue: str
    task: str

    def __post_init__(self) -> None:
        if scheme(self.broker_url) not in SCHEMES:
            raise invalid(f"broker_url: {masked(self.broker_url)[:80]!r} is none of {', '.join(SCHEMES)}")
        if scheme(self.result_backend_url) not in RESULT_SCHEMES:
            raise invalid(f"result_backend_url: confirmations need one of {', '.join(RESULT_SCHEMES)}")

    def __repr__(self) -> str:
        return f"Route({masked(self.broker_url)!r}, queue={self.queue!r})"

    def settings(self) -> dict[str, Any]:
        """What the fleet and its clients agree on, with a client's shorter patience."""
        settings = celery_settings(
            broker_url=self.broker_url, result_backend_url=self.result_backend_url, key_prefix=self.key_prefix
        )
        options = settings["broker_transport_options"]
        if scheme(self.broker_url) in RESULT_SCHEMES:
            options |= {"socket_timeout": SOCKET_TIMEOUT_S, "socket_connect_timeout": CONNECT_TIMEOUT_S}
        else:
            options |= {"read_timeout": SOCKET_TIMEOUT_S, "write_timeout": SOCKET_TIMEOUT_S}
        return settings | {
            "broker_connection_timeout": CONNECT_TIMEOUT_S,
            "redis_socket_timeout": SOCKET_TIMEOUT_S,
            "redis_socket_connect_timeout": CONNECT_TIMEOUT_S,
        }

    def away(self, error: BaseException) -> Away:
        text = scrubbed(f"{type(error).__name__}: {error}", self.broker_url, self.result_backend_url)
        return Away(text[:AWAY_TEXT_CHARS])


class Sender:
    """Puts batches into the queue."""

    def __init__(self, route: Route) -> None:
        self._route = route
        settings = route.settings()
        self._app = _app(settings)
        self._broker_url = settings["broker_url"]
        self._connection: Any = None
        self._producer: Any = None

    def send(self, batch: Batch) -> None:
        """Put the batch into the queue. After Away it may be there or not.

        The task is sent without `send_task`, which would subscribe to each result on a connection of its own.
        """
        amqp = self._app.amqp
        message = amqp.create_task_message(
            batch.task_id,
            self._route.task,
            (batch.text(),),
            {},
            argsrepr=batch.summary(),
            kwargsrepr="",
            ignore_result=False,
        )
        # The body is made JSON here, and named as such, because kombu's encoder takes four times as long over it.
        message = message._replace(body=orjson.dumps(message.body))
        try:
            amqp.send_task_message(
                self._connected(),
                self._route.task,
                message,
                content_type="application/json",
                content_encoding="utf-8",
                queue=self._route.queue,
                retry=False,
                confirm_timeout=SOCKET_TIMEOUT_S,
            )
        except Exception as error:
            self.close()
            raise self._route.away(error) from None

    def backlog(self) -> int:
        """How many messages wait in the queue."""
        try:
            channel = self._connected().channel
            # On RabbitMQ only a passive declaration counts without changing; kombu's Redis transport misses the key
            # prefix there, and changes nothing in the other one.
            passive = scheme(self._route.broker_url) not in RESULT_SCHEMES
            return int(channel.queue_declare(queue=self._route.queue, passive=passive).message_count)
        except Exception as error:
            self.close()
            raise self._route.away(error) from None

    def close(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            try:
                connection.release()
            except Exception:  # it is being thrown away because it does not work
                connection.collect()

    def _connected(self) -> Any:
        if self._producer is None:
            # The URL is given here, because the environment (CELERY_BROKER_URL) goes before the setting.
            connection = self._app.connection_for_write(self._broker_url, heartbeat=0)
            self._connection = connection
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            self._producer = self._app.amqp.Producer(connection.channel(), auto_declare=False)
        return self._producer


class Confirmations:
    """Reads what workers stored as results: told by the store while it can, and asked for when it could not."""

    def __init__(self, route: Route, *, task_id_prefix: str) -> None:
        self._route = route
        settings = route.settings()
        app = _app(settings)
        # Set on the app, because the environment (CELERY_RESULT_BACKEND) goes before the setting.
        app.backend_cls = settings["result_backend"]
        self._backend = app.backend
        self._key_of_prefix: bytes = self._backend.get_key_for_task(task_id_prefix)
        self._task_id_prefix = task_id_prefix
        self._subscription: Any = None
        self._may_forget = True
        self.listening = False  # whether the store has taken the subscription

    def receive(self, timeout_s: float) -> tuple[str, bytes] | None:
        """The next answer, as (task id, stored text), that the store tells within the time.

        ("", b"") says that a subscription has just begun: what was stored before was not told, and is to be asked for.
        """
        try:
            if self._subscription is None:
                self._subscription = self._backend.client.pubsub()
                self._subscription.psubscribe(_literal(self._key_of_prefix) + b"*")
            return self._told(timeout_s)
        except Exception as error:
            self.close()
            raise self._route.away(error) from None

    def look_up(self, task_ids: Sequence[str]) -> list[tuple[str, bytes]]:
        """The answers among those tasks' that are stored."""
        found = []
        try:
            for start in range(0, len(task_ids), IDS_PER_REQUEST):
                asked = task_ids[start : start + IDS_PER_REQUEST]
                answers = self._backend.client.mget([self._backend.get_key_for_task(one) for one in asked])
                found += [(one, raw) for one, raw in zip(asked, answers, strict=True) if raw is not None]
        except Exception as error:
            self.close()
            raise self._route.away(error) from None
        return found

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove stored answers that were read; they would go by themselves, an hour later."""
        if not self._may_forget:
            return
        try:
            self._backend.client.unlink(*[self._backend.get_key_for_task(one) for one in task_ids])
        except NoPermissionError:
            self._may_forget = False
        except Exception as error:
            self.close()
            raise self._route.away(error) from None

    def close(self) -> None:
        """Drop the connections; the next use connects anew."""
        subscription, self._subscription, self.listening = self._subscription, None, False
        try:
            if subscription is not None:
                subscription.close()
            self._backend.client.connection_pool.disconnect()
        except Exception:
            return  # it is being thrown away because it does not work

    def _told(self, timeout_s: float) -> tuple[str, bytes] | None:
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            message = self._subscription.get_message(timeout=left_s)
            if message is None:
                return None
            if message["type"] == "psubscribe":
                self.listening = True
                return "", b""
            if message["type"] == "pmessage":
                tail = bytes(message["channel"])[len(self._key_of_prefix) :]
                return self._task_id_prefix + tail.decode(), bytes(message["data"])


def _app(settings: dict[str, Any]) -> Any:
    """A Celery app of the client's own: nobody's current app, and configured by nothing but these settings."""
    app = Celery("omninode-bridge-client", set_as_current=False)
    app.conf.update(settings)
    return app


def _literal(key: bytes) -> bytes:
    """A pattern that fits the key alone."""
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", key)
