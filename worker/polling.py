"""Waiting for something that only asking can tell."""

import threading
import time
from collections.abc import Callable

STEP_S = 0.02


def wait_until(done: Callable[[], bool], *, seconds: float) -> bool:
    """Ask until it is so; False when the time is over. Blocks the thread."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        pause.wait(STEP_S)
    return True
