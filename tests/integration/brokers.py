"""Brokers that behave badly: one that can be killed and started again with its data, one that answers nothing."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.deadline import wait_until
from tests.ports import own_port
from worker.embedded.binaries import broker_binary
from worker.embedded.broker import EmbeddedBroker


class RestartableBroker:
    """A broker of its own on one directory and one port."""

    def __init__(self, directory: Path) -> None:
        self._embedded = EmbeddedBroker(
            directory=directory, binary=broker_binary(None), port=own_port(), password="test"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._embedded.url()

    def start(self) -> None:
        self._embedded.prepare()
        launch = self._embedded.launch()
        self._process = subprocess.Popen(launch.arguments(), stdout=subprocess.DEVNULL, **launch.options())
        wait_until(self._answers, seconds=20, what="the broker answers")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            self._embedded.check()
        except redis.RedisError:
            return False
        return True


@contextmanager
def silent_port() -> Iterator[str]:
    """The URL of something that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
