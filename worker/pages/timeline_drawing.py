"""A workflow's trace as a drawing: its steps as bars under one time axis, and lanes of marks for what else happened.

Every row is an SVG of its own: the page may be printed or be wide or narrow, and text keeps its size. Places are
percent of the plot's width; what must not overlap is reckoned in pixels of the narrowest plot (`.drawing` in
timeline.css).
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.pages.markup import Markup, joined, tag
from worker.pages.timeline_axis import Axis, axis_of
from worker.pages.timeline_rows import (
    ERROR_CHARS,
    Mark,
    Span,
    events_of,
    is_backwards,
    is_running,
    length_ms,
    length_text,
    short,
    stamps_of,
    step_span,
    tone_of,
    transitions_of,
    workflow_span,
)
from worker.reports.time_words import duration_text, instant_of, instant_text, since_text
from worker.reports.trace_errors import error_of

Row = Mapping[str, Any]

NARROWEST_PX = 640  # of the plot, as timeline.css has it
LETTER_PX = 7.2  # a capital of 11 px in the wider fonts that systems have; a Chinese character is two
LABEL_CHARS = 22  # as many as the margin right of the plot takes
LEVELS = 4  # of labels in one lane
LEVEL_PX = 14
BAR_PX, ROW_PX = 12, 20
OUTSIDE_PX = 14  # from the plot's edge to the mark of what is beyond it
CLUSTER_PX = 11  # marks nearer than this would hide each other
TOLD = 12  # of a cluster's marks, in its title
AXIS_ROWS = 25  # steps, after which the axis is there again: on paper, each page shows it

THIN_PERCENT = 0.1  # of the plot: a narrower bar is a mark of one pixel, or a browser would not draw it


@dataclass(frozen=True, slots=True)
class Drawing:
    """What there is to draw, with its axis; `last_known` is the last instant that anything tells."""

    axis: Axis
    workflow: Row
    span: Span
    steps: Sequence[Row]
    step_spans: Sequence[Span | None]
    lanes: Mapping[str, Sequence[Mark]]
    last_known: datetime

    def markup(self) -> Markup:
        rows = [_axis_row(self.axis, "axis"), self._workflow_row()]
        rows += [_lane_row(self.axis, name, marks) for name, marks in self.lanes.items() if marks]
        for number, (step, span) in enumerate(zip(self.steps, self.step_spans, strict=True), 1):
            rows.append(self._step_row(step, span))
            if number % AXIS_ROWS == 0:
                rows.append(_axis_row(self.axis, "axis again"))
        told = f"Timeline of {len(self.steps):,} steps; the tables below tell the same."
        return tag("div", *rows, class_="drawing", role="img", aria_label=told)

    def _workflow_row(self) -> Markup:
        state = self.workflow.get("current_state")
        label = self._label(state, self.workflow, self.span)
        bar = self._bar(self.span, tone_of(state), label, _title("workflow", self.workflow, self.span, self.axis))
        return _row("workflow", _plot(ROW_PX, bar), class_="whole")

    def _step_row(self, step: Row, span: Span | None) -> Markup:
        name, error = str(step.get("step_name") or "step"), error_of(step)
        status = step.get("status")
        tone = "failed" if error else tone_of(status)
        more = tag("p", short(error, ERROR_CHARS), class_="error") if error else None
        if span is None:
            return _row(name, _plot(ROW_PX, _text(0, 4, 14, "no time told", "note")), more)
        bar = self._bar(span, tone, self._label(status, step, span), _title(name, step, span, self.axis))
        return _row(name, _plot(ROW_PX, bar), more)

    def _label(self, state: object, row: Row, span: Span) -> str:
        """What stands beside a bar: colour alone must not tell that something did not go well."""
        words = [] if tone_of(state) == "done" else [short(state or "PENDING", 12)]
        words.append(length_text(row, span))
        if side := _side(self.axis, span):
            words.append("later" if side > 0 else "earlier")
        return " · ".join(word for word in words if word)

    def _bar(self, span: Span, tone: str, label: str, title: str) -> Markup:
        end = span.end or self.last_known
        start_percent, end_percent = self.axis.percent(span.start), self.axis.percent(max(end, span.start))
        top = (ROW_PX - BAR_PX) / 2
        thin = end_percent - start_percent < THIN_PERCENT
        bar = tag(
            "rect",
            tag("title", title),
            x=_percent(start_percent),
            y=f"{top:g}",
            width="1" if thin else _percent(end_percent - start_percent),
            height=BAR_PX,
            class_=f"bar {tone}" + (" thin" if thin else "" if span.end else " open"),
        )
        return joined(bar, _text(end_percent, 6, ROW_PX / 2 + 4, label, tone))


def drawing_of(trace: Mapping[str, Any]) -> Drawing | None:
    """None where no instant is known: there is nothing to draw."""
    workflow: Row = trace.get("workflow") or {}
    steps: Sequence[Row] = trace.get("steps") or []
    running = is_running(workflow)
    whole = workflow_span(workflow)
    spans = [step_span(step, running=running) for step in steps]
    lanes = {
        "transitions": list(transitions_of(trace.get("transitions") or [])),
        "stamps": list(stamps_of(trace.get("stamps") or [])),
        "events": list(events_of(trace.get("events") or [])),
    }
    own, of_steps = _instants([whole]), _instants(spans)
    others = [mark.at for marks in lanes.values() for mark in marks]
    if whole is None and (ended := instant_of(workflow.get("completed_at"))) is not None:
        own.append(ended)
    if not own and not of_steps and not others and (created := instant_of(workflow.get("created_at"))) is not None:
        own.append(created)
    zero = whole.start if whole else None
    if whole is None or not length_ms(whole):
        axis = axis_of(own + of_steps, others, zero=zero)
    else:
        axis = axis_of(own, of_steps + others, zero=zero)
        if axis is not None and _lie_beyond(axis, [span for span in spans if span is not None]):
            axis = axis_of(of_steps, own + others, zero=zero)
    if axis is None:
        return None
    known = [at for at in own + of_steps + others if axis.side(at) == 0]
    span = whole or Span(min(known), instant_of(workflow.get("completed_at")))
    return Drawing(axis, workflow, span, steps, spans, lanes, last_known=max(known))


def _instants(spans: Iterable[Span | None]) -> list[datetime]:
    return [at for span in spans if span is not None for at in (span.start, span.end) if at is not None]


def _side(axis: Axis, span: Span) -> int:
    """As Axis.side, where all of it is there."""
    side = axis.side(span.start)
    return side if side == axis.side(span.end or span.start) else 0


def _lie_beyond(axis: Axis, spans: Sequence[Span]) -> bool:
    """Most of them: then the clock that is wrong is the workflow's."""
    return 2 * sum(_side(axis, span) != 0 for span in spans) > len(spans)


