"""The tasks that carry out intents: batches of a client, lists of any producer, and each intent by its own name.

    effects     applied in one transaction, like any operations; what they announce is committed with them
    recoveries  answered from the store, outside the ledger: they change nothing
    then        one wait for the message, until its events are on the bus or the wait is over

A message that comes again finds its effects committed, so it is answered as before. See docs/intents.md.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from celery import Celery

from omninode_bridge.bus.envelope import announcement_id
from omninode_bridge.client.broker import EXECUTE_INTENTS_TASK, INTENT_BATCH_TASK
from omninode_bridge.contract.enums import EnumIntentType
from omninode_bridge.contract.errors import invalid
from omninode_bridge.contract.intent_operation import FsmTransitionIntentData, PublishEventData, RecoverFsmStatesData
from omninode_bridge.contract.json_text import exact_json
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.operation_types import INTENT_TYPES
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.values import MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS
from omninode_bridge.contract.wire import Item, decode_batch, encode_outcomes, refuse_operation
from omninode_bridge.intents.intents import (
    INTENT,
    OPERATION_TYPE_OF,
    ModelIntent,
    intent_item,
    intent_type_of,
    refused_intent,
)
from omninode_bridge.intents.plan import must_succeed, plan
from omninode_bridge.intents.results import result_of
from store.database.errors import Outage
from tasks import recovery
from tasks.engine import Engine
from tasks.persist import decode
from tasks.recovery import RecoveryBounds
from tasks.settle import only, outcomes_of, requeue

_INTENT_FIELDS = frozenset(ModelIntent.model_fields)


def register(app: Celery, engine: Engine, bounds: RecoveryBounds) -> None:
    """Give `app` the tasks `omninode.intent_batch`, `omninode.execute_intents`, and one of each intent's own name."""

    @app.task(name=INTENT_BATCH_TASK, bind=True, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def intent_batch(self: Any, operations: Any) -> dict[str, Any]:
        message = _Message(engine=engine, bounds=bounds, task_id=self.request.id, task_name=self.name)
        items = only(decode(operations, task_id=message.task_id, operation_type=None), INTENT_TYPES)
        return encode_outcomes(message.with_publication(items, message.carry_out(items)))

    @app.task(name=EXECUTE_INTENTS_TASK, bind=True, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def execute_intents(self: Any, intents: Any, fail_fast: bool = False) -> Any:
        if not isinstance(fail_fast, bool):
            raise invalid("fail_fast: neither true nor false")
        message = _Message(engine=engine, bounds=bounds, task_id=self.request.id, task_name=self.name)
        return message.answer(intents, fail_fast=fail_fast)

    for intent_type in EnumIntentType:
        _register_one(app, engine, bounds, intent_type)


def _register_one(app: Celery, engine: Engine, bounds: RecoveryBounds, intent_type: EnumIntentType) -> None:
    """A task that takes one intent or its payload alone, a list of such, JSON text of either; or fields as keywords."""

    @app.task(name=f"omninode.{OPERATION_TYPE_OF[intent_type]}", bind=True, shared=False)  # type: ignore[untyped-decorator]
    def carry_out(self: Any, *intents: Any, **fields: Any) -> Any:
        given = (*intents, fields) if fields or not intents else intents
        message = _Message(engine=engine, bounds=bounds, task_id=self.request.id, task_name=self.name)
        return message.answer(given[0] if len(given) == 1 else list(given), intent_type=intent_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """One message of intents, on its way to an answer."""

    engine: Engine
    bounds: RecoveryBounds
    task_id: str
    task_name: str

    def answer(self, given: object, *, intent_type: EnumIntentType | None = None, fail_fast: bool = False) -> Any:
        """The result of an intent, or those of a list in the order given, as JSON objects.

        intent_type  of what does not name its own; then no other is taken
        """
        read = _read(given, task_id=self.task_id)
        intents = read if isinstance(read, list) else [read]
        if len(intents) > MAX_BATCH_OPERATIONS:
            results = self._refused_together(intents)
        else:
            wholes = [_whole(intent, intent_type) for intent in intents]
            results = self._results(wholes, [_item(whole, intent_type) for whole in wholes], fail_fast=fail_fast)
        return results if isinstance(read, list) else results[0]

    def carry_out(self, items: Sequence[Item]) -> list[Outcome]:
        """One outcome per item, in order; the effects together, then the recoveries.

        Raises celery's Reject (requeue) when the message must stay in the broker.
        """
        asked = {
            n: (item, item.data)
            for n, item in enumerate(items)
            if isinstance(item, Operation) and isinstance(item.data, RecoverFsmStatesData)
        }
        effects = {n: item for n, item in enumerate(items) if n not in asked}
        named = {"task_id": self.task_id, "task_name": self.task_name}
        outcomes = outcomes_of(self.engine, list(effects.values()), **named) if effects else []
        try:
            answers = list(recovery.answers(self.engine, list(asked.values()), self.bounds))
        except Outage as outage:
            raise requeue(outage, operations=len(items), **named) from None
        found = dict(zip(effects, outcomes, strict=True)) | dict(zip(asked, answers, strict=True))
        return [found[n] for n in range(len(items))]

    def with_publication(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes; those of events say whether these are on the bus, after one wait for all of them."""
        events = [_event_id(item) if outcome.committed else None for item, outcome in zip(items, outcomes, strict=True)]
        wanted = {id_ for id_ in events if id_ is not None}
        on_bus = self.engine.published(wanted) if wanted else set()
        return [
            outcome if id_ is None else outcome._replace(detail={"event_published": id_ in on_bus})
            for id_, outcome in zip(events, outcomes, strict=True)
        ]

    def _results(self, intents: list[Any], items: list[Item], *, fail_fast: bool) -> list[dict[str, Any]]:
        outcomes: dict[int, Outcome] = {}  # of those that were carried out, in that order
        took_ms: dict[int, float] = {}
        for step in plan(intents, fail_fast):
            started = time.perf_counter()
            outcomes |= zip(step, self.carry_out([items[n] for n in step]), strict=True)
            took_ms |= dict.fromkeys(step, (time.perf_counter() - started) * 1000)
            if any(must_succeed(intents[n], fail_fast) and not outcomes[n].committed for n in step):
                break
        told = self.with_publication([items[n] for n in outcomes], list(outcomes.values()))
        ends = dict(zip(outcomes, told, strict=True))
        return [_json_result(intent, items[n], ends.get(n), took_ms.get(n, 0.0)) for n, intent in enumerate(intents)]

    def _refused_together(self, intents: list[Any]) -> list[dict[str, Any]]:
        message = f"intents: {len(intents)}, at most {MAX_BATCH_OPERATIONS} are taken"
        refusal = refuse_operation(intents, message, seed=f"{self.task_id}:batch", operation_type=INTENT)
        (outcome,) = self.carry_out([refusal])
        return [_json_result(intent, refusal, outcome, 0.0) for intent in intents]


def _read(given: object, *, task_id: str) -> object:
    """A task's argument: JSON text as what it says; its refusal where it cannot be read."""
    if not isinstance(given, str):
        return given
    if len(given) <= MAX_BATCH_BYTES:
        with suppress(ValueError):
            return exact_json(given)
    (refusal,) = decode_batch(given, task_id=task_id)
    return refusal.model_copy(update={"refused_type": INTENT})


def _whole(given: Any, intent_type: EnumIntentType | None) -> Any:
    """The intent; a payload alone becomes one of that type."""
    if intent_type is None or isinstance(given, Refusal):
        return given
    if not _is_whole(given):
        return {"intent_type": intent_type, "payload": given}
    return given if given.get("intent_type") is not None else {**given, "intent_type": intent_type}


def _is_whole(given: Any) -> bool:
    """Whether it is an intent. An event's payload may have fields of the same names, beside its own type."""
    if not isinstance(given, dict):
        return False
    if "payload" in given:
        return "event_type" not in given
    return "intent_type" in given and given.keys() <= _INTENT_FIELDS


def _item(intent: Any, intent_type: EnumIntentType | None) -> Item:
    """What an intent becomes; one of another type than the task's is refused."""
    if isinstance(intent, Refusal):
        return intent
    named = intent_type_of(intent)
    if intent_type is not None and named not in (intent_type, None):
        return refused_intent(intent, f"intent_type: {named} is not taken by this task")
    return intent_item(intent)


def _event_id(item: Item) -> UUID | None:
    """The event that an intent puts on the bus, of those whose results tell of it."""
    if not isinstance(item, Operation):
        return None
    if isinstance(item.data, PublishEventData):
        return item.operation_id
    return announcement_id(item.operation_id) if isinstance(item.data, FsmTransitionIntentData) else None


def _json_result(intent: Any, item: Item, outcome: Outcome | None, took_ms: float) -> dict[str, Any]:
    return result_of(intent, item, outcome, took_ms).model_dump(mode="json")
