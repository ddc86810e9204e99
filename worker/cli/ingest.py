"""`fleet ingest FILE|-`."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import click
import orjson
from rich.console import Console
from rich.live import Live
from rich.table import Table

from omninode_bridge.contract.errors import OnexError
from worker.client import client_of
from worker.intake.ingest import Account, ingest
from worker.settings import Settings

PLAIN_INTERVAL_S = 2.0


@click.command("ingest")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def ingest_command(file: BinaryIO, as_json: bool, quiet: bool) -> None:
    """Submit bus records, one JSON object a line, and wait until each is confirmed.

    A line is {"topic", "key", "value"[, "timestamp"]}; `value` is an object, or a string where the record's bytes
    are no JSON. Exit code 0
    when every record is accounted for: applied, duplicate, refused (kept as a dead letter) or recorded only.
    """
    settings = Settings.load(require=["broker_url"])
    account = Account()
    client = client_of(settings)
    try:
        with _progress(account, shown=not quiet):
            ingest(file, client, account)
        client.close()
    except KeyboardInterrupt:
        _summary(account, as_json=as_json)
        raise SystemExit(130) from None
    except OnexError as error:
        _summary(account, as_json=as_json)
        raise click.ClickException(str(error)) from error
    _summary(account, as_json=as_json)
    raise SystemExit(0 if account.complete else 1)


@contextmanager
def _progress(account: Account, *, shown: bool) -> Iterator[None]:
    """Show how far it is on stderr: live on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    if not shown:
        yield
    elif console.is_terminal:
        with Live(get_renderable=lambda: _line(account), console=console, refresh_per_second=5, transient=True):
            yield
    else:
        with every(PLAIN_INTERVAL_S, lambda: console.print(_line(account), highlight=False)):
            yield


@contextmanager
def every(interval_s: float, action: Callable[[], None]) -> Iterator[None]:
    """Run `action` each `interval_s` seconds in a thread while the block runs."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(interval_s):
            action()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _line(account: Account) -> str:
    rate = account.confirmed / account.elapsed_s if account.elapsed_s else 0
    return (
        f"{account.records} records submitted, {account.confirmed} confirmed ({rate:,.0f}/s): "
        f"{account.applied} applied, {account.duplicate} duplicate, {account.refused.total()} refused, "
        f"{account.recorded_only} recorded only"
    )


def _summary(account: Account, *, as_json: bool) -> None:
    summary = account.as_dict()
    if as_json:
        click.echo(orjson.dumps(summary))
        return
    table = Table(show_header=False, box=None)
    for name in ("records", "applied", "duplicate", "refused_total", "recorded_only", "unconfirmed"):
        table.add_row(name.removesuffix("_total").replace("_", " "), f"{summary[name]:,}")
    for code, count in summary["refused"].items():
        table.add_row(f"  refused {code}", f"{count:,}")
    table.add_row("rate", f"{summary['records_per_s']:,.0f} records/s over {summary['elapsed_s']:.1f} s")
    Console().print(table)
