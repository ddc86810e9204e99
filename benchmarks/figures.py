"""Figures, and how they are shown."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from store.housekeeping.job import Job


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


class Carried(NamedTuple):
    """What a job did, in how many seconds, and how long its longest transaction took."""

    rows: int
    counts: Counter[str]
    took_s: float
    longest_s: float


def carry_out(conn: Any, job: Job) -> Carried:
    """Do all of a job, a transaction for each portion."""
    rows, counts, longest_s, begun = 0, Counter[str](), 0.0, time.perf_counter()
    more = True
    while more:
        portion_begun = time.perf_counter()
        with conn.transaction():
            batch = job(conn)
        more = batch.more
        rows += batch.rows
        counts.update(batch.counts)
        longest_s = max(longest_s, time.perf_counter() - portion_begun)
    return Carried(rows, counts, time.perf_counter() - begun, longest_s)
