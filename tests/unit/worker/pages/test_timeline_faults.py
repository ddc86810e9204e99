"""What the page of a trace makes of failures, of times that cannot be, and of what is too short to see."""

from typing import Any

import pytest

from tests.traces import START, at, event, step, trace, transition, workflow
from tests.unit.worker.pages.test_timeline import MS, Page, drawn
from worker.pages.timeline_drawing import THIN_PERCENT, drawing_of
from worker.pages.timeline_rows import is_running, tone_of

DAY = 86_400_000


def notes(found: Page) -> str:
    return " ".join(note["text"] for note in found.all("p", "note"))


def labels(found: Page) -> list[str]:
    """What stands beside the bars, the workflow's first."""
    return [text["text"] for text in found.all("text") if text["class"] in ("done", "failed", "quiet", "active")]


def test_a_bar_too_short_for_a_browser_is_a_mark() -> None:
    boom = step("boom", 2 * DAY, 800, status="FAILED", error_message="boom")
    found = drawn(trace(workflow(3 * DAY), steps=[step("quick", 1_000, 900), boom, step("long", 0, DAY)]))
    _, quick, failed, long = found.bars()
    assert [(bar["class"], bar["width"]) for bar in (quick, failed)] == [
        ("bar done thin", "1"),
        ("bar failed thin", "1"),
    ]
    assert long["class"] == "bar done" and float(long["width"].rstrip("%")) > THIN_PERCENT
    assert labels(found)[1:3] == ["900 ms", "FAILED · 800 ms"]


@pytest.mark.parametrize(
    ("fields", "is_red"),
    [
        ({"event_type": "stamp_workflow_failed"}, True),
        ({"event_type": "note", "payload": {"error": "disk is full"}}, True),
        ({"event_type": "note", "payload": {"error": {"code": 5}}}, True),
        ({"event_type": "note", "status": "refused"}, True),
        ({"event_type": "note", "payload": {"error": None}}, False),
        ({"event_type": "note", "payload": ["error"]}, False),
        ({"event_type": "failed_over"}, False),
    ],
)
def test_an_event_that_tells_of_an_error_is_red(fields: dict[str, Any], is_red: bool) -> None:
    found = drawn(trace(events=[event(10, **fields)]))
    assert len(found.all("g", "mark events failed")) == is_red
    assert len(found.all("tr", "failed")) == is_red


def test_the_error_of_an_event_is_told_on_hovering_and_in_its_table() -> None:
    found = drawn(trace(events=[event(10, payload={"error": "disk is full"}), event(900)]))
    first, second = found.all("g", "mark events")
    assert "\nerror: disk is full\n" in first["text"] and "error" not in second["text"]
    assert [cell["text"] for cell in found.all("td", "error")] == ["disk is full"]
    assert "error" in [head["text"] for head in found.all("th")]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"error_info": {"message": "no answer", "code": "E7"}}, "no answer (E7)"),
        ({"error_info": {"error_code": "E7"}}, "E7"),
        ({"error_message": "it broke", "error_info": {"message": "no answer"}}, "it broke"),
    ],
)
def test_a_failure_told_in_any_way_is_told(fields: dict[str, Any], told: str) -> None:
    found = drawn(trace(workflow(current_state="FAILED", **fields)))
    assert [text["text"] for text in found.all("p", "alarm")] == [f"Error: {told}"]
    assert found.bars()[0]["text"].splitlines()[-1] == told


def test_a_step_with_a_wrong_clock_is_gathered_at_the_edge_and_does_not_press_the_rest() -> None:
    steps = [step(f"s{number}", number * 100, 90) for number in range(9)]
    found = drawn(trace(workflow(1_000), steps=[*steps, step("early", -DAY, 50), step("late", DAY, 50)]))
    assert [bar["width"] for bar in found.bars()[:2]] == ["100.000%", "9.000%"]
    early, late = found.bars()[-2:]
    assert (early["x"], late["x"]) == ("0.000%", "100.000%") and "(-1 d)" in early["text"]
    assert labels(found)[-2:] == ["50 ms · earlier", "50 ms · later"]


def test_a_step_that_lasts_far_longer_than_its_workflow_reaches_to_the_edge() -> None:
    found = drawn(trace(workflow(1_000), steps=[step("long", 500, DAY)]))
    assert (found.bars()[1]["x"], found.bars()[1]["width"], labels(found)[1]) == ("50.000%", "50.000%", "1 d")


def test_a_workflow_with_a_wrong_clock_is_gathered_at_the_edge_itself() -> None:
    steps = [step(f"s{number}", DAY + number * 100, 100) for number in range(10)]
    found = drawn(trace(workflow(1_000), steps=steps, transitions=[transition(0), transition(5)]))
    assert [bar["width"] for bar in found.bars()[:2]] == ["1", "10.000%"]
    assert labels(found)[0] == "1 s · earlier"
    assert [label["text"] for label in found.all("text", "label")] == ["2 earlier"]


def test_a_step_somewhat_beyond_its_workflow_lengthens_the_axis() -> None:
    drawing = drawing_of(trace(workflow(1_000), steps=[step("late", 1_500, 400)]))
    assert drawing is not None and drawing.axis.last == START + 1_900 * MS


@pytest.mark.parametrize("state", ["CANCELLED", "cancelled", "TIMED_OUT", "ABORTED", "COMPLETED"])
def test_a_workflow_in_an_end_state_is_not_told_as_running(state: str) -> None:
    begun = step("begun", 0, status="RUNNING", completed_at=None, execution_time_ms=None)
    row = workflow(None, current_state=state)
    found = drawn(trace(row, steps=[begun], transitions=[transition(400, state)]))
    assert not is_running(row) and tone_of(state) != "active"
    assert "does not tell when it ended" in notes(found) and "has not ended" not in notes(found)


def test_what_ended_before_it_began_is_not_timed() -> None:
    backwards = step("b", 100, completed_at=at(-900), execution_time_ms=None)
    row = workflow(None, completed_at=at(-5_000), current_state="COMPLETED")
    found = drawn(trace(row, steps=[step("a", 0, 400), backwards]) | {"duration_ms": -5_000.0})
    assert labels(found) == ["", "400 ms", ""]
    assert all("not timed" in bar["text"] for bar in (found.bars()[0], found.bars()[2]))
    assert [fact["text"] for fact in found.all("dd")][1] == "not known"
