"""Batches that were sent and are not confirmed: how many may be, and which are to be sent again. Pure."""

import math
from collections import deque

from omninode_bridge.client.backoff import Backoff
from omninode_bridge.client.buffer import Batch


class Flight:
    """Unconfirmed batches by task id, in the order of their numbers.

    A batch is fresh until it is first due to be sent again. Only fresh ones count against `window`, so that batches
    which nobody confirms hold up no others.
    """

    def __init__(self, *, window: int, resend: Backoff) -> None:
        self._window = window
        self._resend = resend
        self._batches: dict[str, Batch] = {}
        self._fresh: set[str] = set()
        self._overdue: deque[str] = deque()
        self._next_due_at = math.inf
        self.newest_confirmed = 0.0  # when the last sent one of the confirmed batches was sent

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def window_open(self) -> bool:
        return len(self._fresh) < self._window

    @property
    def idle(self) -> bool:
        """Whether no answer is about to arrive."""
        return not self._fresh

    @property
    def next_due_at(self) -> float:
        """Not later than the next batch becomes due; infinity when none will."""
        return self._next_due_at

    def first(self) -> int | None:
        """The number of the oldest unconfirmed operation that was sent."""
        return next((batch.first for batch in self._batches.values()), None)

    def get(self, task_id: str) -> Batch | None:
        return self._batches.get(task_id)

    def add(self, batch: Batch) -> None:
        """Note a batch that is about to be sent for the first time."""
        self._batches[batch.task_id] = batch
        self._fresh.add(batch.task_id)

    def sent(self, batch: Batch, now: float) -> None:
        """Note that it was handed to the broker."""
        batch.times_sent += 1
        batch.sent_at = now
        batch.due_at = now + self._resend.delay_s(batch.times_sent)
        self._next_due_at = min(self._next_due_at, batch.due_at)

    def confirmed(self, batch: Batch) -> None:
        self._fresh.discard(batch.task_id)
        if self._batches.pop(batch.task_id, None) is not None:
            self.newest_confirmed = max(self.newest_confirmed, batch.sent_at)

    def overdue(self, now: float) -> Batch | None:
        """The batch that has waited longest for being sent again, if any; it stays here."""
        if now >= self._next_due_at:
            self._find_due(now)
        while self._overdue:
            batch = self._batches.get(self._overdue[0])
            if batch is not None and batch.due_at <= now:
                return batch
            self._overdue.popleft()
        return None

    def overtaken(self, batch: Batch, now: float) -> bool:
        """Whether its copy cannot still be waiting in the queue: one sent after it is confirmed, or it is ages old."""
        return batch.sent_at < self.newest_confirmed or now - batch.sent_at >= self._resend.most_s

    def unconfirmed(self, *, sent_before: float) -> list[str]:
        """The task ids of batches whose answer may have been missed."""
        return [task_id for task_id, batch in self._batches.items() if batch.times_sent and batch.sent_at < sent_before]

    def clear(self) -> list[Batch]:
        """Take everything out, unconfirmed."""
        batches = list(self._batches.values())
        self._batches.clear()
        self._fresh.clear()
        self._overdue.clear()
        return batches

    def _find_due(self, now: float) -> None:
        self._next_due_at = math.inf
        self._overdue.clear()
        for task_id, batch in self._batches.items():
            if not batch.times_sent:
                continue
            if batch.due_at <= now:
                self._overdue.append(task_id)
                self._fresh.discard(task_id)
            else:
                self._next_due_at = min(self._next_due_at, batch.due_at)
