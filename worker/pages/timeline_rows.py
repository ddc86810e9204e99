"""What the rows of a trace tell, as spans of time and marks; how they are drawn is timeline_drawing's."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from omninode_bridge.contract.enums import ENDED_STATES
from worker.pages.markup import visible
from worker.reports.time_words import duration_text, instant_of, later, length_of
from worker.reports.trace_errors import error_of_event, tells_of_failure

Row = Mapping[str, Any]

ERROR_CHARS = 300  # of a message, in the drawing; the tables have it whole

_DONE = {"COMPLETED"}
_FAILED = {"FAILED", "ERROR", "TIMEOUT", "TIMED_OUT"}


@dataclass(frozen=True, slots=True)
class Span:
    """When something ran, as far as it is told: `end` None while it runs; a length may be unknown (start == end)."""

    start: datetime
    end: datetime | None
    reckoned: bool = False  # one end is taken from the length


@dataclass(frozen=True, slots=True)
class Mark:
    at: datetime
    label: str
    title: str
    tone: str


def tone_of(state: object) -> str:
    """How a state looks: done, failed, quiet or active."""
    name = str(state or "PENDING").upper()
    if name in _DONE or name in _FAILED:
        return "done" if name in _DONE else "failed"
    return "quiet" if name == "PENDING" or name in ENDED_STATES else "active"


def workflow_span(workflow: Row) -> Span | None:
    """None where no start is told; `end` None while no end is."""
    start, end = instant_of(workflow.get("started_at")), instant_of(workflow.get("completed_at"))
    length = length_of(workflow.get("execution_time_ms"))
    if start is None:
        return Span(later(end, -length), end, reckoned=True) if end is not None and length is not None else None
    if end is None and length is not None:
        return Span(start, later(start, length), reckoned=True)
    return Span(start, end if end is None else max(start, end))


def step_span(step: Row, *, running: bool) -> Span | None:
    """None where no instant is told. Only a workflow that runs has steps that do."""
    start, end = instant_of(step.get("started_at")), instant_of(step.get("completed_at"))
    length = length_of(step.get("execution_time_ms"))
    if start is not None:
        if end is not None:
            return Span(start, max(start, end))
        if length is not None:
            return Span(start, later(start, length), reckoned=True)
        return Span(start, None if running and tone_of(step.get("status")) == "active" else start)
    end = end or instant_of(step.get("created_at"))
    if end is None:
        return None
    return Span(end, end) if length is None else Span(later(end, -length), end, reckoned=True)


def is_running(workflow: Row) -> bool:
    return workflow.get("completed_at") is None and str(workflow.get("current_state")).upper() not in ENDED_STATES


def length_text(row: Row, span: Span) -> str:
    """Nothing where no length is known."""
    if span.end is None:
        return "no end told"
    is_known = span.end > span.start or length_of(row.get("execution_time_ms")) is not None
    return duration_text(length_ms(span)) if is_known else ""


def is_backwards(row: Row) -> bool:
    start, end = instant_of(row.get("started_at")), instant_of(row.get("completed_at"))
    return start is not None and end is not None and end < start


def length_ms(span: Span) -> float:
    return ((span.end or span.start) - span.start).total_seconds() * 1_000


def transitions_of(rows: Iterable[Row]) -> Iterator[Mark]:
    for row in rows:
        at = instant_of(row.get("transition_at")) or instant_of(row.get("created_at"))
        if at is not None:
            to_state = row.get("to_state") or "?"
            title = f"{row.get('from_state') or '(start)'} → {to_state}"
            title += "".join(
                f"\n{word}: {row[name]}"
                for name, word in (
                    ("transition_event", "event"),
                    ("triggered_by", "triggered by"),
                    ("entity_type", "of"),
                )
                if row.get(name)
            )
            yield Mark(at, f"→ {to_state}", title, tone_of(to_state))


def stamps_of(rows: Iterable[Row]) -> Iterator[Mark]:
    for row in rows:
        at = instant_of(row.get("created_at"))
        if at is not None:
            title = f"stamp {row.get('stamp_id') or '(no id)'}\nfile hash: {row.get('file_hash') or 'none'}"
            yield Mark(at, str(row.get("stamp_id") or row.get("file_hash") or "stamp"), title, "stamp")


def events_of(rows: Iterable[Row]) -> Iterator[Mark]:
    """Where they happened; events that are kept together did not happen together."""
    for row in rows:
        at = instant_of(row.get("occurred_at")) or instant_of(row.get("created_at"))
        if at is not None:
            kind, direction = row.get("event_type") or "event", row.get("direction") or "in"
            title = f"{kind} ({direction})" + "".join(
                f"\n{name}: {row[name]}" for name in ("status", "topic") if row.get(name)
            )
            if error := error_of_event(row):
                title += f"\nerror: {short(error, ERROR_CHARS)}"
            yield Mark(at, str(kind), title, "failed" if tells_of_failure(row) else f"event {direction}")


def short(value: object, chars: int) -> str:
    """The first characters of it, in one line, all of them to be seen."""
    line = visible(" ".join(str(value).split()))
    return line if len(line) <= chars else line[: chars - 1] + "…"
