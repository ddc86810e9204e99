"""What each report looks like on a terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from worker.reports.tables import (
    Column,
    as_age,
    as_duration,
    as_id,
    as_instant,
    as_message,
    as_number,
    as_text,
    duration,
    instant,
    message,
    number,
    show_fields,
    show_rows,
    shown,
    text,
    whole,
)
from worker.reports.trace_errors import error_of, with_errors

Answer = Mapping[str, Any]

_EVENT_TYPE = as_text("event_type", "event", least=24)  # they differ in their ends
_STAMPS = (
    as_instant("created_at", "created"),
    as_id("workflow_id", "workflow", goes=3),
    as_text("namespace", goes=2),
    as_text("stamp_id", "stamp"),
    as_text("file_hash"),
    as_text("intelligence_data", "intelligence", goes=1),
)
_LIVENESS = as_text("liveness", styles={"STALE": "yellow", "DEAD": "red"})
_HEALTH = as_text("health", styles={"DEGRADED": "yellow", "UNHEALTHY": "red"})
_NODE = (
    as_id("node_id", "node"),
    as_text("node_type", "type", goes=5),
    as_text("namespace", goes=3),
    as_text("node_version", "version", goes=2),
)
_HEARD_OF = (as_age("age_s", "heard of before", goes=6), as_text("endpoint_url", "endpoint", goes=1))
_NODES = (*_NODE, _HEALTH, *_HEARD_OF)
_EVERY_NODE = (
    *_NODE,
    _LIVENESS,
    _HEALTH,
    as_text("reported_health", "reported", goes=4),
    *_HEARD_OF,
    as_instant("deregistered_at", "deregistered"),
)
LISTS: dict[str, tuple[Column, ...]] = {
    "find_failed_workflows": (
        as_instant("failed_at", "failed", goes=4),
        as_id("correlation_id"),
        as_text("workflow_type", "type", goes=1),
        as_text("namespace", goes=2),
        as_text("error_code", "code", goes=3),
        as_message("error_message", "error"),
    ),
    "step_timing": (
        as_text("step_name", "step"),
        as_text("step_type", "type", goes=1),
        as_number("total_executions", "completed"),
        as_duration("avg_time_ms", "average"),
        as_duration("min_time_ms", "least", goes=2),
        as_duration("max_time_ms", "most", goes=3),
    ),
    "transition_failures": (
        as_text("from_state", "from"),
        as_text("to_state", "to", goes=2),
        as_number("failure_count", "times"),
        as_instant("last_failure_at", "last", goes=1),
    ),
    "healthy_nodes": _NODES,
    "list_nodes": _EVERY_NODE,
    "active_bridge_states": (as_text("node_type"), as_text("state"), as_number("count", "bridges")),
    "stamps_by_hash": _STAMPS,
    "stamps_with": _STAMPS,
    "events_with_error": (
        as_instant("created_at", "kept", goes=2),
        _EVENT_TYPE._replace(goes=3),
        as_id("correlation_id", goes=1),
        as_message("error", "error"),
    ),
}

_STATUS = as_text("status", styles={"FAILED": "red", "failed": "red", "refused": "red"})
_STEPS = (
    as_number("step_order", "#", goes=6),
    as_text("step_name", "step"),
    as_text("step_type", "type", goes=2),
    _STATUS,
    as_duration("execution_time_ms", "took", goes=5),
    as_instant("started_at", "started", goes=4),
    as_instant("completed_at", "completed", goes=3),
    as_instant("created_at", "created", goes=1),
    as_message("error_message", "error"),
)
_TRANSITIONS = (
    as_instant("transition_at", "moved", goes=3),
    as_text("from_state", "from"),
    as_text("to_state", "to", styles={"FAILED": "red"}),
    as_text("transition_event", "event", goes=2),
    as_text("triggered_by", "by", goes=1),
)
_EVENTS = (
    as_instant("occurred_at", "happened", goes=4),
    as_duration("time_diff_ms", "after", goes=3),
    _EVENT_TYPE,
    as_text("direction", "way", goes=2),
    _STATUS._replace(goes=5),
    as_text("topic", goes=1),
    as_message("error", "error"),
)
_TRACED = {"steps": _STEPS, "transitions": _TRANSITIONS, "stamps": _STAMPS, "events": _EVENTS}
_MORE = Text("There is more than is shown.", style="bold red")


def show(to: Console, name: str, answer: Answer) -> None:
    """The report's answer, as that report is read best."""
    if name in _PAGES:
        _PAGES[name](to, answer)
    else:
        show_list(to, answer["items"], LISTS[name])
        _tell_of_more(to, answer)


