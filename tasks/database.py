"""The tasks that carry out generic operations and reports, each in a transaction of its own, for those who wait.

A message that comes again is answered again: writes are in the ledger, reads change nothing.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from celery import Celery

from omninode_bridge.client.broker import DATABASE_BATCH_TASK, DATABASE_TASK
from omninode_bridge.contract.call_log import performance
from omninode_bridge.contract.clock import TIMELESS, derived_uuid7, now, uuid7
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.json_text import exact_json
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.query_operation import DatabaseOperationData
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.values import MAX_OPERATION_BYTES
from omninode_bridge.contract.wire import Item, decode_batch, decode_items, encode_outcomes
from omninode_bridge.persistence.health import HEALTH_OPERATION
from store.database.errors import HeldBack, Lost, Outage
from store.database.health import health
from store.generic import carry_out
from store.write import ledger
from tasks.engine import Engine
from tasks.settle import BRIEFLY_HELD_S, BROKE, DEFECT, ENDED_WORKERS, FEW_BREAKS, only, persevere, requeue

logger = logging.getLogger(__name__)
T = TypeVar("T")

MAX_ANSWERS_BYTES = 64 * 1024 * 1024  # of a message's together: each has an equal share
# A result's first characters are shown in logs and in Flower: what rows hold comes last.
_EMPTY: dict[str, Any] = {
    "success": False,
    "operation_type": None,
    "correlation_id": None,
    "execution_time_ms": 0,
    "rows_affected": 0,
    "error_code": None,
    "error_message": None,
    "result_data": None,
}


def register(app: Celery, engine: Engine) -> None:
    """Give `app` the tasks `omninode.database_operations`, for clients, and `omninode.database_operation`."""
    since = time.monotonic()

    @app.task(name=DATABASE_BATCH_TASK, bind=True, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def database_operations(self: Any, operations: str) -> dict[str, Any]:
        items = only(decode_batch(operations, task_id=self.request.id), (DatabaseOperationData.OPERATION_TYPE,))
        message = _Message(engine=engine, task_id=self.request.id, task_name=self.name, since=since)
        return encode_outcomes(message.outcomes(items))

    @app.task(name=DATABASE_TASK, bind=True, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def database_operation(self: Any, request: Any = None, **fields: Any) -> dict[str, Any]:
        message = _Message(engine=engine, task_id=self.request.id, task_name=self.name, since=since)
        return message.answer(request if request is not None else fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """One message, on its way to an answer.

    since  when this worker began, in seconds of the monotonic clock
    """

    engine: Engine
    task_id: str
    task_name: str
    since: float

    def outcomes(self, items: Sequence[Item]) -> list[Outcome]:
        """One outcome per item, in order, with the answer as its detail; a refusal is nobody's dead letter.

        Raises celery's Reject (requeue) when the message must stay in the broker.
        """
        started = time.perf_counter()
        share = MAX_ANSWERS_BYTES // max(1, len(items))
        outcomes = self._unless_away(lambda: [self._outcome(item, share=share) for item in items])
        self.engine.settled(len(outcomes))
        self._log(outcomes, took_ms=(time.perf_counter() - started) * 1000)
        return outcomes

    def answer(self, given: object) -> dict[str, Any]:
        """The answer to the one request that some Celery producer sent, as an object or as its JSON text.

        `operation_id` may stand in it, beside its fields; a request without one gets one from the task's id.
        """
        request = _read(given)
        if not isinstance(request, Mapping):
            return _refused("unknown", self.task_id, EnumCoreErrorCode.VALIDATION_ERROR, "request: not a JSON object")
        fields = {"correlation_id": str(_correlation_id(self.task_id)), **request}
        operation_id = fields.pop("operation_id", None)
        if operation_id is None:
            asks_health = fields.get("operation_type") == HEALTH_OPERATION  # also while the database is away
            operation_id = str(uuid7() if asks_health else self._unless_away(self._own_id))
        raw = {
            "operation_id": operation_id,
            "operation_type": DatabaseOperationData.OPERATION_TYPE,
            "occurred_at": now().isoformat(),
            "correlation_id": fields["correlation_id"],
            "data": {"request": fields},
        }
        (item,) = decode_items([raw], task_id=self.task_id)
        (outcome,) = self.outcomes([item])
        if outcome.detail is not None:
            return outcome.detail
        return _refused(fields.get("operation_type"), fields["correlation_id"], outcome.code, outcome.message)

    def _outcome(self, item: Item, *, share: int) -> Outcome:
        """share  of the bytes that the message's answers may have.   Raises Outage."""
        data = getattr(item, "data", None)
        if not isinstance(data, DatabaseOperationData):
            code, message = (item.code, item.message) if isinstance(item, Refusal) else (None, None)
            return Outcome(item.operation_id, "refused", code, message)
        if self.engine.deaths(self.task_id):
            return Outcome(item.operation_id, "refused", EnumCoreErrorCode.POISON, ENDED_WORKERS)
        try:
            found = self._found(data.request, item.operation_id, share=share)
        except Lost:
            return Outcome(item.operation_id, "refused", EnumCoreErrorCode.DATABASE_OPERATION_ERROR, BROKE)
        except HeldBack as held:
            return Outcome(item.operation_id, "refused", EnumCoreErrorCode.DATABASE_OPERATION_ERROR, held.message)
        except Outage:
            raise
        except Exception:
            fields = {"operation_id": str(item.operation_id), "task_id": self.task_id}
            logger.exception("operation_defect", extra={"fields": fields})
            return Outcome(item.operation_id, "refused", EnumCoreErrorCode.INTERNAL_ERROR, DEFECT)
        answer = {name: found[name] for name in _EMPTY}
        if answer["success"]:
            return Outcome(item.operation_id, "applied", detail=answer)
        return Outcome(item.operation_id, "refused", answer["error_code"], detail=answer)

    def _found(self, request: Mapping[str, Any], operation_id: UUID, *, share: int) -> Mapping[str, Any]:
        engine = self.engine
        if request.get("operation_type") == HEALTH_OPERATION:
            trace = str(request.get("correlation_id"))
            found = health(engine.run, engine.state, uptime_s=time.monotonic() - self.since, correlation_id=trace)
            told = {"success": True, "operation_type": HEALTH_OPERATION, "correlation_id": trace, "result_data": found}
            return _EMPTY | told
        return persevere(
            engine,
            lambda conn: carry_out.carry_out(
                conn,
                request,
                operation_id=operation_id,
                limits=engine.limits,
                max_bytes=min(carry_out.MAX_BYTES, share),
                row_bytes=share,
            ),
            breaks=FEW_BREAKS,
            held_s=BRIEFLY_HELD_S,
        )

    def _own_id(self) -> UUID:
        """The same at every delivery of the task.

        An id says when it was made, and a write whose id is old is refused: so this one is of the day. Where the ledger
        knows the one of a day before, as far back as it remembers, this is another delivery of that day's message.

        Two deliveries on both sides of midnight count twice where the second one looks before the first one commits.
        The broker gives a message to another worker after 120 s at the earliest: the first would have to take as long.
        """
        today = now().replace(hour=0, minute=0, second=0, microsecond=0)
        days = [today - timedelta(days=ago) for ago in range(self.engine.limits.horizon.days + 1)]
        ids = [derived_uuid7(day, self.task_id.encode()) for day in days]
        return self.engine.run(lambda conn: ledger.first_known(conn, ids)) or ids[0]

    def _unless_away(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except Outage as outage:
            raise requeue(outage, task_id=self.task_id, task_name=self.task_name) from None

    def _log(self, outcomes: Sequence[Outcome], *, took_ms: float) -> None:
        category, level = performance(took_ms)
        fields = {
            "task_id": self.task_id,
            "task_name": self.task_name,
            "operations": len(outcomes),
            "refused": sum(not outcome.committed for outcome in outcomes),
            "execution_time_ms": round(took_ms, 3),
            "performance_category": category,
        }
        logger.log(level, "operations_answered", extra={"fields": fields})


def _read(given: object) -> object:
    """A task's argument: JSON text as what it says; None where it cannot be read."""
    if not isinstance(given, str):
        return given
    try:
        return exact_json(given) if len(given) <= MAX_OPERATION_BYTES else None
    except ValueError:
        return None


def _correlation_id(task_id: str) -> UUID:
    """Of a request that names none: the task's id, which nearly always is a UUID."""
    try:
        return UUID(task_id)
    except ValueError:
        return derived_uuid7(TIMELESS, task_id.encode())


def _refused(operation_type: object, correlation_id: object, code: str | None, message: str | None) -> dict[str, Any]:
    name = operation_type if isinstance(operation_type, str) else "unknown"
    told = {"operation_type": name[:50], "correlation_id": str(correlation_id)[:50]}
    return _EMPTY | told | {"error_code": code, "error_message": message}
