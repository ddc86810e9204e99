"""A fleet of one thread, for tests of the client: takes batches from the queue and answers as a worker's results do.

It talks the broker's protocol itself, so that it can do what no good worker does: forget, fail, or answer in silence.
"""

import base64
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import redis

from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.wire import Item, decode_batch, encode_outcomes

QUEUE = "persist"
RESULT_KEY = "celery-task-meta-"

# What to do with one message: ("answer", outcomes), ("silent", outcomes), ("drop", None) or ("fail", None).
Choice = tuple[str, list[Outcome] | None]


def applied(items: Sequence[Item]) -> list[Outcome]:
    return [Outcome(item.operation_id, "applied") for item in items]


class Answerer:
    """deliveries  how often each task arrived; operations  what arrived, by task id; headers  the messages' own"""

    def __init__(self, url: str, *, prefix: str = "", queue: str = QUEUE) -> None:
        self.deliveries: Counter[str] = Counter()
        self.operations: dict[str, list[Item]] = {}
        self.headers: list[dict[str, Any]] = []
        self.choose: Callable[[str, list[Item]], Choice] = lambda _, items: ("answer", applied(items))
        self._url = url
        self._prefix = prefix
        self._queue = queue
        self._stop = threading.Event()
        self._resting = threading.Event()
        self._go = threading.Event()
        self._go.set()

    @property
    def received(self) -> list[Item]:
        return [item for items in self.operations.values() for item in items]

    def pause(self) -> None:
        """Take nothing more until `resume`."""
        self._go.clear()
        assert self._resting.wait(60)

    def resume(self) -> None:
        self._resting.clear()
        self._go.set()

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                with redis.Redis.from_url(self._url, socket_timeout=5) as broker:
                    self._serve(broker)
            except redis.RedisError:
                self._stop.wait(0.05)

    def stop(self) -> None:
        self._stop.set()
        self._go.set()

    def _serve(self, broker: redis.Redis) -> None:
        while not self._stop.is_set():
            if not self._go.is_set():
                self._resting.set()
                self._go.wait(0.05)
                continue
            self._resting.clear()
            taken: Any = broker.brpop([self._prefix + self._queue], timeout=0.1)
            if taken is not None:
                self._take(broker, orjson.loads(taken[1]))

    def _take(self, broker: redis.Redis, message: dict[str, Any]) -> None:
        task_id = message["headers"]["id"]
        (text,), _, _ = orjson.loads(base64.b64decode(message["body"]))
        items = decode_batch(text, task_id=task_id)
        self.deliveries[task_id] += 1
        self.operations[task_id] = items
        self.headers.append(message["headers"])
        verb, outcomes = self.choose(task_id, items)
        if verb == "drop":
            return
        result = encode_outcomes(outcomes) if outcomes is not None else {"exc_type": "RuntimeError"}
        status = "FAILURE" if verb == "fail" else "SUCCESS"
        answer = orjson.dumps({"status": status, "result": result, "task_id": task_id})
        with broker.pipeline() as pipe:
            pipe.set(self._prefix + RESULT_KEY + task_id, answer, ex=60)
            if verb != "silent":
                pipe.publish(self._prefix + RESULT_KEY + task_id, answer)
            pipe.execute()


@contextmanager
def answering(url: str, *, prefix: str = "", queue: str = QUEUE) -> Iterator[Answerer]:
    """An answerer while the block runs."""
    answerer = Answerer(url, prefix=prefix, queue=queue)
    thread = threading.Thread(target=answerer.run, name="answerer", daemon=True)
    thread.start()
    try:
        yield answerer
    finally:
        answerer.stop()
        thread.join(60)
