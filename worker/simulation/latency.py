"""How long things took, in bounded memory: a count for each two percent of time."""

import math
from collections import Counter
from collections.abc import Sequence

GROWTH = 1.02  # from one bucket to the next: how exact a percentile is
SHORTEST_S = 1e-5

_LOG_GROWTH = math.log(GROWTH)


class Latencies:
    """A histogram of durations, in seconds."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        self.add_all((seconds,))

    def add_all(self, durations_s: Sequence[float]) -> None:
        self._buckets.update([int(math.log(max(one, SHORTEST_S) / SHORTEST_S) / _LOG_GROWTH) for one in durations_s])
        self.longest_s = max(self.longest_s, max(durations_s, default=0.0))

    def percentile_s(self, percent: float) -> float:
        """The duration that `percent` of all stayed within, to about two percent; 0 where there were none."""
        wanted = self._buckets.total() * percent / 100
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return float(min(SHORTEST_S * GROWTH ** (bucket + 1), self.longest_s))
        return 0.0

    def percentiles_ms(self) -> dict[str, float]:
        """p50, p95, p99 and the longest, in milliseconds."""
        parts = {"p50": self.percentile_s(50), "p95": self.percentile_s(95), "p99": self.percentile_s(99)}
        return {name: round(seconds * 1000, 2) for name, seconds in {**parts, "max": self.longest_s}.items()}
