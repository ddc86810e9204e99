"""The client: what a bridge node holds to hand its operations to the fleet. docs/client.md is its manual."""

import atexit
import functools
import logging
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self
from uuid import UUID

from pydantic import ValidationError

from omninode_bridge.client.address import RESULT_SCHEMES, masked, scheme
from omninode_bridge.client.backoff import RESEND, Backoff
from omninode_bridge.client.broker import (
    DATABASE_BATCH_TASK,
    INTENT_BATCH_TASK,
    PERSIST_BATCH_TASK,
    QUERY_BATCH_TASK,
    queue_of,
)
from omninode_bridge.client.buffer import Buffer
from omninode_bridge.client.handle import Handle, Home, settle
from omninode_bridge.client.pending import Pending
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.operation import Data, Operation
from omninode_bridge.contract.operation_types import INTENT_TYPES, OPERATION_CLASSES, PERSIST_TYPES
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.values import MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS
from omninode_bridge.contract.wire import Item, encode, error_text

if TYPE_CHECKING:
    from omninode_bridge.client.dispatch import Pace

CLOSE_TIMEOUT_S = 30.0
EXIT_TIMEOUT_S = 5.0  # a program that ends without close() is not held up longer
MAX_PENDING_BYTES = 256 * 1024 * 1024

