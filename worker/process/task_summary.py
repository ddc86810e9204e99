"""What Celery tells others of a task: a summary of its operations, never what is in them.

Task arguments appear in events (Flower), in the answers of remote control and in logs. All of them take them from the
request, so they are replaced there.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from celery import Task
from celery.worker.request import Request

from omninode_bridge.client.broker import (
    DATABASE_BATCH_TASK,
    DEFAULT_QUEUE,
    EXECUTE_INTENTS_TASK,
    INTENT_BATCH_TASK,
    PERSIST_BATCH_TASK,
    QUERY_BATCH_TASK,
    queue_of,
)
from omninode_bridge.contract.errors import invalid, quoted
from omninode_bridge.contract.wire import summary_of
from omninode_bridge.intents.intents import OPERATION_TYPE_OF, intent_type_of
from tasks.settle import settle_unread
from worker.process.begun_tasks import DEATHS

_SUMMARY = re.compile(r"\d{1,5} operations?(: \d{1,5} [a-z_]{1,40}(, \d{1,5} [a-z_]{1,40}){0,19})?")
_NAME = re.compile(r"[a-z_]{1,40}")
RESULT_CHARS = 120  # "{'operations': 250, 'applied': 250, 'rest': []}" and a little
OTHER = "other"
# Tasks whose operations are of no one type.
_LIST_TASKS = (PERSIST_BATCH_TASK, INTENT_BATCH_TASK, EXECUTE_INTENTS_TASK, QUERY_BATCH_TASK, DATABASE_BATCH_TASK)


class FleetRequest(Request):  # type: ignore[misc]  # celery has no types
    """A request whose arguments are shown as a summary."""

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        # The body is decoded by now: the thread that runs the task need not do it again, nor can it fail there.
        self._body, self._content_type, self._content_encoding = message.payload, None, None
        sent = self._request_dict.get("argsrepr")
        self._argsrepr = shown_arguments(sent, task_name=self._type, args=self._args, kwargs=self._kwargs)
        self._kwargsrepr = "{}"
        # The tracer reads these for its log lines, and falls back to the arguments themselves where they are empty.
        self._request_dict["argsrepr"] = self._argsrepr
        self._request_dict["kwargsrepr"] = self._kwargsrepr

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What remote control answers; Celery's own would hand out the arguments."""
        info: dict[str, Any] = super().info(safe=True)
        return info


class FleetTask(Task):  # type: ignore[misc]  # celery has no types
    """Every task of the fleet: acknowledged when done, requeued when its worker is lost, shown as a summary."""

    Request = "worker.process.task_summary:FleetRequest"
    acks_late = True
    reject_on_worker_lost = True
    resultrepr_maxsize = RESULT_CHARS

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The work, as Celery's tracer calls it; noted as begun before its message is read."""
        gate = getattr(self.app, "gate", None)
        if gate is None or self.request.id is None:
            return self.run(*args, **kwargs)
        with gate.begun.working_on(self.request.id) as deaths:
            if deaths > DEATHS:  # also to read it, which is how it is set aside, ended its worker
                return settle_unread(gate, (args, kwargs), task_id=self.request.id, task_name=self.name)
            return self.run(*args, **kwargs)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Refuse a task from a queue that is not its own: who may write to one queue may ask for its tasks only."""
        queue = (self.request.delivery_info or {}).get("routing_key")
        if queue not in (queue_of(self.name), DEFAULT_QUEUE):
            raise invalid(f"{self.name}: not taken from the queue {quoted(queue)}")


def shown_arguments(header: object, *, task_name: str, args: object, kwargs: object) -> str:
    """The summary that the sender gave, where it is one; else counted from the message."""
    if isinstance(header, str) and _SUMMARY.fullmatch(header):
        return header
    task_type = None if task_name in _LIST_TASKS else task_name.removeprefix("omninode.")
    given = _given(args, kwargs, task_name=task_name)
    if not given:
        return "()"
    counts: dict[str, int] = {}
    for raw in _operations(given[0] if len(given) == 1 else given):
        name = _type_of(raw, task_type)
        counts[name] = counts.get(name, 0) + 1
    return summary_of(counts) if len(counts) <= 20 else f"{sum(counts.values())} operations"


def _given(args: object, kwargs: object, *, task_name: str) -> list[Any]:
    given = list(args) if isinstance(args, list | tuple) else []
    if task_name == EXECUTE_INTENTS_TASK:
        return given[:1] or ([kwargs["intents"]] if isinstance(kwargs, Mapping) and "intents" in kwargs else [])
    if isinstance(kwargs, Mapping) and kwargs:  # a named task takes an operation's fields as keywords
        given += kwargs.values() if task_name in _LIST_TASKS else [kwargs]
    return given


def _operations(value: object) -> list[Any]:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except ValueError:
            return [None]
    return value if isinstance(value, list) else [value]


def _type_of(raw: object, task_type: str | None) -> str:
    """An operation's type, an intent's as that of its operation."""
    if not isinstance(raw, Mapping):
        return OTHER
    intent_type = intent_type_of(raw) if "operation_type" not in raw else None
    kind = raw.get("operation_type", task_type) if intent_type is None else OPERATION_TYPE_OF[intent_type]
    return kind if isinstance(kind, str) and _NAME.fullmatch(kind) else OTHER
