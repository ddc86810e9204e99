"""A message that ends every worker which touches it, among messages that do not."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from celery import Celery

from omninode_bridge import FleetClient, Handle
from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.wire import encode, encode_batch
from tests import factories
from tests.conftest import Stack, clean_environment
from tests.deadline import wait_until
from tests.poison import HANG, MARK, heal, spoil

pytestmark = pytest.mark.acceptance

WAITING = "select pid from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"


@pytest.fixture
def conn(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(stack.env["OMNINODE_DATABASE_URL"], autocommit=True) as one:
        yield one


class Workers:
    """One worker after another, under a prefix of their own, so that nobody else takes their messages."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.prefix = f"test-{uuid7()}:"
        self.redis = redis.Redis.from_url(stack.env["OMNINODE_BROKER_URL"])
        self.url = stack.env["OMNINODE_BROKER_URL"]
        self.app = Celery("producer", broker=self.url, backend=self.url, set_as_current=False)
        prefixed = {"global_keyprefix": self.prefix}
        self.app.conf.update(broker_transport_options=prefixed, result_backend_transport_options=prefixed)
        self._environment = clean_environment({**stack.env, "OMNINODE_BROKER_KEY_PREFIX": self.prefix})
        self._log = directory / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "worker", "worker", "--name", "own", "--threads", "2"]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, env=self._environment)
        wait_until(lambda: "ready" in self._log.read_text(), seconds=30, what="the worker is ready")

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def send(self, task_id: str, text: str) -> Any:
        return self.app.send_task("omninode.persist_batch", args=[text], queue="persist", task_id=task_id)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
        for key in self.redis.scan_iter(f"{self.prefix}*"):
            self.redis.delete(key)
        self.redis.close()
        self.app.close()


@pytest.fixture
def workers(stack: Stack, tmp_path: Path) -> Iterator[Workers]:
    one = Workers(stack, tmp_path)
    try:
        yield one
    finally:
        one.end()


def test_a_message_that_ends_three_workers_is_set_aside_and_others_are_not(
    workers: Workers, conn: psycopg.Connection[Any]
) -> None:
    spoil(conn, "workflow_steps", HANG, column="step_name")
    try:
        killer = [factories.step(), factories.step(step_name=MARK)]
        text, task_id = encode_batch([encode(item) for item in killer]), str(uuid4())
        healthy: list[Handle] = []
        with FleetClient(workers.url, key_prefix=workers.prefix) as client:
            for _ in range(3):
                healthy += [client.submit(factories.heartbeat(f"n{len(healthy)}")) for _ in range(5)]
                workers.start()
                answer = workers.send(task_id, text)
                backends = wait_until(
                    lambda: conn.execute(WAITING).fetchall(), seconds=30, what="a worker is at the message"
                )
                workers.kill()
                for (pid,) in backends:  # PostgreSQL would notice by itself at the end of the statement
                    conn.execute("select pg_terminate_backend(%s)", (pid,))
            workers.start()
            workers.send(task_id, text)
            rest = answer.get(timeout=30)["rest"]
            assert [entry[1:3] for entry in rest] == [["refused", "POISON"]] * 2
            assert all(handle.result(60).committed for handle in healthy)
        found = conn.execute(
            "select count(*) from dead_letters where code = 'POISON' and id = any(%s)",
            ([item.operation_id for item in killer],),
        ).fetchone()
        assert found == (2,)
    finally:
        heal(conn, "workflow_steps")
