"""Reports as tables for people: aligned, as wide as the terminal, whatever the values hold. Programs take `--json`.

Where a terminal is too narrow, long texts get shorter first, to what their column needs at least; then columns go, in
the order that they say (`goes`), and a line under the table names them; where even those that stay do not fit side by
side, each row is told line by line, with all that it has. Ids, instants and numbers are never cut.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.reports.time_words import duration_text, length_of

WIDTH = 160  # where there is no terminal
CELL_CHARS = 64  # a BLAKE3 hash in hex
MESSAGE_CHARS = 300
LEAST_CHARS = 10  # to which a longer text may be cut
GAP = 2  # between columns
NOTHING = "-"

Row = Mapping[str, Any]
Show = Callable[[Any], str]


class Column(NamedTuple):
    """A field of the rows, under a heading. `show` makes text of its value, which is not None.

    goes    in which place it is left out where the table is too wide: 1 first; 0 never
    least   characters to which a text may be cut
    styles  how a terminal shows certain texts
    """

    field: str
    heading: str
    show: Show
    right: bool = False
    goes: int = 0
    least: int = LEAST_CHARS
    styles: Mapping[str, str] = {}


def text(value: Any, chars: int = CELL_CHARS) -> str:
    """One printable line of at most so many characters: what is no letter or sign is shown as its escape."""
    told = value if isinstance(value, str) else orjson.dumps(value).decode()
    line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in told[: chars + 1])
    return line if len(line) <= chars else line[: chars - 1] + "…"


def message(value: Any) -> str:
    return text(value, MESSAGE_CHARS)


def instant(value: Any) -> str:
    """UTC, to the millisecond."""
    at = _parsed(value)
    return text(value) if at is None else at.isoformat(sep=" ", timespec="milliseconds")


def number(value: Any) -> str:
    return f"{value:,}"


def duration(value: Any) -> str:
    """Of milliseconds; nothing for what is no length, such as that of what ended before it began."""
    return NOTHING if length_of(value) is None else duration_text(value)


def whole(value: Any) -> str:
    """An id: never cut."""
    return text(value) if not isinstance(value, str) or len(value) > CELL_CHARS else value


def as_text(
    column: str,
    heading: str | None = None,
    *,
    goes: int = 0,
    least: int = LEAST_CHARS,
    styles: Mapping[str, str] | None = None,
) -> Column:
    return Column(column, heading or column.replace("_", " "), text, goes=goes, least=least, styles=styles or {})


def as_message(column: str, heading: str) -> Column:
    """What somebody looks at the table for."""
    return Column(column, heading, message)


def as_id(column: str, heading: str | None = None, *, goes: int = 0) -> Column:
    return Column(column, heading or column.replace("_", " "), whole, goes=goes)


def as_instant(column: str, heading: str | None = None, *, goes: int = 0) -> Column:
    return Column(column, heading or column.replace("_", " "), instant, goes=goes)


def as_number(column: str, heading: str | None = None, *, goes: int = 0) -> Column:
    return Column(column, heading or column.replace("_", " "), number, right=True, goes=goes)


def as_age(column: str, heading: str, *, goes: int = 0) -> Column:
    """Of seconds."""
    return Column(column, heading, lambda age_s: duration_text(age_s * 1000), right=True, goes=goes)


def as_duration(column: str, heading: str | None = None, *, goes: int = 0) -> Column:
    name = heading or column.removesuffix("_ms").replace("_", " ")
    return Column(column, name, duration, right=True, goes=goes)


def console() -> Console:
    return Console(width=None if Console().is_terminal else WIDTH, highlight=False)


class _Shown(NamedTuple):
    """A column with its cells as they are shown, one a row; the width that it wants, and what it must have."""

    column: Column
    heading: str
    cells: list[str]
    most: int
    least: int


def show_rows(
    to: Console, rows: Sequence[Row], columns: Sequence[Column], *, title: str | None = None, total: int | None = None
) -> None:
    """The rows as a table; columns in which no row has anything are left out.

    total  how many there are, where that is more than are shown
    """
    shown_columns, day = _columns(rows, columns)
    count = f"{len(rows):,}" if total is None or total == len(rows) else f"{len(rows):,} of {total:,}"
    if title is not None:
        to.print(Text(f"\n{title} ({count})", style="bold"))
    if not rows:
        return
    if day is not None:
        to.print(Text(f"times are UTC, of {day}", style="dim"))
    fitting, left_out = _fitting(shown_columns, to.width)
    if not fitting:
        _show_one_by_one(to, shown_columns)
        return
    to.print(_table(fitting, to.width))
    if left_out:
        names = ", ".join(one.column.heading for one in left_out)
        to.print(Text(f"not shown, for want of width: {names}", style="dim"))


def _columns(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[list[_Shown], str | None]:
    """Those of which any row has something; and the day, where all instants are of one: they are times of day then."""
    filled = [column for column in columns if any(row.get(column.field) is not None for row in rows)]
    day = _one_day([row.get(column.field) for column in filled if column.show is instant for row in rows])
    told = []
    for column in filled:
        cells, heading = [shown(row.get(column.field), column.show) for row in rows], column.heading
        if column.show is instant and day is not None:
            cells = [cell.removeprefix(f"{day} ") for cell in cells]
        elif column.show is instant:
            heading += " (UTC)"
        most = max(map(cell_len, (heading, *cells)))
        is_uncut = column.right or column.show in (whole, instant)
        least = most if is_uncut else max(cell_len(heading), min(column.least, most))
        told.append(_Shown(column, heading, cells, most, least))
    return told, day


def _one_day(values: Iterable[Any]) -> str | None:
    days = {None if (at := _parsed(value)) is None else str(at.date()) for value in values if value is not None}
    return days.pop() if len(days) == 1 else None


def _fitting(columns: Sequence[_Shown], width: int) -> tuple[list[_Shown], list[_Shown]]:
    """The columns that fit side by side, none where not even those that stay do; and those left out for it."""
    kept, left_out = list(columns), list[_Shown]()
    going = sorted((one for one in columns if one.column.goes), key=lambda one: one.column.goes, reverse=True)
    while sum(one.least + GAP for one in kept) - GAP > width:
        if not going:
            return [], []
        left_out.append(going.pop())
        kept.remove(left_out[-1])
    return kept, left_out


def _widths(columns: Sequence[_Shown], width: int) -> list[int]:
    """Each at least its least; what is left goes to those that want more, in equal shares."""
    widths = [one.least for one in columns]
    left = width - sum(widths) - GAP * (len(columns) - 1)
    wanting = sorted(range(len(columns)), key=lambda place: columns[place].most - widths[place])
    for position, place in enumerate(wanting):
        more = min(columns[place].most - widths[place], left // (len(wanting) - position))
        widths[place] += more
        left -= more
    return widths


def _table(columns: Sequence[_Shown], width: int) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for one, column_width in zip(columns, _widths(columns, width), strict=True):
        justify: Any = "right" if one.column.right else "left"
        table.add_column(one.heading, justify=justify, no_wrap=True, overflow="ellipsis", width=column_width)
    for row in zip(*(one.cells for one in columns), strict=True):
        styles = (one.column.styles for one in columns)
        table.add_row(*(Text(cell, style=style.get(cell, "")) for cell, style in zip(row, styles, strict=True)))
    return table


def _show_one_by_one(to: Console, columns: Sequence[_Shown]) -> None:
    for number_, row in enumerate(zip(*(one.cells for one in columns), strict=True)):
        if number_:
            to.print()
        told = zip(columns, row, strict=True)
        show_fields(to, [(one.heading, cell) for one, cell in told if cell != NOTHING])


def show_fields(to: Console, fields: Iterable[tuple[str, str]]) -> None:
    """Names with their values, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(name, Text(value))
    to.print(table)


def shown(value: Any, show: Show = text) -> str:
    return NOTHING if value is None else show(value)


def _parsed(value: Any) -> datetime | None:
    """Without its zone, which is UTC; None for what is no instant."""
    try:
        return datetime.fromisoformat(value).astimezone(UTC).replace(tzinfo=None)
    except (TypeError, ValueError, OverflowError):
        return None
