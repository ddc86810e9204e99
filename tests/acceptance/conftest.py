"""Fixtures of the acceptance tests."""

from collections.abc import Iterator

import psycopg
import pytest
import redis

from omninode_bridge.client.broker import QUEUES
from store.write.apply import again
from tests.acceptance.adapters import adapter as adapter
from tests.conftest import Stack
from tests.streams import TABLES


@pytest.fixture
def empty(stack: Stack) -> Iterator[Stack]:
    """The shared fleet, with nothing in its tables, and nothing in its broker that would come into them later."""
    _forget_held_messages(stack.env["OMNINODE_BROKER_URL"])
    with psycopg.connect(stack.env["OMNINODE_DATABASE_URL"], autocommit=True) as conn:
        # A schedule's tick may be at the same tables in another order.
        again(lambda: conn.execute("truncate " + ", ".join(TABLES) + " cascade"))
    yield stack


def _forget_held_messages(broker_url: str) -> None:
    """What a killed worker had fetched returns to its queue after minutes: to a ledger that knows it, or, when a test
    has emptied that, as if it were new."""
    with redis.Redis.from_url(broker_url) as client:
        client.delete("unacked", "unacked_index", *QUEUES)
