"""Operations on their way into a batch: when one is cut, and what goes into it. Pure; the time is passed in."""

from collections import Counter
from dataclasses import dataclass, field

from omninode_bridge.client.handle import Handle
from omninode_bridge.contract.wire import encode_batch, summary_of

FRAME_BYTES = 1  # of each operation: the comma behind it; the list's brackets are the last one's comma and one more


@dataclass(slots=True)
class Batch:
    """One message: what is in it, and how often it was sent.

    task_id     the same at every sending, so that one confirmation settles all copies
    first       the number of its first operation, counted over the client's life
    odd_answer  the last answer that was no confirmation, so that it is reported once
    """

    task_id: str
    first: int
    handles: list[Handle]
    texts: list[bytes]
    byte_count: int
    sent_at: float = 0.0
    due_at: float = 0.0
    times_sent: int = 0
    odd_answer: bytes | None = field(default=None, repr=False)

    def text(self) -> str:
        return encode_batch(self.texts)

    def summary(self) -> str:
        """What Flower shows instead of the text."""
        return summary_of(Counter(handle.operation_type for handle in self.handles))


class Buffer:
    """Operations in the order of their submission, none of them sent yet."""

    def __init__(self, *, batch_operations: int, batch_bytes: int, linger_s: float) -> None:
        self.batch_operations = batch_operations
        self.batch_bytes = batch_bytes
        self.linger_s = linger_s
        self.first = 0  # the number of the oldest one here
        self.byte_count = 0
        self._handles: list[Handle] = []
        self._texts: list[bytes] = []
        self._begins: list[bool] = []  # whether a message may begin with it

    def __len__(self) -> int:
        return len(self._handles)

    @property
    def full(self) -> bool:
        """Whether there is enough for a batch that need not wait for more."""
        return len(self._handles) >= self.batch_operations or self.byte_count >= self.batch_bytes

    def add(self, handle: Handle, text: bytes, *, begins: bool = True) -> None:
        """Take an operation; one that begins no message travels with those before it, if one message holds them."""
        self._handles.append(handle)
        self._texts.append(text)
        self._begins.append(begins)
        self.byte_count += len(text) + FRAME_BYTES

    def wait_s(self, now: float, *, idle: bool) -> float | None:
        """Seconds until a batch should be cut: 0 is now; None while there is nothing to send.

        While the client is idle (nothing is on its way) waiting gains nothing.
        """
        if not self._handles:
            return None
        if idle or self.full:
            return 0.0
        return max(0.0, self._handles[0].submitted_at + self.linger_s - now)

    def cut(self, task_id: str) -> Batch:
        """The next batch: at least one operation, and no more than the bounds allow."""
        count, size = self._measure()
        handles, texts = self._handles[:count], self._texts[:count]
        del self._handles[:count], self._texts[:count], self._begins[:count]
        self.byte_count -= size
        self.first += count
        return Batch(task_id, self.first - count, handles, texts, size)

    def clear(self) -> list[Handle]:
        """Take everything out, unsent."""
        handles, self._handles, self._texts, self._begins, self.byte_count = self._handles, [], [], [], 0
        self.first += len(handles)
        return handles

    def _measure(self) -> tuple[int, int]:
        count = size = 0
        whole = 0, 0  # what stands before the last operation that begins a message
        for text, begins in zip(self._texts, self._begins, strict=True):
            if begins:
                whole = count, size
            larger = size + len(text) + FRAME_BYTES
            if count == self.batch_operations or (count and larger >= self.batch_bytes):
                return whole if whole[0] else (count, size)
            count, size = count + 1, larger
        return count, size
