"""The tables below a timeline: every row of a trace, readable without the drawing."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from omninode_bridge.contract.clock import TIMELESS, parse_instant
from worker.pages.markup import Markup, tag
from worker.pages.timeline_rows import tone_of
from worker.reports.time_words import duration_text, instant_text, length_of, since_text
from worker.reports.trace_errors import tells_of_failure, with_errors

Row = Mapping[str, Any]
Kind = Literal["text", "count", "state", "event", "instant", "length", "error"]
Columns = Mapping[str, tuple[str, Kind]]

JSON_CHARS = 20_000  # of the fields of one row that have no column; `fleet trace --json` has them whole

COLUMNS: dict[str, Columns] = {
    "steps": {
        "step_order": ("order", "count"),
        "step_name": ("step", "text"),
        "step_type": ("type", "text"),
        "status": ("status", "state"),
        "started_at": ("started", "instant"),
        "completed_at": ("completed", "instant"),
        "created_at": ("recorded", "instant"),
        "execution_time_ms": ("took", "length"),
        "error_message": ("error", "error"),
    },
    "transitions": {
        "transition_at": ("at", "instant"),
        "from_state": ("from", "text"),
        "to_state": ("to", "state"),
        "transition_event": ("event", "text"),
        "triggered_by": ("triggered by", "text"),
    },
    "stamps": {
        "created_at": ("at", "instant"),
        "stamp_id": ("stamp", "text"),
        "file_hash": ("file hash", "text"),
    },
    "events": {
        "occurred_at": ("at", "instant"),
        "created_at": ("kept", "instant"),
        "event_type": ("event", "event"),
        "direction": ("direction", "text"),
        "status": ("status", "text"),
        "topic": ("topic", "text"),
        "error": ("error", "error"),
    },
}
_TOLD_ABOVE = {
    "workflow_type",
    "correlation_id",
    "current_state",
    "namespace",
    "started_at",
    "completed_at",
    "error_message",
    "session_id",
}


def rows_table(name: str, rows: Sequence[Row], *, total: int | None, zero: datetime | None) -> Markup:
    """A section with the rows in their order; columns that no row fills are left out. `total`: how many there are."""
    heading = tag("h2", name.capitalize(), " ", tag("small", count_text(len(rows), total)))
    if not rows:
        return tag("section", heading, tag("p", f"It has no {name}.", class_="note"), id=name)
    if name == "events":
        rows = with_errors(rows)
    known = COLUMNS.get(name) or _every_field(rows)
    columns = {field: shape for field, shape in known.items() if any(_filled(row.get(field)) for row in rows)}
    rest = [{key: value for key, value in row.items() if key not in known and _filled(value)} for row in rows]
    head = [
        tag(
            "th",
            f"{word}, UTC" if kind == "instant" else word,
            scope="col",
            class_="number" if kind in _NUMBERS else None,
        )
        for word, kind in columns.values()
    ]
    body = [
        tag(
            "tr",
            *(_cell(row.get(field), kind, zero) for field, (_, kind) in columns.items()),
            tag("td", _more(more)),
            class_="failed" if name == "events" and tells_of_failure(row) else None,
        )
        for row, more in zip(rows, rest, strict=True)
    ]
    table = tag("table", tag("thead", tag("tr", *head, tag("th", "more", scope="col"))), tag("tbody", *body))
    return tag("section", heading, tag("div", table, class_="wide"), id=name)


def _every_field(rows: Sequence[Row]) -> Columns:
    """The columns of a list that has none of its own: all fields but documents."""
    fields = {field: value for row in rows for field, value in row.items()}
    return {
        field: (field.replace("_", " "), "instant" if field.endswith("_at") else "text")
        for field, value in fields.items()
        if not isinstance(value, dict | list)
    }


def count_text(shown: int, total: int | None) -> str:
    """ "1,000 of 10,000", or the number alone where all are shown."""
    return f"{shown:,}" if total is None or total == shown else f"{shown:,} of {total:,}"


def workflow_table(workflow: Row) -> Markup:
    """What the header does not tell of the workflow."""
    rest = {key: value for key, value in workflow.items() if key not in _TOLD_ABOVE and _filled(value)}
    if not rest:
        return Markup("")
    rows = [tag("tr", tag("th", key, scope="row"), tag("td", _value(key, value))) for key, value in rest.items()]
    return tag(
        "section", tag("h2", "Workflow"), tag("div", tag("table", tag("tbody", *rows)), class_="wide"), id="workflow"
    )


def instant(value: object, *, zero: datetime | None = None) -> Markup:
    """An instant for people; text that is none is shown as it is.

    With `zero`, also the distance from it, and no date where that is the same.
    """
    try:
        at = parse_instant(value)
    except ValueError:
        return tag("span", "" if value is None else value)
    if at == TIMELESS:
        return tag("span", "no time of its own", class_="note")
    text = f"{instant_text(at)} UTC"
    if zero is None:
        return tag("time", text, datetime=at.isoformat())
    shown = text.removeprefix(f"{zero.date()} ").removesuffix(" UTC")
    return tag("time", shown, tag("small", since_text(at - zero)), datetime=at.isoformat(), title=text)


_NUMBERS = ("count", "length")


def _cell(value: object, kind: Kind, zero: datetime | None) -> Markup:
    if value is None:
        return tag("td")
    match kind:
        case "instant":
            return tag("td", instant(value, zero=zero), class_="instant")
        case "length":
            length = length_of(value)
            return tag("td", value if length is None else duration_text(length), class_="number")
        case "count":
            return tag("td", value, class_="number")
        case "state":
            return tag("td", value, class_="state failed" if tone_of(value) == "failed" else "state")
        case "error":
            return tag("td", value, class_="error")
        case "event":
            return tag("td", value, class_="text event")
        case "text":
            return tag("td", value, class_="text")


def _more(fields: Row) -> Markup:
    if not fields:
        return Markup("")
    return tag(
        "details", tag("summary", f"{len(fields)} fields" if len(fields) > 1 else "1 field"), tag("pre", _json(fields))
    )


def _value(key: str, value: object) -> Markup:
    if key.endswith("_at"):
        return instant(value)
    return tag("pre", _json(value)) if isinstance(value, dict | list) else tag("span", value)


def _json(value: object) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= JSON_CHARS else f"{text[:JSON_CHARS]}\n… and {len(text) - JSON_CHARS:,} characters more"


def _filled(value: object) -> bool:
    return value is not None and value != {} and value != []
