"""How long something took, in the word and at the level of the log."""

import logging

SLOW_MS = 100.0
VERY_SLOW_MS = 1000.0


def performance(took_ms: float) -> tuple[str, int]:
    """How long that was in a word, and the level to log it at."""
    if took_ms < SLOW_MS:
        return "fast", logging.INFO
    return ("slow", logging.INFO) if took_ms < VERY_SLOW_MS else ("very_slow", logging.WARNING)