# What each task takes in a client's batches; refusals as well.
TAKEN_TYPES = {
    PERSIST_BATCH_TASK: (*PERSIST_TYPES, "record_event"),
    INTENT_BATCH_TASK: INTENT_TYPES,
    QUERY_BATCH_TASK: ("answer_query",),
    DATABASE_BATCH_TASK: ("database_operation",),
}
_TAKEN_CLASSES = {
    task: frozenset({Refusal, *(OPERATION_CLASSES[name] for name in names)}) for task, names in TAKEN_TYPES.items()
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClientStats:
    """A client at one moment.

    pending            operations submitted and not confirmed; of them `buffered` were never sent
    in_flight_batches  batches sent and not confirmed
    refused            confirmed operations that ended as dead letters
    resent             batches that were sent again because no confirmation came
    paused             whether batches that are due again are held back, because the fleet's queue does not move
    last_error         the last thing that went wrong on the way, without secrets; it may be long over
    """

    submitted: int
    pending: int
    pending_bytes: int
    buffered: int
    in_flight_batches: int
    sent_batches: int
    confirmed: int
    refused: int
    resent: int
    broker_available: bool
    paused: bool
    last_error: str | None


class FleetClient:
    """Hands operations to the fleet and learns what became of each. Any thread may use it.

    broker_url          redis://, rediss://, sentinel://, amqp:// or amqps://
    result_backend_url  where confirmations come from, of the Redis kind; the broker when not given
    key_prefix          the fleet's `OMNINODE_BROKER_KEY_PREFIX`
    max_pending         operations that may be unconfirmed; `max_pending_bytes` bounds their encoded size
    when_full           what `submit` does beyond that: "block", or "raise" OnexError SERVICE_UNAVAILABLE
    linger              how long an operation waits for company while others are on their way
    batch_operations, batch_bytes  the most that travels in one message
    max_in_flight       batches on their way at a time
    task                the fleet's task that takes the batches, and with it what may be submitted (`TAKEN_TYPES`)
    queue               the fleet's queue; the task's own when not given

    Raises OnexError VALIDATION_ERROR for arguments that cannot work. It connects when the first operation comes.
    """

    def __init__(
        self,
        broker_url: str,
        *,
        result_backend_url: str | None = None,
        key_prefix: str = "",
        max_pending: int = 100_000,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        when_full: Literal["block", "raise"] = "block",
        linger: timedelta = timedelta(milliseconds=5),
        batch_operations: int = 500,  # docs/decisions/0004-batches-of-500.md
        batch_bytes: int = 256 * 1024,
        max_in_flight: int = 16,
        task: str = PERSIST_BATCH_TASK,
        queue: str | None = None,
        _resend: Backoff = RESEND,
        _pace: "Pace | None" = None,
    ) -> None:
        # Here, so that a program that only needs the models does not load Celery.
        from omninode_bridge.client.dispatch import Dispatch, Pace
        from omninode_bridge.client.sender import Route

        _check_bound("max_pending", max_pending)
        _check_bound("max_pending_bytes", max_pending_bytes)
        _check_bound("batch_operations", batch_operations, most=MAX_BATCH_OPERATIONS)
        _check_bound("batch_bytes", batch_bytes, most=MAX_BATCH_BYTES)
        _check_bound("max_in_flight", max_in_flight)
        if when_full not in ("block", "raise"):
            raise invalid("when_full: neither 'block' nor 'raise'")
        if linger < timedelta(0):
            raise invalid("linger: negative")
        if not result_backend_url and scheme(broker_url) not in RESULT_SCHEMES:
            raise invalid("result_backend_url: needed, because this broker cannot keep confirmations")
        if task not in TAKEN_TYPES:
            raise invalid(f"task: none of {', '.join(TAKEN_TYPES)}")
        self._route = Route(broker_url, result_backend_url or broker_url, key_prefix, queue or queue_of(task), task)
        self._taken = _TAKEN_CLASSES[task]
        self._blocks = when_full == "block"
        self._home = Home()
        self._pending = Pending(
            buffer=Buffer(batch_operations=batch_operations, batch_bytes=batch_bytes, linger_s=linger.total_seconds()),
            window=max_in_flight,
            resend=_resend,
            max_operations=max_pending,
            max_bytes=max_pending_bytes,
        )
        self._dispatch = Dispatch(self._pending, route=self._route, home=self._home, pace=_pace or Pace())
        self._started = self._closed = False
        self._at_exit = functools.partial(_close_at_exit, weakref.ref(self))

    # ---- submitting -----------------------------------------------------------------------------------------------

    def submit(
        self,
        item: Item | Data,
        *,
        correlation_id: UUID | None = None,
        occurred_at: datetime | None = None,
    ) -> Handle:
        """Take one operation; returns at once unless the client is full.

        `correlation_id` and `occurred_at` (now when not given) are for data alone; an operation has its own.
        Raises OnexError VALIDATION_ERROR (too large, no operation: nothing was taken), SERVICE_UNAVAILABLE (full and
        told to raise, or closed).
        """
        handle, text = self._prepare(item, correlation_id, occurred_at)
        if not self._pending.put(handle, text):
            self._check_may_wait()
            self._pending.put_waiting(handle, text)
        return handle

    def submit_many(self, items: Iterable[Item | Data]) -> list[Handle]:
        """Take each item, in order.

        Raises as `submit`, for a wrong item before any is taken; a client that is told to raise takes all or none.
        """
        prepared = [self._prepare(item, None, None) for item in items]
        handles, texts = [handle for handle, _ in prepared], [text for _, text in prepared]
        if not self._pending.put_all(handles, texts):
            self._check_may_wait()
            for handle, text in prepared:
                self._pending.put_waiting(handle, text)
        return handles

    # ---- waiting --------------------------------------------------------------------------------------------------

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until everything submitted before this call is confirmed, and its callbacks have run.

        Raises OnexError TIMEOUT that says how many operations are not; they stay submitted.
        """
        self._home.check_process()
        self._check_may_wait(flushing=True)
        if not self._pending.wait_confirmed(self._pending.submitted, timeout_s):
            raise self._unconfirmed(f"not confirmed within {timeout_s} s")

    def close(self, timeout_s: float | None = CLOSE_TIMEOUT_S) -> None:
        """Take nothing more, wait for the confirmations of what was taken, and stop. A second call does nothing.

        Raises OnexError TIMEOUT that says how many operations are unconfirmed. Those that were sent may still be
        applied; the others are lost with this client.
        """
        self._home.check_process()
        self._check_may_wait(flushing=True)
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        self._pending.refuse_more()
        try:
            self._pending.wait_confirmed(self._pending.submitted, timeout_s)
        finally:
            error = self._unconfirmed("not confirmed when the client was closed")
            left = self._pending.stop()
            self._dispatch.stop()
            settle(left, [error] * len(left), home=self._home)
        if left:
            raise error

    def stats(self) -> ClientStats:
        """What is going on; cheap, and not a snapshot to the last operation."""
        pending, dispatch = self._pending, self._dispatch
        return ClientStats(
            submitted=pending.submitted,
            pending=pending.count,
            pending_bytes=pending.byte_count,
            buffered=pending.buffered,
            in_flight_batches=pending.in_flight_batches,
            sent_batches=pending.sent_batches,
            confirmed=pending.confirmed,
            refused=pending.refused,
            resent=pending.resent_batches,
            broker_available=dispatch.broker_available,
            paused=pending.paused,
            last_error=dispatch.last_error,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close(CLOSE_TIMEOUT_S)
            return
        try:
            self.close(CLOSE_TIMEOUT_S)
        except OnexError as unconfirmed:  # the block's own error is the one to see
            logger.warning("%s", unconfirmed)

    def __repr__(self) -> str:
        return f"<FleetClient {masked(self._route.broker_url)} {self._pending.count} pending>"

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _prepare(
        self, item: Item | Data, correlation_id: UUID | None, occurred_at: datetime | None
    ) -> tuple[Handle, bytes]:
        self._home.check_process()
        if type(item) in self._taken:  # isinstance is slow for models, and this is asked for each operation
            if correlation_id is not None or occurred_at is not None:
                raise invalid("correlation_id, occurred_at: an operation has its own")
            operation: Item = item  # type: ignore[assignment]  # the line above says so; cast() would be a call
        else:
            operation = _operation(item, correlation_id, occurred_at)
            if type(operation) not in self._taken:
                taken = ", ".join(TAKEN_TYPES[self._route.task])
                raise invalid(f"item: {operation.operation_type} is not for this client, which takes {taken}")
        text = encode(operation)
        if not self._started:
            self._start()
        return Handle(operation.operation_id, operation.operation_type, self._home), text

    def _start(self) -> None:
        with self._home.lock:
            if self._started or self._closed:
                return
            self._started = True
        atexit.register(self._at_exit)
        self._dispatch.start()

    def _check_may_wait(self, *, flushing: bool = False) -> None:
        if not flushing and not self._blocks:
            message = f"client: full, {self._pending.count} operations pending"
            raise OnexError(EnumCoreErrorCode.SERVICE_UNAVAILABLE, message)
        if self._dispatch.is_own_thread():
            raise OnexError(
                EnumCoreErrorCode.SERVICE_UNAVAILABLE, "client: a callback cannot wait for confirmations or for room"
            )

    def _unconfirmed(self, why: str) -> OnexError:
        count, error = self._pending.count, self._dispatch.last_error
        message = f"client: {count} of {self._pending.submitted} operations {why}"
        context = {"unconfirmed": count, "submitted": self._pending.submitted, "last_error": error}
        return OnexError(EnumCoreErrorCode.TIMEOUT, message + (f" (last error: {error})" if error else ""), context)

    def _exit(self) -> None:
        try:
            self.close(EXIT_TIMEOUT_S)
        except OnexError as error:
            logger.warning("the program ends without close(): %s", error.message)


def _operation(data: object, correlation_id: UUID | None, occurred_at: datetime | None) -> Operation:
    """The operation of its type around some data; an operation as it is."""
    if type(data) in OPERATION_CLASSES.values():
        return data  # type: ignore[return-value]  # the line above says so
    if not isinstance(data, Data) or data.OPERATION_TYPE not in OPERATION_CLASSES:
        raise invalid(f"item: {type(data).__name__} is neither an operation nor the data of one")
    given = {"correlation_id": correlation_id, "occurred_at": occurred_at}
    try:
        return OPERATION_CLASSES[data.OPERATION_TYPE].model_validate(
            {"data": data} | {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        raise invalid(error_text(error)) from None


def _check_bound(name: str, value: int, *, most: int | None = None) -> None:
    if value < 1 or (most is not None and value > most):
        raise invalid(f"{name}: {value} is not between 1 and {most if most is not None else 'any number'}")


def _close_at_exit(reference: "weakref.ref[FleetClient]") -> None:
    """Close a client that the program forgot, without having kept it alive; in a forked process it is the parent's."""
    client = reference()
    if client is not None and client._home.is_here():
        client._exit()
