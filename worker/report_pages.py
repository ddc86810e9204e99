"""What each report looks like on a terminal."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from worker.report_tables import (
    Column,
    as_age,
    as_duration,
    as_id,
    as_instant,
    as_number,
    as_text,
    duration,
    instant,
    number,
    show_fields,
    show_rows,
    shown,
    text,
    whole,
)

Answer = Mapping[str, Any]

_STAMPS = (
    as_instant("created_at", "created"),
    as_id("workflow_id", "workflow"),
    as_text("namespace"),
    as_text("stamp_id", "stamp"),
    as_text("file_hash"),
    as_text("intelligence_data", "intelligence"),
)
_LIVENESS = as_text("liveness", styles={"STALE": "yellow", "DEAD": "red"})
_NODES = (
    as_text("node_id", "node"),
    as_text("node_type", "type"),
    as_text("namespace"),
    as_text("node_version", "version"),
    as_text("health", styles={"DEGRADED": "yellow", "UNHEALTHY": "red"}),
    as_age("age_s", "heard of before"),
    as_text("endpoint_url", "endpoint"),
)
_EVERY_NODE = (
    *_NODES[:4],
    _LIVENESS,
    _NODES[4],
    as_text("reported_health", "reported"),
    *_NODES[5:],
    as_instant("deregistered_at", "deregistered"),
)
LISTS: dict[str, tuple[Column, ...]] = {
    "find_failed_workflows": (
        as_instant("failed_at", "failed"),
        as_id("correlation_id"),
        as_text("workflow_type", "type"),
        as_text("namespace"),
        as_text("error_code", "code"),
        as_text("error_message", "error"),
    ),
    "step_timing": (
        as_text("step_name", "step"),
        as_text("step_type", "type"),
        as_number("total_executions", "completed"),
        as_duration("avg_time_ms", "average"),
        as_duration("min_time_ms", "least"),
        as_duration("max_time_ms", "most"),
    ),
    "transition_failures": (
        as_text("from_state", "from"),
        as_text("to_state", "to"),
        as_number("failure_count", "times"),
        as_instant("last_failure_at", "last"),
    ),
    "healthy_nodes": _NODES,
    "list_nodes": _EVERY_NODE,
    "active_bridge_states": (as_text("node_type"), as_text("state"), as_number("count", "bridges")),
    "stamps_by_hash": _STAMPS,
    "stamps_with": _STAMPS,
    "events_with_error": (
        as_instant("created_at", "kept"),
        as_text("event_type", "event"),
        as_id("correlation_id"),
        as_text("error"),
    ),
}

_STEPS = (
    as_number("step_order", "#"),
    as_text("step_name", "step"),
    as_text("step_type", "type"),
    as_text("status"),
    as_duration("execution_time_ms", "took"),
    as_instant("started_at", "started"),
    as_instant("completed_at", "completed"),
    as_instant("created_at", "created"),
    as_text("error_message", "error"),
)
_TRANSITIONS = (
    as_instant("transition_at", "moved"),
    as_text("from_state", "from"),
    as_text("to_state", "to"),
    as_text("transition_event", "event"),
    as_text("triggered_by", "by"),
)
_EVENTS = (
    as_instant("occurred_at", "happened"),
    as_duration("time_diff_ms", "after"),
    as_text("event_type", "event"),
    as_text("direction", "way"),
    as_text("status"),
    as_text("topic"),
)
_MORE = Text("There is more than is shown.", style="bold red")


def show(to: Console, name: str, answer: Answer) -> None:
    """The report's answer, as that report is read best."""
    if name in _PAGES:
        _PAGES[name](to, answer)
    else:
        show_list(to, answer["items"], LISTS[name])


def show_list(to: Console, rows: list[Answer], columns: tuple[Column, ...]) -> None:
    if rows:
        show_rows(to, rows, columns)
    else:
        to.print("none")


def _trace(to: Console, trace: Answer) -> None:
    workflow = trace["workflow"]
    if workflow is None:
        to.print("no such workflow; but something carries its id:")
    else:
        fields = {
            "workflow": whole(workflow["correlation_id"]),
            "row": whole(workflow["id"]) if workflow["id"] != workflow["correlation_id"] else None,
            "type": text(workflow["workflow_type"]),
            "namespace": text(workflow["namespace"]),
            "state": text(workflow["current_state"]),
            "started (UTC)": shown(workflow["started_at"], instant),
            "completed (UTC)": shown(workflow["completed_at"], instant),
            "took": shown(trace["duration_ms"], duration),
            "error": shown(workflow["error_message"]) if workflow["error_message"] else None,
        }
        show_fields(to, [(name, value) for name, value in fields.items() if value is not None])
    for title, columns in (("steps", _STEPS), ("transitions", _TRANSITIONS), ("stamps", _STAMPS), ("events", _EVENTS)):
        show_rows(to, trace[title], columns, title=title)
    if trace["truncated"]:
        to.print(_MORE)


def _session(to: Console, session: Answer) -> None:
    fields = [
        ("session", whole(session["session_id"])),
        ("events", number(session["total_events"])),
        ("types", ", ".join(map(text, session["event_types"])) or shown(None)),
        ("took", shown(session["duration_ms"], duration)),
    ]
    show_fields(to, fields)
    show_rows(to, session["timeline"], _EVENTS, title="timeline")
    if session["truncated"]:
        to.print(_MORE)


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
