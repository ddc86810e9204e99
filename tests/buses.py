"""Event buses as the tests use them: a server of one's own that can go away, come back and be asked for trouble."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import redis

from tests.integration.brokers import RestartableBroker
from worker.bus import Bus, BusMessage, open_bus
from worker.bus.redis_streams import KEY, VALUE, partition_of
from worker.settings import Settings

MAX_BYTES = 4096  # what a harness's bus takes, unless a test says otherwise


class BusHarness(Protocol):
    """A bus server and what a test may do to it.

    kind, url   what OMNINODE_BUS and OMNINODE_BUS_URL have to be
    topics of which nobody said anything have several partitions
    """

    @property
    def kind(self) -> str: ...

    @property
    def url(self) -> str: ...

    def open(self, **overrides: Any) -> Bus:
        """Another client of it; `overrides` are settings. Whoever opens one closes it."""
        ...

    def put(self, topic: str, *, key: bytes | None, value: bytes | None) -> None:
        """A record that another producer wrote, by the bus's own means."""
        ...

    def go_away(self) -> None:
        """Answer nothing until `come_back`; what was published stays."""
        ...

    def come_back(self) -> None: ...

    def make_refusable(self, number: int) -> BusMessage:
        """A message that the bus refuses for good, while it takes others of the same topic and key."""
        ...


@dataclass
class RedisHarness:
    """A Valkey of its own."""

    server: RestartableBroker
    kind = "redis"

    def __post_init__(self) -> None:
        self.server.start()
        self._keep_everything()

    @property
    def url(self) -> str:
        return self.server.url

    def open(self, **overrides: Any) -> Bus:
        given = {"bus": self.kind, "bus_url": self.url, "bus_max_message_bytes": MAX_BYTES, **overrides}
        return open_bus(Settings(**given))

    def put(self, topic: str, *, key: bytes | None, value: bytes | None) -> None:
        fields = {name: text for name, text in ((KEY, key), (VALUE, value), (b"by", b"hand")) if text is not None}
        with self.client() as client:
            client.hsetnx("bus:topics", topic, "4")
            partitions = int(client.hget("bus:topics", topic) or 0)
            number = partition_of((key or b"").decode(errors="replace"), partitions)
            client.xadd(f"bus:{topic}:{number}", fields)

    def go_away(self) -> None:
        self.server.kill()

    def come_back(self) -> None:
        self.server.start()
        self._keep_everything()

    def _keep_everything(self) -> None:
        """With the server's usual `everysec`, what it has answered for may go when it is killed (docs/bus.md)."""
        with self.client() as client:
            client.config_set("appendfsync", "always")

    def make_refusable(self, number: int) -> BusMessage:
        return BusMessage("poisoned", f"key-{number}", b"x" * (MAX_BYTES + 1))

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)


@contextmanager
def redis_harness(directory: Path) -> Iterator[RedisHarness]:
    server = RestartableBroker(directory)
    try:
        yield RedisHarness(server)
    finally:
        server.kill()
