"""The time axis of a drawing: where an instant is, and sensible ticks."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.reports.time_words import later, tick_text

TICKS = 10  # at most: labels as long as "59 min 30 s" fit beside each other on the narrowest plot


def _tick_steps() -> Iterable[timedelta]:
    for unit in (1, 10, 100, 1_000, 10_000, 100_000):
        yield from (timedelta(microseconds=unit * digit) for digit in (1, 2, 5))
    yield from (timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 15, 30))
    yield from (timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30))
    yield from (timedelta(hours=hours) for hours in (1, 2, 3, 6, 12))
    for days in (1, 10, 100, 1_000, 10_000, 100_000):
        yield from (timedelta(days=days * digit) for digit in (1, 2, 5))


@dataclass(frozen=True, slots=True)
class Axis:
    """From `first` to `last`; ticks count from `zero`, which lies between them."""

    first: datetime
    last: datetime
    zero: datetime

    def percent(self, at: datetime) -> float:
        """Where the instant is, 0 to 100 of the plot's width; the nearest end for one outside."""
        return 100 * min(1.0, max(0.0, (at - self.first) / (self.last - self.first)))

    def side(self, at: datetime) -> int:
        """-1 before the axis, 1 after it, 0 on it."""
        return (at > self.last) - (at < self.first)

    def ticks(self) -> list[tuple[float, str]]:
        """Percent and label of each."""
        step = next(step for step in _tick_steps() if (self.last - self.first) / step <= TICKS - 1)
        lowest, highest = -((self.zero - self.first) // step), (self.last - self.zero) // step
        return [
            (self.percent(self.zero + number * step), tick_text(number * step, step))
            for number in range(lowest, highest + 1)
        ]


def axis_of(core: Iterable[datetime], others: Iterable[datetime], *, zero: datetime | None) -> Axis | None:
    """An axis that holds all of `core`, and of `others` what is no further from it than it is long.

    One late event would otherwise press everything else into a line. Where `core` has no length, the axis holds all.
    None when there is no instant at all.
    """
    core, others = sorted(core), sorted(others)
    if not core or core[0] == core[-1]:
        core, others = sorted(core + others), []
    if not core:
        return None
    first, last = core[0], core[-1]
    length = last - first
    near = [at for at in others if abs(at - min(max(at, first), last)) <= length]
    first, last = min([first, *near]), max([last, *near])
    if first == last:
        last = later(last, 1.0)
        first = last - timedelta(milliseconds=1)
    return Axis(first, last, zero if zero is not None and first <= zero <= last else first)
