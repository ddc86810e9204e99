"""What `submit` hands out: a promise of one operation's outcome.

Handles are made tens of thousands a second, so one holds no lock or event of its own: those of one client share a
`Home`, and whoever really waits brings along what he waits with.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any
from uuid import UUID

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.outcome import Outcome

Callback = Callable[["Handle"], object]

logger = logging.getLogger(__name__)


class Home:
    """What all handles of one client share: a lock, and the process that they can be waited for in."""

    __slots__ = ("lock", "pid")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pid = os.getpid()

    def is_here(self) -> bool:
        return os.getpid() == self.pid

    def check_process(self) -> None:
        """Raises OnexError VALIDATION_ERROR in a process forked from the client's own: its threads are not there."""
        if os.getpid() != self.pid:
            raise invalid("client: made before this process was forked; make one in this process")


class Handle:
    """One submitted operation.

    submitted_at  monotonic seconds
    confirmed_at  monotonic seconds; None until then, and for ever where the client was closed before
    """

    __slots__ = ("_callbacks", "_end", "_home", "confirmed_at", "operation_id", "operation_type", "submitted_at")

    def __init__(self, operation_id: UUID, operation_type: str, home: Home) -> None:
        self.operation_id = operation_id
        self.operation_type = operation_type
        self.submitted_at = time.monotonic()
        self.confirmed_at: float | None = None
        self._home = home
        self._end: Outcome | OnexError | None = None
        self._callbacks: list[Callback] | None = None

    def done(self) -> bool:
        """Whether nothing more will come: confirmed, or given up because the client was closed."""
        return self._end is not None

    def result(self, timeout_s: float | None = None) -> Outcome:
        """The outcome, waited for at most `timeout_s` seconds; a refused operation has one too.

        Raises OnexError TIMEOUT when it is not there in time (the operation stays submitted), or when the client was
        closed before (the operation may still be applied).
        """
        if self._end is None:
            self._home.check_process()
            self._wait(timeout_s)
        end = self._end
        if end is None:
            message = f"operation {self.operation_id}: no confirmation within {timeout_s} s"
            raise OnexError(EnumCoreErrorCode.TIMEOUT, message)
        if isinstance(end, OnexError):
            raise OnexError(end.error_code, end.message, end.context)  # each waiter gets one of his own
        return end

    def add_done_callback(self, callback: Callback) -> None:
        """Call `callback(handle)` once it is done: in the client's own thread, or here where it is done already.

        A callback delays the confirmations behind it, so it must be quick and must not wait for any.
        """
        with self._home.lock:
            if self._end is None:
                if self._callbacks is None:
                    self._callbacks = [callback]
                else:
                    self._callbacks.append(callback)
                return
        callback(self)

    def __await__(self) -> Generator[Any, None, Outcome]:
        if self._end is None:
            self._home.check_process()
            yield from self._future().__await__()
        return self.result(0)

    def __repr__(self) -> str:
        end = self._end
        state = "pending" if end is None else end.status if isinstance(end, Outcome) else "given up"
        return f"<Handle {self.operation_type} {self.operation_id} {state}>"

    def _wait(self, timeout_s: float | None) -> None:
        event = threading.Event()

        def wake(_: Handle) -> None:
            event.set()

        self.add_done_callback(wake)
        try:
            event.wait(timeout_s)
        finally:
            self._drop(wake)

    def _future(self) -> asyncio.Future[None]:
        """Done when this handle is, on the running loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def wake(_: Handle) -> None:
            try:
                loop.call_soon_threadsafe(_resolve, future)
            except RuntimeError:  # the loop was closed meanwhile: nobody waits
                logger.debug("a loop was closed while it waited for %s", self.operation_id)

        self.add_done_callback(wake)
        future.add_done_callback(lambda done: self._drop(wake) if done.cancelled() else None)
        return future

    def _drop(self, callback: Callback) -> None:
        with self._home.lock:
            if self._callbacks and callback in self._callbacks:
                self._callbacks.remove(callback)


def settle(handles: Sequence[Handle], ends: Sequence[Outcome | OnexError], *, home: Home) -> None:
    """End each handle with its outcome, or with the error that its waiters get; then run the callbacks."""
    now = time.monotonic()
    called: list[tuple[Handle, list[Callback]]] = []
    with home.lock:
        for handle, end in zip(handles, ends, strict=True):
            if isinstance(end, Outcome):
                handle.confirmed_at = now
            handle._end = end
            if handle._callbacks is not None:
                called.append((handle, handle._callbacks))
                handle._callbacks = None
    if called:
        _call(called)


def _call(called: list[tuple[Handle, list[Callback]]]) -> None:
    """A callback that raises harms nobody else; the first one of a batch is shown, the others are counted."""
    failed = 0
    for handle, callbacks in called:
        for callback in callbacks:
            try:
                callback(handle)
            except Exception:
                failed += 1
                if failed == 1:
                    logger.exception("a callback of operation %s raised", handle.operation_id)
    if failed > 1:
        logger.error("%d callbacks of the same batch raised", failed)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
