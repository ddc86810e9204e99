"""`fleet trace|stats|failed|session|nodes|report`: questions to the database, answered on the terminal."""

from typing import Any, TextIO
from uuid import UUID

import click
import orjson

from omninode_bridge.persistence.models import MAX_LIMIT
from store import queries, reports
from store.report_parameters import NUMBERS
from worker import report_pages
from worker.cli_connection import command_connection
from worker.report_tables import console
from worker.timeline import page

TIMEOUT_MS = 30_000  # somebody waits in front of it, and may stop it
MAX_BYTES = 64 << 20

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_LIMIT = click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=100, show_default=True)
_HOURS = click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    default=24.0,
    show_default=True,
    help="How far back to look.",
)


@click.command("trace")
@click.argument("id_", metavar="ID", type=click.UUID)
@_JSON
@click.option(
    "--html", type=click.File("w", encoding="utf-8", lazy=True), help="A file (or -) for a page with a timeline."
)
def trace_command(id_: UUID, as_json: bool, html: TextIO | None) -> None:
    """One workflow, whole, by its correlation id or its row's: steps, transitions, stamps, events."""
    answer = _ask("trace_workflow", correlation_id=id_)
    if html is not None:
        html.write(page(answer))
    if as_json or html is None:
        _show("trace_workflow", answer, as_json=as_json)


@click.command("stats")
@click.argument("namespace")
@_JSON
def stats_command(namespace: str, as_json: bool) -> None:
    """A namespace in numbers: stamps, sizes, file types, workflows."""
    _show("namespace_stats", _ask("namespace_stats", namespace=namespace), as_json=as_json)


@click.command("failed")
@_HOURS
@_LIMIT
@_JSON
def failed_command(hours: float, limit: int, as_json: bool) -> None:
    """Workflows that failed lately, and why; the newest first."""
    answer = _ask("find_failed_workflows", time_range_hours=hours, limit=limit)
    _show("find_failed_workflows", answer, as_json=as_json)


@click.command("session")
@click.argument("id_", metavar="ID", type=click.UUID)
@_HOURS
@_JSON
def session_command(id_: UUID, hours: float, as_json: bool) -> None:
    """The events of a session, one after the other, with the time between them."""
    _show("session_events", _ask("session_events", session_id=id_, time_range_hours=hours), as_json=as_json)


@click.command("nodes")
@click.option("--type", "node_type", help="Only nodes of this type.")
@click.option("--all", "every", is_flag=True, help="Also those that are not healthy or are silent.")
@_JSON
def nodes_command(node_type: str | None, every: bool, as_json: bool) -> None:
    """Nodes that said within the last minute that they are healthy."""
    answer = _all_nodes(node_type) if every else _ask("healthy_nodes", node_type=node_type)
    _show("healthy_nodes", answer, as_json=as_json)


@click.command("report")
@click.argument("name", type=click.Choice(list(reports.REPORTS)), metavar="NAME")
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1)
@_JSON
def report_command(name: str, parameters: tuple[str, ...], as_json: bool) -> None:
    """Any report by its name, such as `step_timing time_range_hours=6`; docs/queries.md lists them."""
    _show(name, _ask(name, **dict(map(_parameter, parameters))), as_json=as_json)


def _parameter(word: str) -> tuple[str, Any]:
    """Numbers and objects as JSON says them, everything else as it stands."""
    name, sign, value = word.partition("=")
    if not sign:
        raise click.UsageError(f"{word}: not KEY=VALUE")
    if name not in NUMBERS and not value.startswith("{"):
        return name, value
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        raise click.UsageError(f"{name}: not a number or a JSON object") from None


def _ask(name: str, **parameters: Any) -> dict[str, Any]:
    with command_connection() as conn:
        return reports.ask(conn, name, parameters, timeout_ms=TIMEOUT_MS)


def _all_nodes(node_type: str | None) -> dict[str, Any]:
    question = {
        "operation_type": "query",
        "entity_type": "node_heartbeat",
        "query_filters": {} if node_type is None else {"node_type": node_type.strip().lower()},
        "sort_by": "node_id",
        "sort_order": "asc",
        "limit": MAX_LIMIT,
        "strict_jsonb_validation": False,  # to be looked at, whatever a node has written
    }
    with command_connection() as conn:
        return queries.read(conn, question, timeout_ms=TIMEOUT_MS, max_bytes=MAX_BYTES)[0]


def _show(name: str, answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        report_pages.show(console(), name, answer)
