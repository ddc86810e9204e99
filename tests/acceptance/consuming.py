"""`fleet consume` on the shared fleet's own bus."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from tests.conftest import Stack, clean_environment

STOP_S = 30


@contextmanager
def consumer_of(stack: Stack, *, group: str) -> Iterator[subprocess.Popen[bytes]]:
    """A consumer of every topic, stopped softly at the end."""
    words = [sys.executable, "-m", "worker", "consume", "--group", group]
    running = subprocess.Popen(words, env=clean_environment(stack.env), stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.terminate()
        assert running.wait(STOP_S) == 0


def left(stack: Stack, group: str) -> int:
    """Records that the group has not committed."""
    with redis.Redis.from_url(stack.env["OMNINODE_BROKER_URL"], decode_responses=True) as client:
        return sum(_left(client, key, group) for key in client.scan_iter("bus:*", _type="stream"))


def _left(client: Any, key: str, group: str) -> int:
    told = [one for one in client.xinfo_groups(key) if one["name"] == group]
    return int(told[0]["pending"]) + int(told[0]["lag"] or 0) if told else int(client.xlen(key))
