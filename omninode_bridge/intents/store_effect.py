"""The store effect: what a reducer's caller hands its intents to. docs/intents.md is its manual."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self, Unpack
from uuid import UUID

from omninode_bridge.client.aio import AsyncFleetClient, ClientOptions, options_of
from omninode_bridge.client.broker import INTENT_BATCH_TASK
from omninode_bridge.client.client import CLOSE_TIMEOUT_S, ClientStats
from omninode_bridge.client.handle import Handle
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.wire import Item
from omninode_bridge.intents import rollout
from omninode_bridge.intents.intents import intent_item, listed
from omninode_bridge.intents.plan import must_succeed, plan
from omninode_bridge.intents.results import SKIPPED, ModelFSMResult, ModelIntentResult, ModelPublishResult, result_of

TIMEOUT_S = 30.0
LINGER = timedelta(milliseconds=1)  # somebody waits for each intent, so company is worth less than with operations
MAX_IN_FLIGHT = 2  # while that many batches are on their way intents gather: fewer and fuller messages under load


class StoreEffect:
    """Executes intents through the fleet. Any number of tasks and event loops may use one at the same time.

    share    the part of the aggregations for which `takes` is true: a number, a bool or their text
    options  those of `FleetClient`

    Raises OnexError VALIDATION_ERROR for arguments that cannot work. It connects when the first intent comes.
    """

    def __init__(self, broker_url: str, *, share: float | bool | str = True, **options: Unpack[ClientOptions]) -> None:
        given: ClientOptions = {"linger": LINGER, "max_in_flight": MAX_IN_FLIGHT, **options, "task": INTENT_BATCH_TASK}
        self._share = rollout.share_of(share)
        self._client = AsyncFleetClient(broker_url, **given)
        self._metrics = _Metrics()
        self._submitting: set[asyncio.Task[list[Handle]]] = set()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **options: Unpack[ClientOptions]) -> Self:
        """One as these variables say: OMNINODE_BROKER_URL, and optionally OMNINODE_RESULT_BACKEND_URL,
        OMNINODE_BROKER_KEY_PREFIX and ENABLE_INTENT_PUBLISHER, which is false when it is not there.

        Raises OnexError VALIDATION_ERROR for a missing or wrong one, by name.
        """
        broker_url, named = options_of(environ)
        given: ClientOptions = {**named, **options}
        return cls(broker_url, share=environ.get(rollout.VARIABLE) or False, **given)

    # ---- executing ------------------------------------------------------------------------------------------------

    async def execute_intents(
        self, intents: Sequence[object], fail_fast: bool = False, *, timeout_s: float | None = TIMEOUT_S
    ) -> list[ModelIntentResult]:
        """Carry out the intents, by priority, and answer one result for each, in the order given.

        fail_fast  a failed intent of a priority above 1 stops those behind it
        timeout_s  how long to wait for all of them together; what is not confirmed then is no success, says so, and
                   stays submitted; from then on the order is not kept

        The intents are copied before this waits for anything. Raises nothing for what intents may hold.
        """
        intents = listed(intents)
        items = [intent_item(intent) for intent in intents]
        steps = plan(intents, fail_fast)
        deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        late = f"not confirmed within {timeout_s} s (it stays submitted)"
        results: dict[int, ModelIntentResult] = {}
        stopped = False
        for step in steps:
            if stopped:
                results |= {n: result_of(intents[n], items[n], None, 0.0, error=SKIPPED) for n in step}
                continue
            ends = await self._carry_out([items[n] for n in step], deadline, late)
            for n, (outcome, error, took_ms) in zip(step, ends, strict=True):
                results[n] = result_of(intents[n], items[n], outcome, took_ms, error=error)
                self._metrics.count(results[n])
            stopped = any(must_succeed(intents[n], fail_fast) and not results[n].success for n in step)
        return [results[n] for n in range(len(intents))]

    async def execute_intent(self, intent: object, *, timeout_s: float | None = TIMEOUT_S) -> ModelIntentResult:
        """Carry out one intent; as `execute_intents`."""
        return (await self.execute_intents([intent], timeout_s=timeout_s))[0]

    def takes(self, aggregation_id: UUID | str) -> bool:
        """Whether this aggregation's intents are to go to the fleet; for the caller to ask, before it executes them."""
        return rollout.takes(aggregation_id, share=self._share)

    # ---- looking and ending ---------------------------------------------------------------------------------------

    def get_metrics(self) -> dict[str, float]:
        """Since this was made. Skipped intents are not counted as executed.

        intents_executed_total  intents_failed_total, among them
        avg_intent_latency_ms   from being submitted to being confirmed, or given up
        events_published_total  results that knew their event to be on the bus
        """
        return self._metrics.read()

    def stats(self) -> ClientStats:
        """What the client underneath is doing."""
        return self._client.stats()

    async def close(self, timeout_s: float | None = CLOSE_TIMEOUT_S) -> None:
        """Take no more intents, wait for the confirmations, and stop.

        Raises OnexError TIMEOUT that says how many are unconfirmed; those that were sent may still be carried out.
        """
        await self._client.close(timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<StoreEffect {self._share:g} of {self._client!r}>"

    # ---- inside ---------------------------------------------------------------------------------------------------

    async def _carry_out(
        self, items: Sequence[Item], deadline: float | None, late: str
    ) -> list[tuple[Outcome | None, str, float]]:
        """Of each item its outcome, or None and why there is none; and how long that took in milliseconds.

        Message after message: two of a list that were on their way at once could be carried out in either order.
        """
        started = time.monotonic()
        try:
            messages = self._client.messages_of(items)
        except OnexError as error:
            return [(None, str(error), _ms_since(started))] * len(items)
        return [end for message in messages for end in await self._carry_out_together(message, deadline, late)]

    async def _carry_out_together(
        self, items: Sequence[Item], deadline: float | None, late: str
    ) -> list[tuple[Outcome | None, str, float]]:
        started = time.monotonic()
        try:
            handles = await self._submit(items, deadline)
        except OnexError as error:
            return [(None, str(error), _ms_since(started))] * len(items)
        if handles is None:
            return [(None, late, _ms_since(started))] * len(items)
        with suppress(TimeoutError, OnexError):  # each handle says below how it ended
            async with asyncio.timeout_at(deadline):
                for handle in handles:
                    if not handle.done():
                        await handle
        return [_end_of(handle, started, late) for handle in handles]

    async def _submit(self, items: Sequence[Item], deadline: float | None) -> list[Handle] | None:
        """The handles of the items; None when the client stays full until then: they are submitted as it has room."""
        submitting = asyncio.create_task(self._client.submit_many(items, together=True))
        self._submitting.add(submitting)  # so that nobody collects it while it waits for room
        submitting.add_done_callback(self._submitted)
        left_s = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
        done, _ = await asyncio.wait([submitting], timeout=left_s)
        return submitting.result() if done else None

    def _submitted(self, task: asyncio.Task[list[Handle]]) -> None:
        self._submitting.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report one that nobody waits for


def _end_of(handle: Handle, started: float, late: str) -> tuple[Outcome | None, str, float]:
    if not handle.done():
        return None, late, _ms_since(started)
    took_ms = ((handle.confirmed_at or time.monotonic()) - handle.submitted_at) * 1000
    try:
        return handle.result(0), "", took_ms
    except OnexError as error:  # the client was closed before
        return None, str(error), took_ms


def _ms_since(started: float) -> float:
    return (time.monotonic() - started) * 1000


class _Metrics:
    """Counted by any number of event loops at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executed = self._failed = self._published = 0
        self._total_ms = 0.0

    def count(self, result: ModelIntentResult) -> None:
        published = isinstance(result, ModelPublishResult | ModelFSMResult) and result.event_published
        with self._lock:
            self._executed += 1
            self._failed += not result.success
            self._published += published
            self._total_ms += result.execution_time_ms

    def read(self) -> dict[str, float]:
        with self._lock:
            return {
                "intents_executed_total": self._executed,
                "intents_failed_total": self._failed,
                "avg_intent_latency_ms": self._total_ms / self._executed if self._executed else 0.0,
                "events_published_total": self._published,
            }
