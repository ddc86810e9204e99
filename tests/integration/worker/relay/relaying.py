"""Events for a relay, and a relay in a thread of the test's own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from omninode_bridge.contract.operation import Operation
from store.database.pool import PoolConfig
from store.write.apply import apply
from tests.factories import publish_event
from worker.bus import Bus
from worker.relay.relay import Relay, RelayConfig

NEVER_S = 3600.0  # a sweep that does not come: only a nudge wakes


def append(conn: psycopg.Connection[Any], *keys: str, topic: str = "some.topic", **fields: Any) -> list[Operation]:
    """Events of these keys, in this order."""
    operations = [publish_event(partition_key=key, topic=topic, **fields) for key in keys]
    assert {outcome.status for outcome in apply(conn, operations)} == {"applied"}
    return operations


@contextmanager
def relaying(database: str, bus: Bus, **options: Any) -> Iterator[Relay]:
    """A relay that runs while the block does; `options` are of its RelayConfig."""
    config = RelayConfig(**{"name": "r", "bus_timeout_s": 1, **options})
    relay = Relay(config, PoolConfig(database_url=database, application_name="test relay"), bus)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join(60)
        assert not thread.is_alive(), "it does not stop"
