"""What a client holds, handed from the caller's threads to the sending one and taken away by the confirming one."""

import threading
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import pytest

from omninode_bridge.client.backoff import Backoff
from omninode_bridge.client.buffer import Batch, Buffer
from omninode_bridge.client.handle import Handle
from omninode_bridge.client.pending import Pending

RESEND_S = 600.0  # longer than any test


class Home:
    """A handle's client, as far as a handle that nobody waits for needs one."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody asks for {name} here")


class Sending:
    """The sending thread: takes batches, as fast as they come."""

    def __init__(self, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pending = Pending(
            buffer=Buffer(batch_operations=10, batch_bytes=10_000, linger_s=0.001),
            window=window,
            resend=Backoff(first_s=RESEND_S, most_s=RESEND_S),
            max_operations=100,
            max_bytes=100_000,
        )
        self.batches: SimpleQueue[Batch] = SimpleQueue()
        self.waiting: SimpleQueue[float | None] = SimpleQueue()  # for how long at most
        wait = self.pending._work.wait

        def noted(timeout: float | None = None) -> bool:
            self.waiting.put(timeout)
            return wait(timeout)

        monkeypatch.setattr(self.pending._work, "wait", noted)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while (batch := self.pending.next_batch()) is not None:
            self.pending.sent(batch)
            self.batches.put(batch)

    def put(self) -> None:
        handle = Handle(uuid4(), "t", Home())  # type: ignore[arg-type]
        assert self.pending.put(handle, b"{}")

    def waits_for_long(self) -> None:
        """Return when the thread has begun a wait that only somebody else can end in time."""
        while (seconds := self.waiting.get(timeout=10)) is not None and seconds < RESEND_S / 2:
            pass


@pytest.mark.parametrize("window", [1, 2])
def test_what_comes_after_a_closed_window_has_opened_again_is_sent_at_once(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = Sending(window, monkeypatch)
    try:
        sending.waits_for_long()
        batches = []
        for _ in range(window):
            sending.put()
            batches.append(sending.batches.get(timeout=10))
            sending.waits_for_long()
        for batch in batches:  # while nothing is buffered, so that no confirmation finds anything to send
            sending.pending.confirm(batch, [])
        sending.put()
        assert sending.batches.get(timeout=10).task_id not in {batch.task_id for batch in batches}
    finally:
        sending.pending.stop()
        sending.thread.join(60)
