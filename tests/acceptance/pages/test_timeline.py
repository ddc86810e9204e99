"""The page of a workflow's trace as a browser shows it."""

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.browser import seen
from tests.traces import HOSTILE, busy, event, hostile, stamp, step, trace, transition, workflow
from worker.pages.timeline import page
from worker.pages.timeline_drawing import NARROWEST_PX

pytestmark = pytest.mark.acceptance

LETTERS_PX = 1.0  # a label's box may be this much nearer to the next than its letters are

MEASURE = """(document, window) => {
  const box = (element) => {
    const {left, right, top, bottom} = element.getBoundingClientRect();
    return {left, right, top, bottom};
  };
  const all = (selector, more) => [...document.querySelectorAll(selector)].map((e) => ({...box(e), ...more(e)}));
  return {
    title: document.title,
    heading: document.querySelector('h1').textContent,
    loaded: window.performance.getEntriesByType('resource').map((entry) => entry.name),
    scripts: document.querySelectorAll('script, img').length,
    bars: all('.bar', (e) => ({fill: window.getComputedStyle(e).fill, title: e.querySelector('title').textContent})),
    names: all('.row.step .name', (e) => ({text: e.textContent})),
    plots: all('.plot', () => ({})),
    grid: all('.row.whole use', () => ({})),
    ticks: all('.row.axis:not(.again) .tick', (e) => ({text: e.textContent})),
    labels: all('.mark .label', (e) => ({text: e.textContent, lane: e.parentNode.classList[1]})),
    dots: all('.mark .dot', (e) => ({lane: e.parentNode.classList[1]})),
    errors: all('.row .error', (e) => ({text: e.textContent, colour: window.getComputedStyle(e).color})),
    page: box(document.documentElement),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    ink: window.getComputedStyle(document.body).color,
    paper: window.getComputedStyle(document.body).backgroundColor,
  };
}"""

Box = dict[str, Any]


def failing() -> dict[str, Any]:
    steps = [
        step("validate", 0, 250),
        step("fetch", 250, 500, status="FAILED", error_message="TimeoutError: no answer"),
    ]
    moves = [transition(0, "PENDING", from_state=None), transition(5), transition(990, "FAILED")]
    row = workflow(current_state="FAILED", error_message="fetch failed")
    return trace(row, steps=steps, transitions=moves, stamps=[stamp(100)], events=[event(1), event(900)])


def apart(boxes: list[Box]) -> bool:
    """Whether no two boxes lie over each other."""
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            wide = min(one["right"], other["right"]) - max(one["left"], other["left"])
            high = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
            if wide > LETTERS_PX and high > LETTERS_PX + 2:  # a line's box is higher than its letters
                return False
    return True


def test_bars_stand_where_their_times_are_and_beside_their_names(tmp_path: Path) -> None:
    found = seen(page(failing()), MEASURE, directory=tmp_path)
    whole, first, second = found["bars"]
    width = whole["right"] - whole["left"]
    assert width > NARROWEST_PX
    assert first["left"] == pytest.approx(whole["left"], abs=1)
    assert first["right"] == second["left"] == pytest.approx(whole["left"] + width / 4, abs=1)
    assert second["right"] == pytest.approx(whole["left"] + 0.75 * width, abs=1)
    for bar, name in zip(found["bars"][1:], found["names"], strict=True):
        assert name["top"] <= bar["top"] < bar["bottom"] <= name["bottom"] + 1
        assert bar["title"].startswith(name["text"] + ": ")
    quarter = next(tick for tick in found["ticks"] if tick["text"] == "0.4 s")
    assert (quarter["left"] + quarter["right"]) / 2 == pytest.approx(whole["left"] + 0.4 * width, abs=1)
    grid = found["grid"][0]
    assert grid["right"] - grid["left"] == pytest.approx(width, abs=2), "every row shows the ticks' lines"


def test_a_failure_is_red_and_its_message_is_there(tmp_path: Path) -> None:
    found = seen(page(failing()), MEASURE, directory=tmp_path)
    whole, first, second = (bar["fill"] for bar in found["bars"])
    assert whole == second == found["errors"][0]["colour"] != first
    assert found["errors"][0]["text"] == "TimeoutError: no answer"


def test_a_bar_that_is_too_short_to_see_is_a_mark_and_red_where_it_failed(tmp_path: Path) -> None:
    day = 86_400_000
    steps = [step("quick", day, 300), step("boom", 2 * day, 300, status="FAILED"), step("far", -9 * day, 300)]
    found = seen(page(trace(workflow(3 * day), steps=steps)), MEASURE, directory=tmp_path)
    whole, *marks = found["bars"]
    assert all(mark["right"] - mark["left"] >= 1 for mark in marks)
    assert marks[0]["fill"] == whole["fill"] != marks[1]["fill"]
    assert marks[2]["left"] == pytest.approx(whole["left"], abs=1), "what is far off is at the edge"


@pytest.mark.parametrize("width_px", [500, 1_020, 1_900])
def test_labels_are_apart_and_the_page_as_wide_as_its_window(tmp_path: Path, width_px: int) -> None:
    found = seen(page(busy(300)), MEASURE, directory=tmp_path, width_px=width_px)
    assert len(found["bars"]) == 301
    assert len(found["labels"]) > 30
    assert min(plot["right"] - plot["left"] for plot in found["plots"] if plot["right"]) >= NARROWEST_PX
    assert apart(found["ticks"])
    for lane in ("transitions", "stamps", "events"):
        labels = [label for label in found["labels"] if label["lane"] == lane]
        assert apart(labels), lane
        assert apart([*labels, *(dot for dot in found["dots"] if dot["lane"] == lane and lane != "transitions")]), lane
    assert found["overflow"] == 0
    margin = found["page"]["right"] if width_px > 1_000 else float("inf")  # a narrow drawing scrolls in itself
    assert max(label["right"] for label in found["labels"]) <= margin


def test_the_page_is_dark_where_the_reader_wants_it_dark(tmp_path: Path) -> None:
    light = seen(page(failing()), MEASURE, directory=tmp_path)
    dark = seen(page(failing()), MEASURE, directory=tmp_path, dark=True)
    assert light["paper"] == "rgb(255, 255, 255)"
    assert _brightness(light["ink"]) < 128 < _brightness(light["paper"])
    assert _brightness(dark["paper"]) < 128 < _brightness(dark["ink"])


def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    found = seen(page(hostile()), MEASURE, directory=tmp_path)
    assert found["title"].startswith("<script>")
    assert found["heading"].startswith(HOSTILE.partition("\u202e")[0])
    assert (found["scripts"], found["loaded"]) == (0, []), "nothing is loaded, nothing is run"


def test_an_empty_trace_is_a_page_too(tmp_path: Path) -> None:
    found = seen(page(trace(workflow(None, started_at=None))), MEASURE, directory=tmp_path)
    assert (len(found["bars"]), found["labels"], found["overflow"]) == (1, [], 0)


def _brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return (red * 299 + green * 587 + blue * 114) / 1_000