def _lane_row(axis: Axis, name: str, marks: Sequence[Mark]) -> Markup:
    groups = list(_groups(axis, marks, apart_px=0 if name == "transitions" else CLUSTER_PX))
    labels = [_label(axis, group, name) for group in groups]
    levels = list(_levels(labels))
    unused = min((level for level in levels if level is not None), default=LEVELS)
    base = (LEVELS - unused) * LEVEL_PX + 12
    drawn = [
        _mark(axis, group, label, name=name, base=base, level=None if level is None else level - unused)
        for group, (_, label), level in zip(groups, labels, levels, strict=True)
    ]
    return _row(f"{name} ({len(marks):,})", _plot(base + 8, *drawn), class_="lane")


def _groups(axis: Axis, marks: Sequence[Mark], *, apart_px: float) -> Iterator[list[Mark]]:
    """Marks that would hide each other together; those off the axis together, at its ends."""
    group: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: mark.at):
        if group and not (
            axis.side(mark.at) == axis.side(group[0].at)
            and (axis.side(mark.at) or _px(axis.percent(mark.at) - axis.percent(group[0].at)) < apart_px)
        ):
            yield group
            group = []
        group.append(mark)
    if group:
        yield group


def _label(axis: Axis, group: Sequence[Mark], name: str) -> tuple[float, str]:
    """Where it begins, in px, and what it says."""
    kinds = {mark.label for mark in group}
    label = group[0].label
    if len(group) > 1:
        label = f"{len(group):,}x {label}" if len(kinds) == 1 else f"{len(group):,} {name}"
    if side := axis.side(group[0].at):
        label = f"{len(group):,} {'later' if side > 0 else 'earlier'}"
    return _px(axis.percent(group[0].at)) + side * OUTSIDE_PX, short(label, LABEL_CHARS)


