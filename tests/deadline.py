"""Waiting in tests: for a condition, never for a time."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

STEP_S = 0.02
# Tests run beside each other, and beside whatever else the machine does: a deadline ends a wait that is in vain, it
# measures nothing.
PATIENCE = 6


T = TypeVar("T")


def wait_until(predicate: Callable[[], T], *, seconds: float, what: str) -> T:
    """The predicate's first true answer.

    `seconds` is what it takes at most on a machine that does nothing else; PATIENCE times as long is waited.
    Raises: AssertionError that names `what` when the time is over.
    """
    seconds *= PATIENCE
    pause, deadline = threading.Event(), monotonic() + seconds
    while not (answer := predicate()):
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what} (last answer: {answer!r})")
        pause.wait(STEP_S)
    return answer
