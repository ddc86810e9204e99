"""Whether a process of the fleet does its work, asked from outside: what `fleet up` waits for before it says ready."""

import socket
import urllib.request
from pathlib import Path

from store.database.connection import connection
from store.outbox import relays

HTTP_TIMEOUT_S = 5
PING_TIMEOUT_S = 1.0


class NotReady(Exception):
    """Not yet; the message says what was seen instead."""


def worker_answers(node: str) -> None:
    """Ping the worker of that node name (its part before `@`), on this host, through the broker. Raises: NotReady."""
    from worker.app import app  # imported late: Celery takes its time, which the worker itself needs too

    if not app.control.ping(destination=[f"{node}@{socket.gethostname()}"], timeout=PING_TIMEOUT_S):
        raise NotReady("it does not answer a ping")


def relay_joined(database_url: str, name: str) -> None:
    """Look in PostgreSQL whether a relay of that name is at work. Raises: Outage, NotReady."""
    with connection(database_url) as conn:
        if not relays.is_alive(conn, name):
            raise NotReady("it has not joined the relays")


def flower_answers(host: str, port: int) -> None:
    """Ask Flower's open health page. Raises: OSError, NotReady."""
    with urllib.request.urlopen(f"http://{host}:{port}/healthcheck", timeout=HTTP_TIMEOUT_S) as response:
        if response.status != 200:
            raise NotReady(f"it answers {response.status}")


def file_written(path: Path, since: float) -> None:
    """Look whether a file of that name, with any suffix, was written after `since` (wall clock). Raises: NotReady."""
    if not any(file.stat().st_mtime >= since for file in path.parent.glob(f"{path.name}*")):
        raise NotReady(f"it has not written {path}")
