"""A workflow's trace as one page for a browser: a header, the drawing, and tables that tell the same without it.

The page is whole in itself: no script, no network, and the same text for the same trace.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.pages.markup import Markup, tag
from worker.pages.timeline_drawing import Drawing, drawing_of
from worker.pages.timeline_rows import is_running, tone_of
from worker.pages.timeline_tables import COLUMNS, count_text, instant, rows_table, workflow_table
from worker.reports.time_words import duration_text, instant_of, instant_text, length_of, since_text
from worker.reports.trace_errors import error_of

_STYLE = Markup(Path(__file__).with_suffix(".css").read_text(encoding="utf-8"))
# Were a value ever to become markup, a browser still loads and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_METAS = Markup(
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
)
_LEGEND = {
    "done": "completed",
    "active": "under way",
    "quiet": "pending, skipped or cancelled",
    "failed": "failed",
    "open": "no end told",
    "event": "event that came in",
    "event out": "event that went out",
}


def page(trace: Mapping[str, Any]) -> str:
    """The page of what trace_workflow gives; what is missing in it is told as not known."""
    workflow: Mapping[str, Any] = trace.get("workflow") or {}
    title = str(workflow.get("workflow_type") or "workflow")
    drawing = drawing_of(trace)
    zero = drawing.axis.zero if drawing else None
    head = tag("head", _METAS, tag("title", f"{title} {workflow.get('correlation_id') or ''}"), tag("style", _STYLE))
    tables = [rows_table(name, _rows(trace, name), total=_total(trace, name), zero=zero) for name in _lists(trace)]
    main = tag("main", _header(trace, workflow, title), _timeline(workflow, drawing), *tables, workflow_table(workflow))
    return f'<!DOCTYPE html>\n<html lang="en">{head}{tag("body", main)}</html>\n'


def _header(trace: Mapping[str, Any], workflow: Mapping[str, Any], title: str) -> Markup:
    state = workflow.get("current_state")
    facts: dict[str, object] = {
        "state": tag("span", state or "not known", class_=f"state {tone_of(state)}"),
        "duration": duration_text(length_of(trace.get("duration_ms"))),
        "started": _told(workflow.get("started_at")),
        "ended": _told(workflow.get("completed_at")),
        "namespace": workflow.get("namespace") or "not known",
    }
    if session := workflow.get("session_id"):
        facts["session"] = session
    parts = [
        tag("h1", title),
        tag("p", "correlation id ", tag("code", workflow.get("correlation_id") or "not known"), class_="id"),
        tag("dl", *(tag("div", tag("dt", name), tag("dd", fact)) for name, fact in facts.items()), class_="facts"),
    ]
    if error := error_of(workflow):
        parts.append(tag("p", tag("strong", "Error: "), error, class_="alarm"))
    if cut := trace.get("truncated"):
        parts.append(
            tag("p", f"There is more than this: the trace was cut at its limit ({', '.join(cut)}).", class_="alarm")
        )
    links = [
        tag("a", f"{name} ({count_text(len(_rows(trace, name)), _total(trace, name))})", href=f"#{name}")
        for name in _lists(trace)
    ]
    return tag("header", *parts, tag("nav", *links, aria_label="Tables"))


def _timeline(workflow: Mapping[str, Any], drawing: Drawing | None) -> Markup:
    heading = tag("h2", "Timeline")
    if drawing is None:
        return tag("section", heading, tag("p", "No instant is known: there is nothing to draw.", class_="note"))
    zero = drawing.axis.zero
    start = ", the workflow's start." if zero == instant_of(workflow.get("started_at")) else "."
    notes = [f"Times count from {instant_text(zero)} UTC{start}"]
    if drawing.span.end is None:
        why = "has not ended" if is_running(workflow) else "does not tell when it ended"
        known = f"{instant_text(drawing.last_known)} UTC ({since_text(drawing.last_known - zero)})"
        notes.append(f"The workflow {why}: it is drawn to the last thing known, {known}.")
    legend = [tag("span", tag("i", class_=look), words) for look, words in _LEGEND.items()]
    paragraphs = [tag("p", note, class_="note") for note in notes]
    return tag("section", heading, *paragraphs, drawing.markup(), tag("p", *legend, class_="legend"), id="timeline")


def _lists(trace: Mapping[str, Any]) -> list[str]:
    """The names of its lists: those that a page always has, and what others it brings."""
    return list(dict.fromkeys([*COLUMNS, *(trace.get("totals") or {})]))


def _rows(trace: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    return trace.get(name) or []


def _total(trace: Mapping[str, Any], name: str) -> int | None:
    """How many there are; None where it is not told."""
    return (trace.get("totals") or {}).get(name)


def _told(value: object) -> Markup:
    return tag("span", "not known") if value is None else instant(value)
