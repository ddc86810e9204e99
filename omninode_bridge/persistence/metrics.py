"""What an adapter counts of its own calls, since it was made."""

import threading
from collections import Counter, deque
from typing import Any

SAMPLES = 1000  # the latest calls, of which the times are told
WINDOW_S = 60
MAX_NAMES = 64  # operation types are the callers' words: beyond so many they are counted together
OTHER = "other"


class AdapterMetrics:
    """Counted by any number of threads. `now` is of one monotonic clock, in seconds."""

    def __init__(self, *, now: float) -> None:
        self._lock = threading.Lock()
        self._since = now
        self._calls: Counter[str] = Counter()
        self._total_ms: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._times_ms: deque[float] = deque(maxlen=SAMPLES)
        self._seconds: deque[tuple[int, int]] = deque()  # (second, calls in it), of the window
        self._peak = 0

    def count(self, operation_type: str, *, took_ms: float, error_code: str | None, now: float) -> None:
        """A call that was answered; `error_code` None where it succeeded."""
        with self._lock:
            known = operation_type in self._calls or len(self._calls) < MAX_NAMES
            name = operation_type if known else OTHER
            self._calls[name] += 1
            self._total_ms[name] += took_ms  # type: ignore[assignment]  # a Counter of floats counts as well
            self._times_ms.append(took_ms)
            if error_code is not None:
                self._errors[error_code] += 1
            self._count_second(int(now))

    def uptime_s(self, now: float) -> float:
        return now - self._since

    def read(self, *, now: float) -> dict[str, Any]:
        """Plain values. `error_rate` is a share of 1, as percent in `errors`; both of all calls."""
        with self._lock:
            self._forget_seconds(int(now))
            total, failed = self._calls.total(), self._errors.total()
            in_window = sum(calls for _, calls in self._seconds)
            times = sorted(self._times_ms)
            rate = failed / total if total else 0.0
            return {
                "total_operations": total,
                "operations_by_type": dict(self._calls),
                "avg_execution_times": {name: self._total_ms[name] / calls for name, calls in self._calls.items()},
                "error_rate": rate,
                "performance": _performance(times),
                "errors": {
                    "total_errors": failed,
                    "error_rate_percent": 100 * rate,
                    "errors_by_type": dict(self._errors),
                },
                "throughput": {
                    "operations_per_second": in_window / max(1.0, min(WINDOW_S, now - self._since)),
                    "peak_operations_per_second": self._peak,
                    "window_size_seconds": WINDOW_S,
                    "sample_count": in_window,
                },
                "uptime_seconds": now - self._since,
            }

    def _count_second(self, second: int) -> None:
        self._forget_seconds(second)
        if self._seconds and self._seconds[-1][0] >= second:  # a thread that was late counts in the latest one
            latest, calls = self._seconds.pop()
            self._seconds.append((latest, calls + 1))
        else:
            self._seconds.append((second, 1))
        self._peak = max(self._peak, self._seconds[-1][1])

    def _forget_seconds(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - WINDOW_S:
            self._seconds.popleft()


def _performance(times: list[float]) -> dict[str, Any]:
    """Of times in milliseconds, sorted."""
    return {
        "avg_execution_time_ms": sum(times) / len(times) if times else 0.0,
        "min_execution_time_ms": times[0] if times else 0.0,
        "max_execution_time_ms": times[-1] if times else 0.0,
        "p95_execution_time_ms": _percentile(times, 95),
        "p99_execution_time_ms": _percentile(times, 99),
        "sample_count": len(times),
    }


def _percentile(times: list[float], percent: int) -> float:
    """By the nearest rank."""
    return times[-(-len(times) * percent // 100) - 1] if times else 0.0
