"""The tasks that persist operations: batches of a client, and each operation by its own name."""

from typing import Any

from celery import Celery

from omninode_bridge.client.broker import PERSIST_BATCH_TASK
from omninode_bridge.contract.json_text import exact_json
from omninode_bridge.contract.operation_types import PERSIST_TYPES
from omninode_bridge.contract.values import MAX_OPERATION_BYTES
from omninode_bridge.contract.wire import Item, decode_batch, decode_items
from tasks.engine import Engine
from tasks.settle import only, settle

TAKEN = frozenset({*PERSIST_TYPES, "record_event"})


def register(app: Celery, engine: Engine) -> None:
    """Give `app` the tasks `omninode.persist_batch` and `omninode.<operation type>` for each of the six."""

    @app.task(name=PERSIST_BATCH_TASK, bind=True, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def persist_batch(self: Any, operations: Any) -> dict[str, Any]:
        items = decode(operations, task_id=self.request.id, operation_type=None)
        return settle(engine, only(items, TAKEN), task_id=self.request.id, task_name=self.name)

    for operation_type in PERSIST_TYPES:
        _register_one(app, engine, operation_type)


def _register_one(app: Celery, engine: Engine, operation_type: str) -> None:
    """A task that takes one operation, a list of them, or JSON text of either; or an operation's fields as keywords."""

    @app.task(name=f"omninode.{operation_type}", bind=True, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def persist(self: Any, *operations: Any, **fields: Any) -> dict[str, Any]:
        given = (*operations, fields) if fields else operations
        items = decode(
            given[0] if len(given) == 1 else list(given), task_id=self.request.id, operation_type=operation_type
        )
        return settle(engine, only(items, TAKEN), task_id=self.request.id, task_name=self.name)


def decode(given: object, *, task_id: str, operation_type: str | None) -> list[Item]:
    """The operations of a task's argument, in order; each one that does not parse stands there as a refusal.

    operation_type  the type of those that do not name one
    """
    if not isinstance(given, str):
        return decode_items(given, task_id=task_id, operation_type=operation_type)
    if operation_type is None or len(given) > MAX_OPERATION_BYTES:
        return decode_batch(given, task_id=task_id)
    try:
        return decode_items(exact_json(given), task_id=task_id, operation_type=operation_type)
    except ValueError:
        return decode_batch(given, task_id=task_id)
