"""One worker as a process, on a broker and a database of its own: what is sent to it, what it answers, how it is."""

import base64
import json
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import redis
from celery import Celery

from omninode_bridge.client.broker import FLEET_STATE_COMMAND
from tests.conftest import clean_environment
from tests.deadline import wait_until

QUEUE = "persist"
RESULT = "celery-task-meta-"
STEP = {
    "workflow_id": "0198c0de-0000-7000-8000-000000000000",
    "step_name": "hash",
    "step_order": 1,
    "status": "COMPLETED",
}
TASK = "omninode.persist_workflow_step"


def step_message(
    *, task_id: str | None = None, body: Any = None, headers: Mapping[str, Any] | None = None, queue: str = QUEUE
) -> dict[str, Any]:
    """A message as Celery writes one to a Redis-protocol broker. `headers` come over its own."""
    id_ = task_id or str(uuid4())
    parts = [[STEP], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}] if body is None else body
    return {
        "body": base64.b64encode(json.dumps(parts).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": TASK, "id": id_, "retries": 0, "timelimit": [None, None], **(headers or {})},
        "properties": {
            "correlation_id": id_,
            "reply_to": str(uuid4()),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
    }


class LivingWorker:
    """A worker process that is to live as long as its test."""

    def __init__(self, *, broker: str, environment: Mapping[str, str], log: Path, prefix: str = "") -> None:
        self.environment = {
            "OMNINODE_BROKER_URL": broker,
            "OMNINODE_BROKER_KEY_PREFIX": prefix,
            **environment,
        }
        self.prefix = prefix
        self.redis = redis.Redis.from_url(environment.get("OMNINODE_RESULT_BACKEND_URL", broker))
        self._log = log
        words = [sys.executable, "-m", "worker", "worker", "--name", "living", "--threads", "2"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                words, stdout=output, stderr=subprocess.STDOUT, env=clean_environment(self.environment)
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def is_ready(self) -> bool:
        assert self._process.poll() is None, self.log
        return "ready." in self.log

    def push(self, *messages: Any, queue: str = QUEUE) -> None:
        """Bytes and text as they are, anything else as its JSON; in the order given."""
        with self.redis.pipeline(transaction=False) as pipe:
            for message in messages:
                raw = message if isinstance(message, bytes | str) else json.dumps(message)
                pipe.lpush(self.prefix + queue, raw)
            pipe.execute()

    def push_good(self) -> str:
        """Send a good task; returns its id."""
        message = step_message()
        self.push(message)
        return str(message["headers"]["id"])

    def status(self, task_id: str) -> str | None:
        answer: Any = self.redis.get(self.prefix + RESULT + task_id)
        return None if answer is None else str(orjson.loads(answer)["status"])

    def answers(self, task_ids: Collection[str], *, seconds: float = 30) -> None:
        """Wait until each was answered with success, by the process that has been there from the start."""
        left = set(task_ids)

        def answered() -> bool:
            assert self._process.poll() is None, self.log
            left.difference_update([id_ for id_ in list(left)[:500] if self.status(id_) == "SUCCESS"])
            return not left

        wait_until(answered, seconds=seconds, what=f"{len(left)} tasks are answered")

    def kept(self) -> list[dict[str, Any]]:
        """What it set aside, the newest first."""
        found: Any = self.redis.lrange(self.prefix + "unreadable", 0, -1)
        return [orjson.loads(text) for text in found]

    def unacknowledged(self) -> int:
        found: Any = self.redis.hlen(self.prefix + "unacked")
        return int(found)

    def state(self, app: Celery) -> dict[str, Any]:
        """What it tells by remote control."""
        replies = wait_until(
            lambda: app.control.broadcast(FLEET_STATE_COMMAND, reply=True, timeout=1, limit=1),
            seconds=20,
            what="the worker answers remote control",
        )
        (state,) = replies[0].values()
        assert state["pid"] == self._process.pid
        return dict(state)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            finally:
                self.kill()
        self.redis.close()


@contextmanager
def living_worker(*, broker: str, database: str, log: Path, prefix: str = "", **more: str) -> Iterator[LivingWorker]:
    """A worker for the block; it must be the same process at its end as at its beginning."""
    worker = LivingWorker(
        broker=broker, environment={"OMNINODE_DATABASE_URL": database, **more}, log=log, prefix=prefix
    )
    try:
        wait_until(worker.is_ready, seconds=60, what="the worker is ready")
        yield worker
        assert worker.is_ready()
    finally:
        worker.end()
