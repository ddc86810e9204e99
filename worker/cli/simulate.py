"""`fleet simulate`: simulated bridge nodes against a running fleet, and whether the database came out right."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click
import orjson
from rich.console import Console
from rich.live import Live
from rich.table import Table

from omninode_bridge.contract.errors import OnexError
from worker.settings import Settings
from worker.simulation.load import Plan, Progress, SimulationResult, run_simulation

PLAIN_INTERVAL_S = 2.0


@click.command("simulate")
@click.option(
    "--rate",
    "rate_per_s",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Operations a second; 0 is as fast as they are confirmed.",
)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 86_400), default=10.0, show_default=True, help="How long to send."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Which world is simulated.")
@click.option(
    "--clients", type=click.IntRange(1, 64), default=1, show_default=True, help="Clients that share the load."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object and nothing else.")
def simulate_command(rate_per_s: float, seconds: float, seed: int, clients: int, as_json: bool) -> None:
    """Send what bridge nodes would, wait until it is confirmed, compare the database with the reference fold.

    Exit code 0 when every operation was confirmed and the database equals the fold. The first Ctrl-C ends the sending.
    """
    settings = Settings.load(require=["broker_url", "database_url"])
    plan = Plan(rate_per_s=rate_per_s, seconds=seconds, seed=seed, clients=clients)
    try:
        with _first_interrupt() as stop, _view(shown=not as_json) as show:
            result = run_simulation(settings, plan, on_progress=show, stop=stop)
    except OnexError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(orjson.dumps(result.as_dict()))
    else:
        _summary(result)
    raise SystemExit(0 if result.ok else 1)


@contextmanager
def _first_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one is a KeyboardInterrupt, as without this."""
    stop = threading.Event()

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _view(*, shown: bool) -> Iterator[Callable[[Progress], None]]:
    """Live on a terminal; elsewhere a line now and then."""
    console = Console()
    if not shown:
        yield lambda _: None
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda progress: live.update(_table(progress), refresh=True)
    else:
        yield _Lines()


class _Lines:
    """Prints a line when the phase changes or some seconds have gone by."""

    def __init__(self) -> None:
        self._phase, self._due_s = "", 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.phase == self._phase and progress.elapsed_s < self._due_s:
            return
        self._phase, self._due_s = progress.phase, progress.elapsed_s + PLAIN_INTERVAL_S
        latency = progress.latency_ms
        click.echo(
            f"{progress.elapsed_s:6.1f} s  {progress.phase:<7}  {progress.rate_per_s:8,.0f}/s  "
            f"{progress.confirmed:,} confirmed, {progress.in_flight:,} in flight, "
            f"p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, p99 {latency['p99']:.1f} ms"
        )


def _table(progress: Progress) -> Table:
    table = Table(show_header=False, box=None)
    table.add_row("phase", progress.phase)
    table.add_row("elapsed", f"{progress.elapsed_s:.1f} s")
    table.add_row("rate now", f"{progress.rate_per_s:,.0f} operations/s")
    table.add_row("confirmed", f"{progress.confirmed:,}")
    table.add_row("in flight", f"{progress.in_flight:,}")
    for name in ("p50", "p95", "p99"):
        table.add_row(name, f"{progress.latency_ms[name]:.1f} ms")
    return table


def _summary(result: SimulationResult) -> None:
    table = Table(show_header=False, box=None)
    table.add_row("submitted", f"{result.submitted:,}")
    table.add_row("confirmed", f"{result.confirmed:,}")
    table.add_row("  applied", f"{result.applied:,}")
    table.add_row("  duplicate", f"{result.duplicate:,}")
    for code, count in (result.refused or {"": 0}).items():
        table.add_row(f"  refused {code}".rstrip(), f"{count:,}")
    table.add_row("rate", f"{result.rate_per_s:,.0f} confirmed operations/s over {result.elapsed_s:.1f} s")
    table.add_row("latency", ", ".join(f"{name} {value:.1f} ms" for name, value in result.latency_ms.items()))
    for name, rows in sorted(result.rows.items()):
        table.add_row(name, f"{rows:,} rows")
    Console().print(table)
    click.echo(verdict(result))


def verdict(result: SimulationResult) -> str:
    """What the comparison found, in a line, or a line for each of the first differences."""
    if result.unconfirmed:
        return (
            f"{result.unconfirmed:,} of {result.submitted:,} operations are unconfirmed: the database was not compared"
        )
    if result.difference_count:
        shown = [f"  {difference}" for difference in result.differences]
        return "\n".join([f"the database differs from the fold in {result.difference_count:,} places, first:", *shown])
    tables = [rows for rows in result.rows.values() if rows]
    return f"database equals the fold: {sum(tables):,} rows in {len(tables)} tables"
