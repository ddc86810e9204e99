"""The client's asyncio face: the same, with waiting that leaves the loop free."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Literal, Self, TypedDict, Unpack
from uuid import UUID

from omninode_bridge.client.client import CLOSE_TIMEOUT_S, ClientStats, FleetClient, logger
from omninode_bridge.client.handle import Handle
from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.operation import Data
from omninode_bridge.contract.wire import Item, encode


class ClientOptions(TypedDict, total=False):
    """The options of `FleetClient`."""

    result_backend_url: str | None
    key_prefix: str
    max_pending: int
    max_pending_bytes: int
    when_full: Literal["block", "raise"]
    linger: timedelta
    batch_operations: int
    batch_bytes: int
    max_in_flight: int
    task: str
    queue: str | None


def options_of(environ: Mapping[str, str]) -> tuple[str, ClientOptions]:
    """The broker's URL and the options that these variables name: OMNINODE_BROKER_URL, and optionally
    OMNINODE_RESULT_BACKEND_URL and OMNINODE_BROKER_KEY_PREFIX.

    Raises OnexError VALIDATION_ERROR for a missing one, by name.
    """
    broker_url = environ.get("OMNINODE_BROKER_URL", "")
    if not broker_url:
        raise invalid("OMNINODE_BROKER_URL: missing")
    return broker_url, {
        "result_backend_url": environ.get("OMNINODE_RESULT_BACKEND_URL") or None,
        "key_prefix": environ.get("OMNINODE_BROKER_KEY_PREFIX", ""),
    }


class AsyncFleetClient:
    """As `FleetClient`, for any number of event loops; a handle is awaited, on whichever loop runs.

    Sending and confirming happen in the same two threads, so a busy loop delays no batch.
    """

    def __init__(self, broker_url: str, **options: Unpack[ClientOptions]) -> None:
        self._client = FleetClient(broker_url, **options)

    async def submit(
        self, item: Item | Data, *, correlation_id: UUID | None = None, occurred_at: datetime | None = None
    ) -> Handle:
        """Take one operation; waits for room where the client is full and not told to raise. Raises as the other one.

        Cancelled while it waits, it has not taken the operation.
        """
        handle, text = self._client._prepare(item, correlation_id, occurred_at)
        await self._put(handle, text)
        return handle

    async def submit_many(self, items: Iterable[Item | Data], *, together: bool = False) -> list[Handle]:
        """Take each item, in order; raises as the other one. Cancelled, it may have taken the first of them.

        together  all at once, in one message if one holds them (`messages_of`): they are carried out together
        """
        client = self._client
        prepared = [client._prepare(item, None, None) for item in items]
        handles, texts = [handle for handle, _ in prepared], [text for _, text in prepared]
        if not client._pending.put_all(handles, texts, together=together):
            client._check_may_wait()
            if together and len(client._pending.messages_of([len(text) for text in texts])) == 1:
                await self._until(lambda: client._pending.put_all(handles, texts, together=True), None)
                return handles
            for handle, text in prepared:
                await self._put(handle, text)
        return handles

    def messages_of(self, items: Sequence[Item]) -> list[list[Item]]:
        """The items as they travel when each list is submitted `together`. Raises as `submit` for one too large."""
        if len(items) == 1:
            return [list(items)]
        rest = iter(items)
        counts = self._client._pending.messages_of([len(encode(item)) for item in items])
        return [list(itertools.islice(rest, count)) for count in counts]

    async def flush(self, timeout_s: float | None = None) -> None:
        """Wait until everything submitted before is confirmed. Raises OnexError TIMEOUT as the other one."""
        self._client._home.check_process()
        if not await self._confirmed(timeout_s):
            raise self._client._unconfirmed(f"not confirmed within {timeout_s} s")

    async def close(self, timeout_s: float | None = CLOSE_TIMEOUT_S) -> None:
        """Take nothing more, wait for the confirmations, and stop. Raises OnexError TIMEOUT as the other one."""
        self._client._home.check_process()
        self._client._pending.refuse_more()
        try:
            await self._confirmed(timeout_s)
        finally:
            await asyncio.to_thread(self._client.close, 0)

    def stats(self) -> ClientStats:
        return self._client.stats()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
            return
        try:
            await self.close()
        except OnexError as unconfirmed:  # the block's own error is the one to see
            logger.warning("%s", unconfirmed)

    def __repr__(self) -> str:
        return f"<Async{repr(self._client)[1:]}"

    async def _put(self, handle: Handle, text: bytes) -> None:
        pending = self._client._pending
        if not pending.put(handle, text):
            self._client._check_may_wait()
            await self._until(lambda: pending.put(handle, text), None)

    async def _confirmed(self, timeout_s: float | None) -> bool:
        pending = self._client._pending
        number = pending.submitted
        await self._until(lambda: pending.stopped or pending.confirmed_before(number), timeout_s)
        return pending.confirmed_before(number)

    async def _until(self, succeeds: Callable[[], bool], timeout_s: float | None) -> None:
        """Try at each progress until it succeeds or the time is over."""
        pending, loop = self._client._pending, asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while True:
            progress = asyncio.Event()

            def wake(progress: asyncio.Event = progress) -> None:
                try:
                    loop.call_soon_threadsafe(progress.set)
                except RuntimeError:  # the loop was closed meanwhile: nobody waits
                    logger.debug("a loop was closed while it waited for the fleet")

            pending.watch(wake)  # before the try, so that no progress falls between the two
            try:
                if succeeds():
                    return
                async with asyncio.timeout_at(deadline):
                    await progress.wait()
            except TimeoutError:
                return
            finally:
                pending.unwatch(wake)
