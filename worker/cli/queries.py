"""`fleet trace|stats|failed|session|report`: questions to the database, answered on the terminal."""

from pathlib import Path
from typing import Any
from uuid import UUID

import click
import orjson

from omninode_bridge.persistence.models import MAX_LIMIT
from store.reports import reports
from store.reports.parameters import NO_TEXT
from store.reports.trace import MOST_ROWS
from worker.cli.connection import command_connection
from worker.database import thresholds
from worker.pages.timeline import page
from worker.reports import pages
from worker.reports.tables import console
from worker.settings import Settings

TIMEOUT_MS = 30_000  # somebody waits in front of it, and may stop it
MAX_BYTES = 64 << 20  # of an answer's rows: it stays on this machine

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
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
@click.option(
    "--limit", type=click.IntRange(1, MOST_ROWS), default=MAX_LIMIT, show_default=True, help="Rows of each list."
)
@JSON
@click.option("--html", metavar="FILE", help="A file (or -) for a page with a timeline.")
def trace_command(id_: UUID, limit: int, as_json: bool, html: str | None) -> None:
    """One workflow, whole, by its correlation id, its row's, or its workflow id: steps, transitions, stamps, events."""
    answer = ask("trace_workflow", correlation_id=id_, limit=limit)
    if html is not None:
        _write(html, page(answer))
    if as_json or html is None:
        show("trace_workflow", answer, as_json=as_json)


@click.command("stats")
@click.argument("namespace")
@JSON
def stats_command(namespace: str, as_json: bool) -> None:
    """A namespace in numbers: stamps, sizes, file types, workflows."""
    show("namespace_stats", ask("namespace_stats", namespace=namespace), as_json=as_json)


@click.command("failed")
@_HOURS
@_LIMIT
@JSON
def failed_command(hours: float, limit: int, as_json: bool) -> None:
    """Workflows that failed lately, and why; the newest first."""
    answer = ask("find_failed_workflows", time_range_hours=hours, limit=limit)
    show("find_failed_workflows", answer, as_json=as_json)


@click.command("session")
@click.argument("id_", metavar="ID", type=click.UUID)
@_HOURS
@JSON
def session_command(id_: UUID, hours: float, as_json: bool) -> None:
    """The events of a session, one after the other, with the time between them."""
    show("session_events", ask("session_events", session_id=id_, time_range_hours=hours), as_json=as_json)


@click.command("report")
@click.argument("name", type=click.Choice(list(reports.REPORTS)), metavar="NAME")
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1)
@JSON
def report_command(name: str, parameters: tuple[str, ...], as_json: bool) -> None:
    """Any report by its name, such as `step_timing time_range_hours=6`; docs/queries.md lists them."""
    show(name, ask(name, **dict(map(_parameter, parameters))), as_json=as_json)


def _write(file: str, text: str) -> None:
    if file == "-":
        click.echo(text.encode(), nl=False)
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error


def _parameter(word: str) -> tuple[str, Any]:
    """Numbers, true, false and objects as JSON says them, everything else as it stands."""
    name, sign, value = word.partition("=")
    if not sign:
        raise click.UsageError(f"{word}: not KEY=VALUE")
    if name not in NO_TEXT and not value.startswith("{"):
        return name, value
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        raise click.UsageError(f"{name}: not a number, true, false or a JSON object") from None


def ask(name: str, **parameters: Any) -> dict[str, Any]:
    """The report's answer. A report that fails ends the command, in one line."""
    with command_connection() as conn:
        of_nodes = thresholds(Settings.load())
        return reports.ask(conn, name, parameters, timeout_ms=TIMEOUT_MS, max_bytes=MAX_BYTES, thresholds=of_nodes)


def show(name: str, answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2))
    else:
        pages.show(console(), name, answer)
