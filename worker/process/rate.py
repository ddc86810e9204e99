"""How many operations a second, over the last ten."""

from collections import deque

WINDOW_S = 10


class Rate:
    """A total, and a mean over the last `WINDOW_S` whole seconds; `now` is of a monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.total = 0
        self._seconds: deque[tuple[int, int]] = deque(maxlen=WINDOW_S + 1)  # (second, operations in it)

    def add(self, count: int, *, now: float) -> None:
        self.total += count
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + count)
        else:
            self._seconds.append((second, count))

    def per_second(self, *, now: float) -> float:
        this_second = int(now)
        recent = sum(count for second, count in tuple(self._seconds) if this_second - WINDOW_S <= second < this_second)
        return round(recent / WINDOW_S, 1)
