"""`fleet status` and `fleet health`."""

import socket

import click
import orjson
from rich.console import Console
from rich.table import Table

from store.housekeeping.alerts import Alert
from store.outbox.outbox import OutboxDepth
from worker.settings import Settings
from worker.status import FleetStatus, gather

LATE_S = 60.0  # events go out in milliseconds: one that waits so long waits for somebody to look


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--window",
    "window_s",
    type=click.FloatRange(1, 3600),
    default=10.0,
    show_default=True,
    help="Seconds that rates are of.",
)
def status_command(as_json: bool, window_s: float) -> None:
    """Queues, workers, ledger rate, outcomes, dead letters, outbox. Exit code 1 when something could not be reached."""
    status = _gather(window_s)
    if as_json:
        click.echo(orjson.dumps(status.as_dict(), option=orjson.OPT_INDENT_2))
    else:
        _show(status)
    raise SystemExit(1 if status.problems else 0)


@click.command("health")
def health_command() -> None:
    """Exit code 0 when database and broker answer and a worker of this host does; says what does not."""
    status = _gather(1.0)
    host = socket.gethostname()
    problems = list(status.problems)
    if status.workers and not any(name.partition("@")[2] == host for name in status.workers):
        problems.append(f"workers: none of this host ({host}) answered")
    for problem in problems:
        click.echo(problem, err=True)
    raise SystemExit(1 if problems else 0)


def _gather(window_s: float) -> FleetStatus:
    from worker.app import make_app  # celery takes a while to import: not for `fleet --help`

    settings = Settings.load(require=["broker_url", "database_url"])
    return gather(make_app(settings), settings, window_s=window_s)


def _show(status: FleetStatus) -> None:
    console = Console(width=None if Console().is_terminal else 160)
    queues = _table("queue", "messages waiting")
    for name, depth in status.queues.items():
        queues.add_row(name, "?" if depth is None else f"{depth:,}")
    console.print(queues)
    workers = _table("worker", "state", "breaker", "pool used", "memory")
    for name, state in status.workers.items():
        pool = state.get("pool", {})
        memory = f"{state['rss_bytes'] / 1_000_000:.0f} MB" if state.get("rss_bytes") else "?"
        paused = "paused" if state.get("paused") else "consuming"
        workers.add_row(
            name,
            paused,
            str(state.get("breaker", {}).get("state", "?")),
            f"{pool.get('used_connections', '?')} of {pool.get('pool_max', '?')}",
            memory,
        )
    console.print(workers)
    if line := unreadable_line(status):
        console.print(line, highlight=False)
    if status.store is not None:
        _show_store(console, status)
    for problem in status.problems:
        console.print(f"[red]{problem}[/red]", highlight=False)


def _show_store(console: Console, status: FleetStatus) -> None:
    assert status.store is not None
    ledger = status.store.ledger
    console.print(
        f"ledger: {ledger.rate_per_s:,.0f} operations/s over the last {ledger.window_s:.0f} s "
        f"(PostgreSQL {status.store.server_version})"
    )
    outcomes = _table("outcome", "operations")
    for (outcome, code), count in sorted(ledger.outcomes.items()):
        outcomes.add_row(f"{outcome} {code}".strip(), f"{count:,}")
    console.print(outcomes)
    letters = _table("open dead letters", "number", "oldest")
    for group in status.store.open_letters:
        letters.add_row(group.code, f"{group.letters:,}", group.oldest.isoformat(sep=" ", timespec="seconds"))
    console.print(letters)
    console.print(outbox_line(status.store.outbox), highlight=False)
    strays = {table: count for table, count in status.store.default_rows.items() if count}
    if strays:
        console.print(
            "rows outside every day's partition: " + ", ".join(f"{table} {count:,}" for table, count in strays.items())
        )
    for alert in status.store.alerts:
        console.print(alert_line(alert), highlight=False)


def unreadable_line(status: FleetStatus) -> str | None:
    """What was no task, red; None while there is none."""
    since_start = sum(int(state.get("unreadable_total") or 0) for state in status.workers.values())
    if not status.unreadable and not since_start:
        return None
    return (
        f"[bold red]unreadable messages: {status.unreadable or 0:,} kept (fleet dlq unreadable), "
        f"{since_start:,} found by these workers[/bold red]"
    )


def alert_line(alert: Alert) -> str:
    """One alert, red."""
    return f"[bold red]alert {alert.metric}: {alert.about}: {alert.message}[/bold red]"


def outbox_line(depth: OutboxDepth) -> str:
    """How the outbox is; red where somebody should look."""
    line = f"outbox: {depth.pending:,} events wait"
    if depth.oldest_s is not None:
        line += f", the first for {depth.oldest_s:,.0f} s"
    if depth.refused:
        line += f"; {depth.refused:,} refused by the bus"
    late = depth.oldest_s is not None and depth.oldest_s > LATE_S
    return f"[bold red]{line}: is a relay running, does the bus answer?[/bold red]" if late else line


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", title_justify="left")
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right")
    return table
