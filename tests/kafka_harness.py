"""Kafka as the tests of the bus use it: a mock cluster of one's own that can go away, come back and answer errors."""

import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Producer

from tests.buses import MAX_BYTES
from worker.bus import Bus, BusMessage, open_bus
from worker.settings import ROOT, Settings

START_S = 20
STOP_S = 10
MIN_SESSION_S = 2.0  # a machine under load is silent for a second


class KafkaMock:
    """The process of tests/kafka_mock.py; its docstring tells what the commands do."""

    def __init__(self, brokers: int = 1) -> None:
        command = [sys.executable, "-m", "tests.kafka_mock", str(brokers)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1, cwd=ROOT)
        self.url = self._answer()

    def tell(self, *words: object) -> None:
        """Give a command and wait until it is obeyed. Raises: AssertionError with its complaint."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert answer == "ok", answer

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, f"the mock cluster ended with {self._process.wait(STOP_S)}"
        return line


class KafkaHarness:
    """A mock cluster of its own, as tests/buses.py wants a bus."""

    kind = "kafka"

    def __init__(self, brokers: int = 1) -> None:
        self.mock = KafkaMock(brokers)
        self.url = self.mock.url

    def open(self, **overrides: Any) -> Bus:
        # The mock takes nearly a session's time to deal out partitions anew, which a broker does at once: so the
        # session is short, and the same for all members of a group.
        session_s = max(MIN_SESSION_S, overrides.get("bus_claim_idle_s", 0))
        given = {"bus_max_message_bytes": MAX_BYTES, **overrides, "bus_claim_idle_s": session_s}
        return open_bus(Settings(**{"bus": self.kind, "bus_url": self.url, **given}))

    def put(self, topic: str, *, key: bytes | None, value: bytes | None) -> None:
        producer = Producer({"bootstrap.servers": self.url.removeprefix("kafka://")})
        producer.produce(topic, value, key)
        assert producer.flush(START_S) == 0

    def go_away(self) -> None:
        self.mock.tell("down")

    def come_back(self) -> None:
        self.mock.tell("up")

    def make_refusable(self, number: int) -> BusMessage:
        return BusMessage("poisoned", f"key-{number}", b"x" * (MAX_BYTES + 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mock.close()