def _levels(labels: Iterable[tuple[float, str]]) -> Iterator[int | None]:
    """The level of each label, 0 the lowest; None where it would lie over another.

    A label stands to the right of its mark's stem, and below the labels that it passes under, so that no stem
    crosses a label.
    """
    ends = [float("-inf")] * LEVELS
    for start, label in labels:
        taken = [level for level in range(LEVELS) if ends[level] > start]
        level = min(taken) - 1 if taken else LEVELS - 1
        if level < 0:
            yield None
            continue
        letters = len(label) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in label)
        ends[level] = start + letters * LETTER_PX + 10
        yield level


def _mark(axis: Axis, group: Sequence[Mark], label: str, *, name: str, base: int, level: int | None) -> Markup:
    at = _percent(axis.percent(group[0].at))
    tone = "failed" if any(mark.tone == "failed" for mark in group) else group[0].tone
    told = [f"{mark.title}\n{_when(axis, mark.at)}" for mark in group[:TOLD]]
    if len(group) > TOLD:
        told.append(f"and {len(group) - TOLD:,} more, to {_when(axis, group[-1].at)}")
    parts = [tag("title", "\n\n".join(told))]
    top = base if level is None else base - 12 - level * LEVEL_PX
    parts.append(tag("line", x1=at, x2=at, y1=top - 4, y2=base + 4, class_="stem"))
    radius = 3.5 if len(group) == 1 else 5.5
    parts.append(tag("circle", cx=at, cy=base, r=f"{radius:g}", class_="dot"))
    if level is not None:
        parts.append(_text(axis.percent(group[0].at), 4, top + 3, label, "label"))
    side = axis.side(group[0].at)
    moved = f"translate({side * OUTSIDE_PX} 0)" if side else None
    return tag("g", *parts, class_=f"mark {name} {tone}" + (" outside" if side else ""), transform=moved)


def _title(name: str, row: Row, span: Span, axis: Axis) -> str:
    lines = [f"{name}: {row.get('status') or row.get('current_state') or 'PENDING'}", f"from {_when(axis, span.start)}"]
    if span.end is None:
        lines.append("no end told: drawn to the last thing known")
    elif span.end == span.start:
        why = f"took {length}" if (length := length_text(row, span)) else "its length is not told"
        lines.append("it ended before it began, by its times: not timed" if is_backwards(row) else why)
    else:
        lines += [f"to {_when(axis, span.end)}", f"took {duration_text(length_ms(span))}"]
    if span.reckoned:
        lines.append("one end is reckoned from the length")
    if error := error_of(row):
        lines.append(short(error, ERROR_CHARS))
    return "\n".join(lines)


def _when(axis: Axis, at: datetime) -> str:
    return f"{instant_text(at)} UTC ({since_text(at - axis.zero)})"


def _axis_row(axis: Axis, class_: str) -> Markup:
    """The ticks' labels; the first one also holds the lines that every row shows."""
    ticks = axis.ticks()
    labels = [
        tag("text", label, x=_percent(percent), y=14, text_anchor="middle", class_="tick") for percent, label in ticks
    ]
    lines = [tag("line", x1=_percent(percent), x2=_percent(percent), y1="0", y2="100%") for percent, _ in ticks]
    grid = tag("defs", tag("g", *lines, id="grid", class_="grid")) if class_ == "axis" else Markup("")
    return _row("time", tag("svg", grid, *labels, class_="plot", height=ROW_PX), class_=class_)


def _row(name: str, plot: Markup, more: Markup | None = None, *, class_: str = "step") -> Markup:
    shown = tag("span", short(name, 200), class_="name", title=name)
    return tag("div", shown, tag("div", plot, more or Markup("")), class_=f"row {class_}")


def _plot(height: float, *children: Markup) -> Markup:
    return tag("svg", Markup('<use href="#grid"></use>'), *children, class_="plot", height=f"{height:g}")


def _text(percent: float, dx: float, y: float, words: str, class_: str) -> Markup:
    return tag("text", words, x=_percent(percent), dx=f"{dx:g}", y=f"{y:g}", class_=class_)


def _percent(value: float) -> str:
    return f"{value:.3f}%"


def _px(percent: float) -> float:
    return percent * NARROWEST_PX / 100
