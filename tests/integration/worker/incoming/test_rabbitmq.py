"""A living worker on RabbitMQ, and messages that are no tasks: it lives, keeps its connection, and answers the rest."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from struct import pack
from typing import Any
from uuid import uuid4

import amqp
import pytest
from kombu import Connection

from tests.conftest import clean_environment, fleet
from tests.deadline import wait_until
from tests.living_worker import QUEUE, STEP, TASK, LivingWorker, living_worker
from tests.odd_messages import BOMB_BYTES
from tests.rabbitmq import rabbitmq
from worker.incoming.unreadable import MAX_KEPT

pytestmark = pytest.mark.timeout(300)  # the server takes a while to start
BODY = json.dumps([[STEP], {}, {}]).encode()
TASK_HEADERS = {"task": TASK, "id": "an-id"}
DEEP: Any = json.loads("[" * 60 + "]" * 60)


class Producer:
    """Sends whatever it is told, with headers that no library would write."""

    def __init__(self, connection: Connection) -> None:
        self.channel = connection.channel()

    def send(self, body: bytes, headers: Mapping[str, Any] | None = None, **properties: Any) -> None:
        content = {"content_type": "application/json", "content_encoding": "utf-8"}
        message = amqp.Message(body, application_headers=headers, **content | properties)
        self.channel.basic_publish(message, exchange="", routing_key=QUEUE)

    def send_properties(self, raw: bytes) -> None:
        message = amqp.Message(BODY)
        message._serialize_properties = lambda: raw
        self.channel.basic_publish(message, exchange="", routing_key=QUEUE)

    def send_good(self) -> str:
        task_id = str(uuid4())
        self.send(BODY, {"task": TASK, "id": task_id}, correlation_id=task_id)
        return task_id


KINDS: dict[str, Callable[[Producer], None]] = {
    "text": lambda to: to.send(b"no json"),
    "no headers": lambda to: to.send(BODY),
    "an empty body": lambda to: to.send(b"", TASK_HEADERS),
    "a body of two": lambda to: to.send(b"[[], {}]", TASK_HEADERS),
    "an id that is an object": lambda to: to.send(BODY, {"task": TASK, "id": {"a": 1}}),
    "a task that is a list": lambda to: to.send(BODY, {"task": ["x"], "id": "x"}),
    "a task that is bytes": lambda to: to.send(BODY, {"task": b"\xff\xfe", "id": "x"}),
    "an unknown task": lambda to: to.send(BODY, {"task": "omninode.unknown", "id": "x"}),
    "another content type": lambda to: to.send(BODY, TASK_HEADERS, content_type="application/x-python-serialize"),
    "an unknown encoding": lambda to: to.send(BODY, TASK_HEADERS, content_encoding="nothing"),
    "an encoding that takes hours": lambda to: to.send(b"a" * 500_000, TASK_HEADERS, content_encoding="punycode"),
    "a bomb": lambda to: to.send(zlib.compress(bytes(BOMB_BYTES)), TASK_HEADERS | {"compression": "gzip"}),
    "what was not packed": lambda to: to.send(BODY, TASK_HEADERS | {"compression": "bzip2"}),
    "a header that is deep": lambda to: to.send(BODY, TASK_HEADERS | {"x": DEEP}),
    "a chain": lambda to: to.send(json.dumps([[STEP], {}, {"chain": [{"task": TASK}]}]).encode(), TASK_HEADERS),
    "a content type that is no text": lambda to: to.send_properties(pack(">HB", 0x8000, 2) + b"\xff\xfe"),
    "a correlation id that is no text": lambda to: to.send_properties(pack(">HB", 0x0400, 2) + b"\xff\xfe"),
}


@pytest.fixture(scope="module")
def amqp_url() -> Iterator[str]:
    with rabbitmq() as url:
        yield url


@pytest.fixture(scope="module")
def worker(
    amqp_url: str, own_broker: str, own_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LivingWorker]:
    log: Path = tmp_path_factory.mktemp("rabbitmq") / "worker.log"
    results = {"OMNINODE_RESULT_BACKEND_URL": own_broker}
    with living_worker(broker=amqp_url, database=own_database, log=log, **results) as one:
        yield one


@pytest.fixture
def producer(amqp_url: str) -> Iterator[Producer]:
    with Connection(amqp_url) as connection:
        yield Producer(connection)


def unreadable(worker: LivingWorker, *words: str) -> str:
    done = fleet("dlq", "unreadable", *words, environment=clean_environment(worker.environment))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_kind_of_them_ends_the_worker_or_breaks_its_connection(worker: LivingWorker, producer: Producer) -> None:
    good = [producer.send_good()]
    for send in KINDS.values():
        send(producer)
        good.append(producer.send_good())
    worker.answers(good, seconds=60)
    assert worker.log.count("Connected to amqp") == 1
    kept = [json.loads(line) for line in unreadable(worker, "--json").splitlines()]
    assert len(kept) == len(KINDS)
    assert {entry["queue"] for entry in kept} == {QUEUE}
    assert "no json" in kept[-1]["head"]
    told = json.loads(fleet("status", "--json", environment=clean_environment(worker.environment)).stdout)
    assert told["unreadable"] == len(KINDS)
    assert [state["unreadable_total"] for state in told["workers"].values()] == [len(KINDS)]

    assert unreadable(worker, "--discard", kept[3]["id"]) == "1 discarded\n"
    left = [json.loads(line)["id"] for line in unreadable(worker, "--json").splitlines()]
    assert left == [entry["id"] for entry in kept if entry is not kept[3]]
    assert unreadable(worker, "--discard") == f"{len(KINDS) - 1} discarded\n"
    assert unreadable(worker, "--json") == ""


def test_the_queue_is_bounded(worker: LivingWorker, producer: Producer) -> None:
    for n in range(MAX_KEPT + 20):
        producer.send(f"no json, number {n}".encode())
    worker.answers([producer.send_good()], seconds=60)

    def few_are_kept() -> list[str]:
        lines = unreadable(worker, "--json").splitlines()
        return lines if len(lines) == MAX_KEPT else []

    kept = wait_until(few_are_kept, seconds=30, what="the queue holds what it may")
    assert f"number {MAX_KEPT + 19}" in kept[0]
    assert "number 20" in kept[-1]
