"""The task that answers queries which came over the bus: read, then append the answer to the outbox, once."""

from typing import Any

from celery import Celery

from omninode_bridge.client.broker import QUERY_BATCH_TASK
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.query_operation import AnswerQueryData
from omninode_bridge.contract.wire import Item, decode_batch, refusal_of
from store.database.errors import Lost, Outage
from store.generic import queries
from tasks.engine import Engine
from tasks.settle import BROKE, FEW_BREAKS, only, persevere, requeue, settle

TIMEOUT_MS = 5000  # of one query; who asks over the bus waits about as long


def register(app: Celery, engine: Engine, *, max_bytes: int) -> None:
    """Give `app` the task `omninode.answer_queries`.

    max_bytes  of one answer
    """

    @app.task(name=QUERY_BATCH_TASK, bind=True, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def answer_queries(self: Any, operations: str) -> dict[str, Any]:
        items = only(decode_batch(operations, task_id=self.request.id), (AnswerQueryData.OPERATION_TYPE,))
        try:
            ends_workers = engine.deaths(self.request.id) > 0  # `settle` refuses it then
            answered = items if ends_workers else [_answered(engine, item, max_bytes) for item in items]
        except Outage as outage:
            raise requeue(outage, task_id=self.request.id, task_name=self.name, operations=len(items)) from None
        return settle(engine, answered, task_id=self.request.id, task_name=self.name)


def _answered(engine: Engine, item: Item, max_bytes: int) -> Item:
    """A query with its answer. One that the ledger knows is answered in vain: nothing is sent for it."""
    data = getattr(item, "data", None)
    if not isinstance(data, AnswerQueryData):
        return item
    try:
        answer = persevere(
            engine,
            lambda conn: queries.answer(conn, data, timeout_ms=TIMEOUT_MS, max_bytes=max_bytes),
            breaks=FEW_BREAKS,
        )
    except Lost:
        return refusal_of(item, EnumCoreErrorCode.POISON, BROKE)
    return item.model_copy(update={"data": answer})
