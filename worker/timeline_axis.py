"""The time axis of a drawing: where an instant is, sensible ticks, and times in words."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from omninode_bridge.clock import TIMELESS, parse_instant

TICKS = 10  # at most: labels as long as "59 min 30 s" fit beside each other on the narrowest plot
_LONGEST_MS = 10**13  # three centuries: more is no length
_US = timedelta(microseconds=1)
_NOTHING = timedelta(0)


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


def instant_of(value: object) -> datetime | None:
    """None for what is no instant, and for the instant that stands for having none."""
    try:
        at = parse_instant(value)
    except ValueError:
        return None
    return None if at == TIMELESS else at


def length_of(value: object) -> float | None:
    """Milliseconds; None for what is no length."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST_MS:
        return float(value)
    return None


def later(at: datetime, ms: float) -> datetime:
    """The instant so many milliseconds later (earlier for a negative number), as far as the calendar goes."""
    try:
        return at + timedelta(milliseconds=ms)
    except OverflowError:
        return at


def tick_text(since: timedelta, step: timedelta) -> str:
    """The label of a tick that is a multiple of `step`, exact: "-50 ms", "1.5 s", "2 min 30 s"."""
    sign, size = ("-" if since < _NOTHING else ""), abs(since)
    if not size:
        return "0"
    if size < timedelta(minutes=1):
        unit, name = (1_000_000, "s") if step > timedelta(milliseconds=100) else (1_000, "ms")
        if step < timedelta(microseconds=100):
            unit, name = 1, "µs"
        return f"{sign}{size / _US / unit:,.10g} {name}"
    return sign + _compound(size)


def duration_text(ms: float | None) -> str:
    """To about three digits: "0.42 ms", "245 ms", "3.42 s", "4 min 12 s", "2 d 4 h"."""
    if ms is None:
        return "not known"
    size = abs(ms)
    sign = "-" if ms < 0 else ""
    if size < 1_000:
        shown = f"{size:.0f}" if size >= 99.95 or size == int(size) else f"{size:.3g}"
        return f"{sign}{shown} ms" if shown != "1000" else f"{sign}1 s"
    if size < 59_950:
        return f"{sign}{f'{size / 1_000:.3g}'} s"
    return sign + _compound(timedelta(milliseconds=size))


def since_text(since: timedelta) -> str:
    text = duration_text(since / timedelta(milliseconds=1))
    return text if text.startswith("-") else f"+{text}"


def instant_text(at: datetime) -> str:
    """To the millisecond, further only where there is more."""
    return at.replace(tzinfo=None).isoformat(
        sep=" ", timespec="microseconds" if at.microsecond % 1_000 else "milliseconds"
    )


def _compound(size: timedelta) -> str:
    """A minute or more, in the two largest units."""
    seconds = round(size.total_seconds())
    for small, unit, name, rest in ((3_600, 24, "d", "h"), (60, 60, "h", "min"), (1, 60, "min", "s")):
        rounded = round(seconds / small)
        if rounded >= unit:
            whole, part = divmod(rounded, unit)
            return f"{whole:,} {name} {part} {rest}" if part else f"{whole:,} {name}"
    return f"{seconds} s"
