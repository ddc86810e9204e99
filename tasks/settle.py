"""From operations to the answer of a task: applied, or given back to the broker; no exception of ours escapes.

outcomes of every operation   -> the task's result, then the acknowledgement
the database is away          -> the message goes back to its queue; nothing is stored as a result
some of it cannot be done yet -> tried again here for a while; see `persevere`
a defect, for the whole batch -> tried again, a little later each time. If other batches passed meanwhile it is this
                                 one: its operations are kept as dead letters, `INTERNAL_ERROR`. If none did, the
                                 defect is the fleet's, and the message goes back to wait for a better one
"""

import json
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from celery.exceptions import Reject

from omninode_bridge.contract.call_log import performance
from omninode_bridge.contract.clock import TIMELESS, derived_uuid7
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal, cut_payload
from omninode_bridge.contract.wire import Item, content_digest, encode_outcomes, refusal_of
from store.database.errors import HeldBack, Lost, Outage
from store.write.apply import apply
from store.write.progress import Progress
from tasks.engine import Engine

logger = logging.getLogger(__name__)
T = TypeVar("T")

DEFECT_DELAYS_S = (0.2, 1.0, 5.0)  # between tries after a defect; the sum stays far below the visibility timeout
HELD_S = 60.0  # beyond the patience with a locked row (store/write/apply.py), and far below the visibility timeout
BRIEFLY_HELD_S = 3.0  # what somebody waits for
FEW_BREAKS = 3  # that work may cost which somebody waits for
BROKE = f"operation: the connection to the database broke over it {FEW_BREAKS} times"
ENDED_WORKERS = "operation: its message was under way in one worker after another when they ended"
BREAKS = 500  # connections: one for each halving, and a batch may hold several rows that break them
DEFECT = "operation: a defect of the fleet; its log tells more"


def settle(engine: Engine, items: Sequence[Item], *, task_id: str, task_name: str) -> dict[str, Any]:
    """Apply the operations and give the task's result.

    Raises celery's Reject (requeue) when the message must stay in the broker.
    """
    return encode_outcomes(outcomes_of(engine, items, task_id=task_id, task_name=task_name))


def outcomes_of(engine: Engine, items: Sequence[Item], *, task_id: str, task_name: str) -> list[Outcome]:
    """Apply the operations: one outcome each, in order. Raises as `settle`."""
    started = time.perf_counter()
    if engine.deaths(task_id):
        items = [refusal_of(item, EnumCoreErrorCode.POISON, ENDED_WORKERS) for item in items]
    fields = {"task_id": task_id, "task_name": task_name, **_correlation(items)}
    try:
        outcomes = _apply(engine, items, fields)
    except Outage as outage:
        raise requeue(outage, operations=len(items), **fields) from None
    engine.settled(len(outcomes))
    _log_settled(outcomes, fields, took_ms=(time.perf_counter() - started) * 1000)
    return outcomes


def settle_unread(engine: Engine, given: object, *, task_id: str, task_name: str) -> dict[str, Any]:
    """Keep a message's arguments as they came, as one dead letter: whoever read them ended. As `settle` otherwise."""
    payload = cut_payload(json.dumps(given, default=str))
    refusal = Refusal(
        operation_id=derived_uuid7(TIMELESS, task_id.encode()),
        digest=content_digest(payload),
        code=EnumCoreErrorCode.POISON,
        message=ENDED_WORKERS,
        payload=payload,
        form="operation",
        source=task_name,
    )
    return settle(engine, [refusal], task_id=task_id, task_name=task_name)


def persevere(engine: Engine, work: Callable[[Any], T], *, breaks: int = BREAKS, held_s: float = HELD_S) -> T:
    """Run work; again where the connection broke though the database answers, and where some of it was held back.

    breaks  how many connections it may cost
    held_s  how long it may be held back
    Raises as `engine.run`: Lost when there were more, HeldBack when it took too long or the worker stops.
    """
    until = time.monotonic() + held_s
    while True:
        try:
            return engine.run(work)
        except Lost:
            breaks -= 1
            if breaks <= 0 or engine.stopping or time.monotonic() >= until:
                raise
        except HeldBack as held:
            if engine.stopping or time.monotonic() >= until:
                raise
            engine.wait(held.retry_after_s)


def requeue(outage: Outage, **fields: Any) -> Reject:
    """What a task raises to leave its message in the broker; `fields` say in the log which one it was."""
    logger.warning("batch_returned", extra={"fields": fields | {"reason": outage.message}})
    return Reject("the database is away", requeue=True)


def only(items: Sequence[Item], operation_types: Collection[str]) -> list[Item]:
    """The items, an operation of any other type as its refusal."""
    return [
        item
        if item.operation_type in operation_types or isinstance(item, Refusal)
        else refusal_of(item, EnumCoreErrorCode.VALIDATION_ERROR, "operation_type: not taken by this task")
        for item in items
    ]


def _apply(engine: Engine, items: Sequence[Item], fields: dict[str, Any]) -> list[Outcome]:
    settled_before = engine.settled_total
    for delay_s in DEFECT_DELAYS_S:
        try:
            return _applied(engine, items)
        except Outage:
            raise
        except Exception:
            logger.exception("batch_defect", extra={"fields": fields | {"operations": len(items)}})
            engine.wait(delay_s)
    if engine.settled_total == settled_before:
        raise Outage("a defect meets every batch")
    return _keep_all(engine, items, fields)


def _applied(engine: Engine, items: Sequence[Item]) -> list[Outcome]:
    progress = Progress(items, engine.suspects)
    return persevere(engine, lambda conn: apply(conn, items, limits=engine.limits, progress=progress))


def _keep_all(engine: Engine, items: Sequence[Item], fields: dict[str, Any]) -> list[Outcome]:
    refusals = [refusal_of(item, EnumCoreErrorCode.INTERNAL_ERROR, DEFECT) for item in items]
    try:
        return _applied(engine, refusals)
    except Outage:
        raise
    except Exception:
        logger.exception("batch_defect_not_kept", extra={"fields": fields | {"operations": len(items)}})
        raise Outage("a defect keeps the operations from being applied and from being kept") from None


def _correlation(items: Sequence[Item]) -> dict[str, Any]:
    """The correlation id of a batch that has exactly one; else how many there are."""
    found = {item.correlation_id for item in items if item.correlation_id is not None}
    if len(found) == 1:
        return {"correlation_id": str(found.pop())}
    return {"correlation_ids": len(found)}


def _log_settled(outcomes: Sequence[Outcome], fields: dict[str, Any], *, took_ms: float) -> None:
    counts = dict.fromkeys(("applied", "duplicate", "refused"), 0)
    for outcome in outcomes:
        counts[outcome.status] += 1
    category, level = performance(took_ms)
    result = {"operations": len(outcomes), **counts}
    timing = {"execution_time_ms": round(took_ms, 3), "performance_category": category}
    logger.log(level, "batch_settled", extra={"fields": fields | result | timing})
