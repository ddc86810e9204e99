"""Everything a client has taken and the fleet has not confirmed, shared by the caller's threads and the client's two.

    put            caller's threads: into the buffer, while there is room
    next_batch     sending thread: waits for what is to be sent next
    sent, unsent   sending thread: what became of that
    confirm        confirming thread: out again, and room for more

One lock guards it all. Nothing here talks to the broker, and nobody else's code is called with the lock held.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

from omninode_bridge.client.backoff import Backoff
from omninode_bridge.client.buffer import FRAME_BYTES, Batch, Buffer
from omninode_bridge.client.handle import Handle
from omninode_bridge.client.in_flight import Flight
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.outcome import Outcome

_NUMBER_BITS = 48  # the last group of a UUID's text


class TaskIds:
    """UUIDs of one client: all but the last group is the client's own, so one pattern finds all of its results."""

    def __init__(self) -> None:
        self._base = uuid4().int >> _NUMBER_BITS << _NUMBER_BITS
        self._number = 0

    @property
    def prefix(self) -> str:
        return str(UUID(int=self._base))[:24]

    def next(self) -> str:
        self._number += 1
        return str(UUID(int=self._base | self._number))


class Pending:
    """See the module. Times are monotonic seconds."""

    def __init__(self, *, buffer: Buffer, window: int, resend: Backoff, max_operations: int, max_bytes: int) -> None:
        self.task_ids = TaskIds()
        self.submitted = self.confirmed = self.refused = self.sent_batches = self.resent_batches = 0
        self.byte_count = 0
        self._buffer = buffer
        self._flight = Flight(window=window, resend=resend)
        self._unsent: deque[Batch] = deque()  # the broker was away when they were sent, or half way
        self._max_operations = max_operations
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # the sending thread waits for something to send
        self._progress = threading.Condition(self._lock)  # callers wait for room, or for confirmations
        self._watchers: list[Callable[[], object]] = []  # the same for those who cannot wait in a thread
        self._wake_count: float = math.inf  # buffered operations at which the sending thread wants to be woken
        self._hold_until = 0.0
        self._closed = False  # takes nothing more
        self._stopped = False  # and waits for nothing more
        self._resend_next = False

    # ---- callers ------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Operations submitted and not confirmed."""
        return self.submitted - self.confirmed

    def put(self, handle: Handle, text: bytes) -> bool:
        """Take one operation; False when there is no room for it. Raises OnexError SERVICE_UNAVAILABLE once closed."""
        with self._lock:
            self._check_open()
            if not self._has_room(1, len(text)):
                return False
            self._add(handle, text)
        return True

    def put_all(self, handles: Sequence[Handle], texts: Sequence[bytes], *, together: bool = False) -> bool:
        """Take all of them, or none (False); `together` in one message, if one holds them."""
        with self._lock:
            self._check_open()
            if not self._has_room(len(handles), sum(map(len, texts))):
                return False
            for n, (handle, text) in enumerate(zip(handles, texts, strict=True)):
                self._add(handle, text, begins=n == 0 or not together)
        return True

    def messages_of(self, sizes: Sequence[int]) -> list[int]:
        """How many operations of these sizes each message holds, in order, if it holds nothing else; what the client
        has room for at a time is the most as well."""
        most = min(self._buffer.batch_operations, self._max_operations)
        most_bytes = min(self._buffer.batch_bytes - 1, self._max_bytes)
        counts: list[int] = []
        filled = 0
        for size in sizes:
            filled += size + FRAME_BYTES
            if counts and counts[-1] < most and filled <= most_bytes:
                counts[-1] += 1
            else:
                counts.append(1)
                filled = size + FRAME_BYTES
        return counts

    def put_waiting(self, handle: Handle, text: bytes) -> None:
        """Take one operation as soon as there is room. Raises OnexError SERVICE_UNAVAILABLE as soon as it is closed."""
        with self._lock:
            while not self._closed and not self._has_room(1, len(text)):
                self._progress.wait()
            self._check_open()
            self._add(handle, text)

    def wait_confirmed(self, before: int, timeout_s: float | None) -> bool:
        """Wait until the first `before` operations are confirmed; False when the time is over or waiting is vain."""
        with self._lock:
            self._progress.wait_for(lambda: self._stopped or self._oldest() >= before, timeout_s)
            return self._oldest() >= before

    def confirmed_before(self, number: int) -> bool:
        """Whether the first `number` operations are confirmed."""
        with self._lock:
            return self._oldest() >= number

    def watch(self, watcher: Callable[[], object]) -> None:
        """Call `watcher` once, at the next progress: a confirmation, or the end of the client."""
        with self._lock:
            if not self._stopped:
                self._watchers.append(watcher)
                return
        watcher()

    def unwatch(self, watcher: Callable[[], object]) -> None:
        with self._lock:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

    def refuse_more(self) -> None:
        """Take nothing more, also from those who wait for room."""
        with self._lock:
            self._closed = True
            watchers = self._progressed()
        _call(watchers)

    def stop(self) -> list[Handle]:
        """End the sending thread's waiting and everybody else's. Returns the handles that nobody will confirm."""
        with self._lock:
            self._stopped = True
            batches = self._flight.clear()
            self._unsent.clear()
            left = [handle for batch in batches for handle in batch.handles] + self._buffer.clear()
            self._work.notify_all()
            watchers = self._progressed()
        _call(watchers)
        return left

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def paused(self) -> bool:
        """Whether batches that are due again are held back."""
        return time.monotonic() < self._hold_until

    @property
    def in_flight_batches(self) -> int:
        return len(self._flight)

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    # ---- the sending thread ---------------------------------------------------------------------------------------

    def next_batch(self) -> Batch | None:
        """Wait for the batch that is to be sent now; None when there will be none any more."""
        with self._lock:
            while not self._stopped:
                now = time.monotonic()
                batch = self._take(now)
                if batch is not None:
                    return batch
                self._wait(now)
        return None

    def sent(self, batch: Batch) -> None:
        with self._lock:
            self.sent_batches += 1
            self.resent_batches += batch.times_sent > 0
            self._flight.sent(batch, time.monotonic())

    def unsent(self, batch: Batch) -> None:
        """It may have arrived or not: send it before any other one, as soon as that is possible."""
        with self._lock:
            if not self._stopped:
                self._unsent.append(batch)

    def overtaken(self, batch: Batch) -> bool:
        """Whether an unconfirmed batch cannot still be waiting in the queue."""
        with self._lock:
            return self._flight.overtaken(batch, time.monotonic())

    def hold_resends(self, for_s: float) -> None:
        """Send nothing a second time for so many seconds; 0 ends it."""
        with self._lock:
            self._hold_until = time.monotonic() + for_s

    # ---- the confirming thread ------------------------------------------------------------------------------------

    def find(self, task_id: str) -> Batch | None:
        with self._lock:
            return self._flight.get(task_id)

    def unconfirmed(self, *, older_than_s: float) -> list[str]:
        with self._lock:
            return self._flight.unconfirmed(sent_before=time.monotonic() - older_than_s)

    def confirm(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Forget a batch whose handles are settled, and let the next ones in."""
        refused = [outcome.status for outcome in outcomes].count("refused")
        with self._lock:
            if self._flight.get(batch.task_id) is None:
                return
            window_was_open = self._flight.window_open
            self._flight.confirmed(batch)
            self.confirmed += len(batch.handles)
            self.refused += refused
            self.byte_count -= batch.byte_count
            if len(self._buffer) or not window_was_open:  # a closed window made it deaf to what comes into the buffer
                self._work.notify()
            watchers = self._progressed()
        _call(watchers)

    # ---- with the lock held ---------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise OnexError(EnumCoreErrorCode.SERVICE_UNAVAILABLE, "client: closed")

    def _progressed(self) -> list[Callable[[], object]]:
        """Wake who waits in a thread; returns those to call once the lock is free."""
        self._progress.notify_all()
        watchers, self._watchers = self._watchers, []
        return watchers

    def _has_room(self, operations: int, size: int) -> bool:
        """One operation always fits into an empty client, whatever its size."""
        count = self.submitted - self.confirmed
        if count + operations <= self._max_operations and self.byte_count + size <= self._max_bytes:
            return True
        return count == 0 and operations == 1

    def _add(self, handle: Handle, text: bytes, *, begins: bool = True) -> None:
        self._buffer.add(handle, text, begins=begins)
        self.submitted += 1
        self.byte_count += len(text) + FRAME_BYTES
        if self._wake_count < math.inf and (len(self._buffer) >= self._wake_count or self._buffer.full):
            self._wake_count = math.inf
            self._work.notify()

    def _oldest(self) -> int:
        """The number of the oldest unconfirmed operation, counted from 0."""
        first = self._flight.first()
        return self._buffer.first if first is None else first

    def _take(self, now: float) -> Batch | None:
        """New batches and those to be sent again take turns, so that neither holds up the other."""
        while self._unsent:
            batch = self._unsent.popleft()
            if self._flight.get(batch.task_id) is not None:  # else it had arrived, and is confirmed
                return batch
        self._resend_next = not self._resend_next
        first, second = (self._again, self._new) if self._resend_next else (self._new, self._again)
        return first(now) or second(now)

    def _again(self, now: float) -> Batch | None:
        return self._flight.overdue(now) if now >= self._hold_until else None

    def _new(self, now: float) -> Batch | None:
        self._flight.overdue(now)  # what becomes overdue makes room in the window
        if not self._flight.window_open or self._buffer.wait_s(now, idle=self._flight.idle) != 0:
            return None
        batch = self._buffer.cut(self.task_ids.next())
        self._flight.add(batch)
        return batch

    def _wait(self, now: float) -> None:
        """Until an operation, a confirmation, a linger or a delay makes something to send."""
        wait_s = self._buffer.wait_s(now, idle=self._flight.idle)
        overdue = self._flight.overdue(now) is not None
        wake_at = [self._flight.next_due_at] + ([self._hold_until] if overdue else [])
        if not self._flight.window_open:
            self._wake_count = math.inf
        elif wait_s is None:
            self._wake_count = 1
        else:
            self._wake_count = self._buffer.batch_operations
            wake_at.append(now + wait_s)
        soonest = min(wake_at)
        self._work.wait(None if soonest == math.inf else max(0.0, soonest - now))
        self._wake_count = math.inf


def _call(watchers: list[Callable[[], object]]) -> None:
    for watcher in watchers:
        watcher()