def show_list(to: Console, rows: list[Answer], columns: tuple[Column, ...]) -> None:
    if rows:
        show_rows(to, rows, columns)
    else:
        to.print("none")


def _tell_of_more(to: Console, answer: Answer) -> None:
    if answer["truncated"]:
        to.print(_MORE)


def _trace(to: Console, trace: Answer) -> None:
    workflow = trace["workflow"]
    if workflow is None:
        to.print("no such workflow; but something carries its id:")
    else:
        error = error_of(workflow)
        fields = {
            "workflow": whole(workflow["correlation_id"]),
            "row": whole(workflow["id"]) if workflow["id"] != workflow["correlation_id"] else None,
            "type": text(workflow["workflow_type"]),
            "namespace": text(workflow["namespace"]),
            "state": text(workflow["current_state"]),
            "started (UTC)": shown(workflow["started_at"], instant),
            "completed (UTC)": shown(workflow["completed_at"], instant),
            "took": shown(trace["duration_ms"], duration),
            "error": error and message(error),
        }
        show_fields(to, [(name, value) for name, value in fields.items() if value is not None])
    for title, total in trace["totals"].items():
        rows = with_errors(trace[title]) if title == "events" else trace[title]
        show_rows(to, rows, _TRACED.get(title) or _every_field(rows), title=title, total=total)
    _tell_of_more(to, trace)


def _every_field(rows: Sequence[Answer]) -> tuple[Column, ...]:
    """What a list is shown with that has no columns of its own here."""
    return tuple(as_text(name) for name in dict.fromkeys(name for row in rows for name in row))


def _session(to: Console, session: Answer) -> None:
    fields = [
        ("session", whole(session["session_id"])),
        ("events", number(session["total_events"])),
        ("types", ", ".join(map(text, session["event_types"])) or shown(None)),
        ("took", shown(session["duration_ms"], duration)),
    ]
    show_fields(to, fields)
    timeline = with_errors(session["timeline"])
    show_rows(to, timeline, _EVENTS, title="timeline", total=session["total_events"])
    _tell_of_more(to, session)


def _node(to: Console, node: Answer) -> None:
    show_list(to, [node], _EVERY_NODE)
    told = {name: node[name] for name in ("capabilities", "endpoints", "metadata") if node.get(name)}
    show_fields(to, [(name, text(value)) for name, value in told.items()])
    if "omitted" in node:
        to.print(Text("Too large to be shown: " + ", ".join(node["omitted"]), style="bold red"))


def _stats(to: Console, stats: Answer) -> None:
    states = [f"{text(state)} {count:,}" for state, count in sorted(stats["workflows_by_state"].items())]
    bridges = stats["aggregated"]
    fields = [
        ("namespace", text(stats["namespace"])),
        ("stamps", number(stats["total_stamps"])),
        ("size", f"{stats['total_size_bytes']:,} bytes"),
        ("file types", ", ".join(map(text, stats["file_types"])) or shown(None)),
        ("workflows", ", ".join(states) or shown(None)),
        ("average time", shown(stats["avg_processing_time_ms"], duration)),
        ("bridges", f"{bridges['bridges']:,}; {bridges['total_items_aggregated']:,} items aggregated"),
    ]
    show_fields(to, fields)


_PAGES: dict[str, Callable[[Console, Answer], None]] = {
    "trace_workflow": _trace,
    "session_events": _session,
    "namespace_stats": _stats,
    "get_node": _node,
}
