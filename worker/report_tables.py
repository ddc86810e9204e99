"""Reports as tables for people: aligned, of bounded width, whatever the values hold. Programs take `--json`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.timeline_axis import duration_text

WIDTH = 160  # where there is no terminal
CELL_CHARS = 64  # a BLAKE3 hash in hex
NOTHING = "-"

Row = Mapping[str, Any]
Show = Callable[[Any], str]


class Column(NamedTuple):
    """A field of the rows, under a heading. `show` makes text of its value, which is not None.

    styles  how a terminal shows certain texts
    """

    field: str
    heading: str
    show: Show
    right: bool = False
    styles: Mapping[str, str] = {}


def text(value: Any) -> str:
    """One printable line of at most CELL_CHARS characters: what is no letter or sign is shown as its escape."""
    told = value if isinstance(value, str) else orjson.dumps(value).decode()
    line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in told[: CELL_CHARS + 1])
    return line if len(line) <= CELL_CHARS else line[: CELL_CHARS - 1] + "…"


def instant(value: Any) -> str:
    """UTC, to the millisecond."""
    try:
        at = datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return text(value)
    return at.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def number(value: Any) -> str:
    return f"{value:,}"


def duration(value: Any) -> str:
    """Of milliseconds."""
    return duration_text(value)


def whole(value: Any) -> str:
    """An id: never cut."""
    return text(value) if not isinstance(value, str) or len(value) > CELL_CHARS else value


def as_text(column: str, heading: str | None = None, *, styles: Mapping[str, str] | None = None) -> Column:
    return Column(column, heading or column.replace("_", " "), text, styles=styles or {})


def as_id(column: str, heading: str | None = None) -> Column:
    return Column(column, heading or column.replace("_", " "), whole)


def as_instant(column: str, heading: str | None = None) -> Column:
    return Column(column, (heading or column.replace("_", " ")) + " (UTC)", instant)


def as_number(column: str, heading: str | None = None) -> Column:
    return Column(column, heading or column.replace("_", " "), number, right=True)


def as_age(column: str, heading: str) -> Column:
    """Of seconds."""
    return Column(column, heading, lambda age_s: duration(age_s * 1000), right=True)


def as_duration(column: str, heading: str | None = None) -> Column:
    return Column(column, heading or column.removesuffix("_ms").replace("_", " "), duration, right=True)


def console() -> Console:
    return Console(width=None if Console().is_terminal else WIDTH, highlight=False)


def show_rows(to: Console, rows: Sequence[Row], columns: Sequence[Column], *, title: str | None = None) -> None:
    """The rows as a table; columns in which no row has anything are left out."""
    if title is not None:
        to.print(Text(f"\n{title} ({len(rows)})", style="bold"))
    if not rows:
        return
    kept = [column for column in columns if any(row.get(column.field) is not None for row in rows)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in kept:
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=_least(column, rows),
        )
    for row in rows:
        table.add_row(*[Text(told, style=column.styles.get(told, "")) for column, told in _cells(kept, row)])
    to.print(table)


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


def _cells(columns: Sequence[Column], row: Row) -> Iterable[tuple[Column, str]]:
    return ((column, _cell(column, row)) for column in columns)


def _cell(column: Column, row: Row) -> str:
    return shown(row.get(column.field), column.show)


def _least(column: Column, rows: Sequence[Row]) -> int | None:
    """Ids and instants are of no use when they are cut."""
    uncut = column.show in (whole, instant)
    return max(len(_cell(column, row)) for row in rows) if uncut else None
