"""Traces of workflows, as trace_workflow gives them; a test sets only what matters."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from worker.reports.time_words import later

Row = dict[str, Any]

START = datetime(2025, 1, 30, 10, 15, 30, tzinfo=UTC)
WORKFLOW = "0194b6a5-1d50-7000-8000-000000000001"


def at(ms: float) -> str:
    return later(START, ms).isoformat()


def workflow(ms: float | None = 1_000, **fields: Any) -> Row:
    state = "PROCESSING" if ms is None else "COMPLETED"
    ended = None if ms is None else at(ms)
    told: Row = {"workflow_type": "stamping", "namespace": "tests", "current_state": state, "error_message": None}
    times = {"started_at": at(0), "completed_at": ended, "created_at": at(3), "execution_time_ms": ms}
    return {"id": WORKFLOW, "correlation_id": WORKFLOW, "metadata": {}} | told | times | fields


def step(name: str = "validate", start: float = 0, ms: float = 100, **fields: Any) -> Row:
    times = {"started_at": at(start), "completed_at": at(start + ms), "created_at": at(start + ms)}
    told: Row = {"step_name": name, "step_order": 1, "status": "COMPLETED", "error_message": None, "step_data": {}}
    return told | times | {"execution_time_ms": ms} | fields


def transition(ms: float, to_state: str = "PROCESSING", **fields: Any) -> Row:
    return {"from_state": "PENDING", "to_state": to_state, "transition_event": "told", "transition_at": at(ms)} | fields


def stamp(ms: float, stamp_id: str = "stamp-1", **fields: Any) -> Row:
    return {"file_hash": "abcd", "stamp_id": stamp_id, "created_at": at(ms)} | fields


def event(ms: float, event_type: str = "step_completed", **fields: Any) -> Row:
    """One that was kept, with others, long after it happened."""
    times = {"occurred_at": at(ms), "created_at": at(60_000)}
    return {"event_type": event_type, "direction": "in", "status": "recorded"} | times | fields


def trace(row: Row | None = None, *, steps: Sequence[Row] = (), **lists: Sequence[Row]) -> Row:
    row = workflow() if row is None else row
    length = row.get("execution_time_ms")
    nothing: Row = {"transitions": [], "stamps": [], "events": [], "truncated": []}
    told = nothing | {"workflow": row, "steps": list(steps), "duration_ms": length} | lists
    return told | {"totals": {name: len(told[name]) for name in ("steps", "transitions", "stamps", "events")}}


def busy(steps: int) -> Row:
    """A workflow of many steps, one after another, a failed one among them, and many marks."""
    rows = [step(f"item_{number}", number * 40, 35, step_order=number) for number in range(steps)]
    rows[steps // 2] |= {"status": "FAILED", "error_message": "ValueError: a bad item"}
    length = steps * 40
    return trace(
        workflow(length),
        steps=rows,
        transitions=[transition(number * length / 60, f"BATCH_{number}") for number in range(60)],
        stamps=[stamp(number * length / 250, f"stamp-{number}") for number in range(250)],
        events=[event(number * length / 1_000) for number in range(1_000)],
    )


HOSTILE = "<script>document.title='taken'</script>\"'><img src=x onerror=alert(1)>\u202e\x1b[31m\ud800 &amp;"


def hostile() -> Row:
    """Every text somebody else's, every name too."""
    row = workflow(1_000, **dict.fromkeys(("workflow_type", "namespace", "current_state", "error_message"), HOSTILE))
    row |= {"correlation_id": HOSTILE, "session_id": HOSTILE, "metadata": {HOSTILE: HOSTILE}, HOSTILE: HOSTILE}
    words = dict.fromkeys(("status", "error_message", "step_type", HOSTILE), HOSTILE)
    moved = dict.fromkeys(("from_state", "transition_event", "triggered_by", "entity_type", HOSTILE), HOSTILE)
    sent = dict.fromkeys(("direction", "status", "topic", HOSTILE), HOSTILE)
    return trace(
        row,
        steps=[step(HOSTILE, 0, 900, **words), step(HOSTILE, started_at=HOSTILE, completed_at=HOSTILE)],
        transitions=[transition(10, HOSTILE, **moved)],
        stamps=[stamp(20, HOSTILE, file_hash=HOSTILE, **{HOSTILE: HOSTILE})],
        events=[event(30, HOSTILE, **sent)],
    )
