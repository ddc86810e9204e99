"""The tasks of intents and operations without a broker, and a bus that is a thread."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.result import EagerResult

import tasks.intents
import tasks.persist
from omninode_bridge.contract.wire import decode_outcomes, encode, encode_batch
from store.database.breaker import Breaker, BreakerConfig
from store.database.pool import Pool, PoolConfig
from store.outbox import outbox
from store.write.apply import Limits
from tasks.recovery import RecoveryBounds
from tests.factories import store_connection
from worker.process.database_gate import Gate


class Fleet:
    """The tasks, called as a worker calls them."""

    def __init__(self, database_url: str, *, bounds: RecoveryBounds, publish_wait_s: float) -> None:
        pool = Pool(PoolConfig(database_url=database_url, application_name="test", max_size=2, timeout_ms=2000))
        breaker = Breaker(BreakerConfig(), now=0.0)
        self.gate = Gate(pool=pool, breaker=breaker, limits=Limits(), hold_s=0.1, publish_wait_s=publish_wait_s)
        self.app = Celery("fleet", set_as_current=False, task_cls="worker.process.task_summary:FleetTask")
        tasks.persist.register(self.app, self.gate)
        tasks.intents.register(self.app, self.gate, bounds)

    def call(self, task: str, *args: Any, queue: str = "intents", task_id: str | None = None, **kwargs: Any) -> Any:
        result: EagerResult = self.app.tasks[f"omninode.{task}"].apply(
            args, kwargs, task_id=task_id or str(uuid4()), routing_key=queue
        )
        return result.get() if result.state != "REJECTED" else result

    def batch(self, *items: Any, **options: Any) -> list[Any]:
        """The outcomes of a client's batch."""
        answer = self.call("intent_batch", encode_batch([encode(item) for item in items]), **options)
        return decode_outcomes(json.loads(json.dumps(answer)), [item.operation_id for item in items])


@contextmanager
def fleet_on(url: str, *, publish_wait_s: float = 0.0, **bounds: Any) -> Iterator[Fleet]:
    one = Fleet(url, bounds=RecoveryBounds(**bounds), publish_wait_s=publish_wait_s)
    one.gate.open()
    try:
        yield one
    finally:
        one.gate.close()
        one.app.close()


@contextmanager
def publishing(url: str) -> Iterator[None]:
    """A bus that takes everything at once, while the block runs."""
    stop = threading.Event()

    def publish() -> None:
        with store_connection(url) as conn:
            outbox.listen(conn)
            shards = outbox.take_shards(conn, range(outbox.SHARDS))
            while not stop.is_set():
                if waiting := outbox.pending(conn, shards, rows_limit=100):
                    outbox.settle(conn, published=[event.id for event in waiting], refused=[])
                else:
                    outbox.wait(conn, 0.05)

    thread = threading.Thread(target=publish, name="publishing")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
