"""The page of a workflow's trace: its axis, its drawing, its tables, and that no text in it becomes markup."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.traces import HOSTILE, START, at, busy, event, hostile, stamp, step, trace, transition, workflow
from worker.pages.markup import Markup, tag
from worker.pages.timeline import page
from worker.pages.timeline_axis import Axis, axis_of
from worker.pages.timeline_drawing import NARROWEST_PX, drawing_of
from worker.pages.timeline_rows import Span, step_span, workflow_span
from worker.reports.time_words import duration_text, instant_of, length_of

VOID = {"meta"}
MS = timedelta(milliseconds=1)


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes and text. Unbalanced tags fail."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        inside = self._open[-1] if self._open else None
        element: dict[str, Any] = {"tag": tag, "text": "", "inside": inside, **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, name: str, class_: str = "") -> list[dict[str, Any]]:
        wanted = set(class_.split())
        return [e for e in self.elements if e["tag"] == name and wanted <= set(e.get("class", "").split())]

    def bars(self) -> list[dict[str, Any]]:
        return self.all("rect", "bar")


def drawn(trace: dict[str, Any]) -> Page:
    return Page(page(trace))


def test_a_step_is_a_bar_from_its_start_to_its_end() -> None:
    whole, bar = drawn(trace(workflow(1_000), steps=[step("validate", 250, 500)])).bars()
    assert (whole["x"], whole["width"]) == ("0.000%", "100.000%")
    assert (bar["x"], bar["width"], bar["class"]) == ("25.000%", "50.000%", "bar done")
    assert bar["text"].splitlines() == [
        "validate: COMPLETED",
        "from 2025-01-30 10:15:30.250 UTC (+250 ms)",
        "to 2025-01-30 10:15:30.750 UTC (+750 ms)",
        "took 500 ms",
    ]


@pytest.mark.parametrize(
    ("fields", "start_ms", "end_ms"),
    [
        ({}, 100, 150),
        ({"completed_at": None}, 100, 150),
        ({"started_at": None}, 100, 150),
        ({"started_at": None, "completed_at": None}, 100, 150),
        ({"started_at": None, "completed_at": None, "execution_time_ms": None}, 150, 150),
        ({"completed_at": None, "execution_time_ms": None}, 100, 100),
        ({"completed_at": at(90)}, 100, 100),
        ({"started_at": "yesterday", "execution_time_ms": -3}, 150, 150),
        ({"started_at": None, "execution_time_ms": 1e300}, 150, 150),
    ],
)
def test_a_missing_end_is_reckoned_from_the_length(fields: dict[str, Any], start_ms: int, end_ms: int) -> None:
    span = step_span(step("s", 100, 50, **fields), running=False)
    assert span is not None
    assert (span.start, span.end) == (START + start_ms * MS, START + end_ms * MS)


def test_a_step_without_length_is_a_thin_mark_and_one_without_time_says_so() -> None:
    short = step("short", execution_time_ms=None, started_at=None)
    timeless = step("timeless", started_at=None, completed_at=None, created_at="1970-01-01T00:00:00+00:00")
    found = drawn(trace(steps=[short, timeless]))
    assert [bar["class"] for bar in found.bars()] == ["bar done", "bar done thin"]
    assert found.bars()[1]["width"] == "1"
    assert [text["text"] for text in found.all("text", "note")] == ["no time told"]
    assert "no time of its own" in [cell["text"] for cell in found.all("td")]


def test_a_running_workflow_is_drawn_to_the_last_thing_known_and_says_so() -> None:
    begun = step("begun", 300, status="PROCESSING", completed_at=None, execution_time_ms=None)
    found = drawn(trace(workflow(None), steps=[step("validate", 0, 100), begun], events=[event(500)]))
    whole, _, bar = found.bars()
    assert (whole["class"], whole["x"], whole["width"]) == ("bar active open", "0.000%", "100.000%")
    assert (bar["class"], bar["x"], bar["width"]) == ("bar active open", "60.000%", "40.000%")
    notes = " ".join(note["text"] for note in found.all("p", "note"))
    assert "has not ended: it is drawn to the last thing known, 2025-01-30 10:15:30.500 UTC (+500 ms)" in notes


def test_a_workflow_that_does_not_tell_its_start_begins_with_the_first_thing_known() -> None:
    assert workflow_span(workflow(None, started_at=None)) is None
    assert workflow_span(workflow(80, started_at=None)) == Span(START, START + 80 * MS, reckoned=True)
    drawing = drawing_of(trace(workflow(None, started_at=None), steps=[step("s", 200, 100)]))
    assert drawing is not None
    assert drawing.span == Span(START + 200 * MS, None)


def test_a_failure_is_red_and_tells_its_message() -> None:
    failed = step("fetch", 0, 900, status="FAILED", error_message="TimeoutError: no answer\n(third try)")
    row = workflow(current_state="FAILED", error_message="fetch failed")
    found = drawn(trace(row, steps=[failed], transitions=[transition(900, "FAILED")]))
    assert [bar["class"] for bar in found.bars()] == ["bar failed", "bar failed"]
    assert [text["text"] for text in found.all("text", "failed")] == ["FAILED · 1 s", "FAILED · 900 ms"]
    assert [text["text"] for text in found.all("p", "error")] == ["TimeoutError: no answer (third try)"]
    assert [text["text"] for text in found.all("p", "alarm")] == ["Error: fetch failed"]
    assert len(found.all("g", "mark transitions failed")) == 1
    assert "TimeoutError: no answer\n(third try)" in [cell["text"] for cell in found.all("td", "error")]


def test_lanes_show_transitions_stamps_and_events_and_tell_more_on_hovering() -> None:
    moved = transition(500, triggered_by="orchestrator")
    out = event(900, "state_persisted", direction="out", topic="states", status="published")
    found = drawn(trace(transitions=[moved], stamps=[stamp(700)], events=[event(100, "started"), out]))
    lanes = {name: found.all("g", f"mark {name}") for name in ("transitions", "stamps", "events")}
    assert {name: len(marks) for name, marks in lanes.items()} == {"transitions": 1, "stamps": 1, "events": 2}
    told = lanes["transitions"][0]["text"]
    assert told.startswith("PENDING → PROCESSING\nevent: told\ntriggered by: orchestrator\n2025-01-30 10:15:30.500 UTC")
    assert [label["text"] for label in found.all("text", "label")] == [
        "→ PROCESSING",
        "stamp-1",
        "started",
        "state_persisted",
    ]
    assert lanes["events"][1]["class"] == "mark events event out"


def test_an_event_stands_where_it_happened_or_else_where_it_was_kept() -> None:
    kept = event(0, "kept", occurred_at=None, created_at=at(750))
    found = drawn(trace(workflow(1_000), events=[event(250, "happened"), kept]))
    assert [stem["x1"] for stem in found.all("line", "stem")] == ["25.000%", "75.000%"]
    assert {"at, UTC", "kept, UTC"} <= {head["text"] for head in found.all("th")}


def test_one_late_event_does_not_press_the_rest_together() -> None:
    found = drawn(trace(steps=[step()], events=[event(10), event(1_900), event(7_200_000), event(7_300_000)]))
    assert found.bars()[0]["width"] == "52.632%", "the axis reaches to the event that is near"
    assert [mark["text"].split("\n")[0] for mark in found.all("g", "mark outside")] == ["step_completed (in)"]
    assert [label["text"] for label in found.all("text", "label")][-1] == "2 later"


def test_labels_never_lie_over_each_other_nor_under_a_stem() -> None:
    found = drawn(busy(100))
    for lane in ("transitions", "stamps", "events"):
        marks = found.all("g", f"mark {lane}")
        labels = [label for label in found.all("text", "label") if label["inside"] in marks]
        stems = [stem for stem in found.all("line", "stem") if stem["inside"] in marks]
        assert len(labels) > 10
        for label in labels:
            left, right = _px(label["x"]) + 4, _px(label["x"]) + 4 + len(label["text"]) * 6
            under = [stem for stem in stems if left < _px(stem["x1"]) < right and float(stem["y1"]) < float(label["y"])]
            beside = [other for other in labels if left <= _px(other["x"]) + 4 < right and other["y"] == label["y"]]
            assert (under, beside) == ([], [label])


def _px(percent: str) -> float:
    return float(percent.rstrip("%")) * NARROWEST_PX / 100


def test_five_hundred_steps_are_drawn_and_told() -> None:
    found = drawn(busy(500))
    assert len(found.bars()) == 501
    told = {section["id"]: 0 for section in found.all("section")}
    for row in found.all("tr"):
        told[row["inside"]["inside"]["inside"]["inside"]["id"]] += row["inside"]["tag"] == "tbody"
    assert (told["steps"], told["transitions"], told["stamps"], told["events"]) == (500, 60, 250, 1_000)
    assert 20 < len(found.all("g", "mark events")) < 80, "marks that would hide each other are one"


def test_the_tables_hold_every_field_in_words_and_the_rest_as_json() -> None:
    row = step("validate", 0, 42.5, step_type="check", step_data={"lines": 7})
    found = drawn(trace(workflow(1_000, metadata={"mode": "fast"}), steps=[row], stamps=[stamp(20, file_hash="ff00")]))
    cells = [cell["text"] for cell in found.all("td")]
    for shown in ("validate", "check", "COMPLETED", "42.5 ms", "10:15:30.000+0 ms", "ff00"):
        assert shown in cells
    assert '{\n  "step_data": {\n    "lines": 7\n  }\n}' in [text["text"] for text in found.all("pre")]
    assert '{\n  "mode": "fast"\n}' in [text["text"] for text in found.all("pre")]


def test_an_empty_trace_says_so() -> None:
    found = drawn(trace({"correlation_id": "x"}))
    text = found.all("main")[0]["text"]
    assert "No instant is known: there is nothing to draw." in text
    for name in ("steps", "transitions", "stamps", "events"):
        assert f"It has no {name}." in text
    assert page({}) != ""


def test_a_cut_trace_says_so_and_of_how_much_it_is() -> None:
    cut = drawn(trace(steps=[step()]) | {"truncated": ["steps"], "totals": {"steps": 10_000, "events": 0}})
    assert "the trace was cut at its limit (steps)." in cut.all("p", "alarm")[0]["text"]
    assert [link["text"] for link in cut.all("a")][:2] == ["steps (1 of 10,000)", "transitions (0)"]
    assert cut.all("h2")[1]["text"] == "Steps 1 of 10,000"
    assert "the trace was cut at its limit" not in page(trace())


def test_hostile_text_stays_text() -> None:
    text = page(hostile())
    text.encode()
    found = Page(text)
    assert found.all("script") == found.all("img") == []
    assert not any(character in text for character in "\x1b\u202e\ud800")
    seen = HOSTILE.replace("\u202e", r"\u202e").replace("\x1b", r"\x1b").replace("\ud800", r"\ud800")
    assert found.all("h1")[0]["text"] == seen
    assert found.all("span", "name")[-1]["title"] == seen
    assert all(not name.startswith("on") for element in found.elements for name in element)


def test_the_page_needs_nothing_else_and_is_the_same_each_time() -> None:
    text = page(busy(30))
    assert text == page(busy(30))
    assert not re.search(r"https?:|url\(|@import|<script|<link|\ssrc=", text)
    assert "default-src 'none'" in text


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=30),
    st.datetimes(timezones=st.sampled_from([UTC])).map(datetime.isoformat),
    st.sampled_from(["FAILED", "PROCESSING", at(5), "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]),
    st.lists(st.text(max_size=5), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


def rows(example: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(example, anything))


@settings(deadline=None, max_examples=150)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "workflow": rows(workflow()),
            "steps": st.lists(rows(step()), max_size=4),
            "transitions": st.lists(rows(transition(0)), max_size=4),
            "stamps": st.lists(rows(stamp(0)), max_size=4),
            "events": st.lists(rows(event(0)), max_size=4),
            "duration_ms": anything,
        },
    )
)
def test_whatever_the_rows_hold_a_page_comes_of_it(given: dict[str, Any]) -> None:
    Page(page(given)).all("main")


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (timedelta(microseconds=300), ["0", "50 µs", "100 µs", "150 µs", "200 µs", "250 µs", "300 µs"]),
        (timedelta(milliseconds=2), ["0", "0.5 ms", "1 ms", "1.5 ms", "2 ms"]),
        (timedelta(milliseconds=245), ["0", "50 ms", "100 ms", "150 ms", "200 ms"]),
        (timedelta(seconds=4), ["0", "0.5 s", "1 s", "1.5 s", "2 s", "2.5 s", "3 s", "3.5 s", "4 s"]),
        (timedelta(seconds=100), ["0", "15 s", "30 s", "45 s", "1 min", "1 min 15 s", "1 min 30 s"]),
        (timedelta(hours=5), [*("0", "1 h", "2 h", "3 h", "4 h", "5 h")]),
        (timedelta(days=3), ["0", "12 h", "1 d", "1 d 12 h", "2 d", "2 d 12 h", "3 d"]),
        (timedelta(days=100_000), ["0", "20,000 d", "40,000 d", "60,000 d", "80,000 d", "100,000 d"]),
    ],
)
def test_ticks_are_round_and_have_units(length: timedelta, expected: list[str]) -> None:
    assert [label for _, label in Axis(START, START + length, START).ticks()] == expected


def test_ticks_count_from_the_workflows_start_even_where_a_step_is_before_it() -> None:
    axis = Axis(START - 20 * MS, START + 20 * MS, START)
    assert axis.ticks()[::4] == [(0.0, "-20 ms"), (50.0, "0"), (100.0, "20 ms")]


def test_an_axis_of_one_instant_has_a_length_and_of_none_is_none() -> None:
    assert axis_of([START], [], zero=None) == Axis(START, START + MS, START)
    assert axis_of([], [datetime.max.replace(tzinfo=UTC)], zero=START) is not None
    assert axis_of([], [], zero=None) is None


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (None, "not known"),
        (0, "0 ms"),
        (0.42, "0.42 ms"),
        (42.55, "42.5 ms"),
        (999.7, "1 s"),
        (1_243, "1.24 s"),
        (59_990, "1 min"),
        (252_000, "4 min 12 s"),
        (7_199_999, "2 h"),
        (187_200_000, "2 d 4 h"),
        (-1_500, "-1.5 s"),
    ],
)
def test_durations_are_told_to_about_three_digits(ms: float | None, expected: str) -> None:
    assert duration_text(ms) == expected


@pytest.mark.parametrize("value", [None, 5, "soon", "1970-01-01T00:00:00+00:00", "2025-13-01T00:00:00"])
def test_what_is_no_instant_is_none(value: object) -> None:
    assert instant_of(value) is None


@pytest.mark.parametrize("value", [None, True, -1, float("nan"), float("inf"), "5", 10**30])
def test_what_is_no_length_is_none(value: object) -> None:
    assert length_of(value) is None


def test_markup_escapes_what_is_not_markup() -> None:
    assert tag("b", "<i>", Markup("<i></i>"), class_='"x"', aria_label=None) == (
        '<b class="&quot;x&quot;">&lt;i&gt;<i></i></b>'
    )
