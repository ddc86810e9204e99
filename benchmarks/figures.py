"""Figures, and how they are shown."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Seen(NamedTuple):
    """One line of the result: what was measured, its figure, and what is wanted of it."""

    what: str
    figure: str
    wanted: str


# Given a fleet's variables, and how long to measure in seconds.
Measurement = Callable[[dict[str, str], float], list[Seen]]


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def latency(what: str, latencies: Sequence[float], rate: float, wanted: str) -> Seen:
    """Latencies in ms, seen at so many calls a second."""
    p50, p95 = percentile(latencies, 0.5), percentile(latencies, 0.95)
    return Seen(f"{what}, {rate:,.0f}/s", f"p50 {p50:.1f} ms, p95 {p95:.1f} ms", wanted)
