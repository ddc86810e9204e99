"""Instants and lengths of time as rows hold them, and in words for people."""

from datetime import datetime, timedelta

from omninode_bridge.contract.clock import TIMELESS, parse_instant

_LONGEST_MS = 10**13  # three centuries: more is no length
_US = timedelta(microseconds=1)
_NOTHING = timedelta(0)


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
