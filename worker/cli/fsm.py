"""`fleet fsm check|rebuild`."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from store.housekeeping import fsm_check
from store.housekeeping.fsm_check import Difference, Standing
from worker.cli.connection import Connection, command_connection


class _NotLooked(click.ClickException):
    """1 says that something differs."""

    exit_code = 2


@click.group("fsm")
def fsm_command() -> None:
    """Check state machines against their transitions, and rebuild them."""


@fsm_command.command("check")
@click.option("--limit", "rows_limit", type=click.IntRange(1), default=50, show_default=True, help="Machines shown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; the totals in the last.")
def check_command(rows_limit: int, as_json: bool) -> None:
    """Where states and transitions differ. Exit code 1 when they do anywhere, 2 when that could not be seen."""
    raise SystemExit(1 if _check(rows_limit, as_json=as_json) else 0)


@fsm_command.command("rebuild")
@click.option("--dry-run", is_flag=True, help="Only show what differs.")
@click.option(
    "--delete-surplus", is_flag=True, help="Delete states that have no transition at all; else they are left."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; the totals in the last.")
def rebuild_command(dry_run: bool, delete_surplus: bool, as_json: bool) -> None:
    """Make the states what the transitions say. May run beside a working fleet."""
    if dry_run:
        _check(None, as_json=as_json)
        return
    totals: Counter[str] = Counter()
    with _connection() as conn:
        for one in fsm_check.rebuild(conn, delete_surplus=delete_surplus):
            totals[one.done] += 1
            if as_json:
                _echo(one._asdict())
            else:
                click.echo(f"{one.entity_type} {one.entity_id} {one.done}")
    if as_json:
        _echo({"totals": totals})
        return
    click.echo(f"{totals['rebuilt'] + totals['deleted']:,} machines were not what their transitions say, and are now")
    if totals["left"]:
        click.echo(f"{totals['left']:,} states without any transition were left; --delete-surplus deletes them")


def _check(rows_limit: int | None, *, as_json: bool) -> int:
    """Show what differs, so many at most; how many do."""
    shown: list[Difference] = []
    totals: Counter[str] = Counter()
    with _connection() as conn:
        for difference in fsm_check.differences(conn):
            totals[difference.kind] += 1
            if rows_limit is not None and totals.total() > rows_limit:
                continue
            if as_json:
                _echo(dataclasses.asdict(difference))
            else:
                shown.append(difference)
    found = totals.total()
    is_cut = rows_limit is not None and found > rows_limit
    if as_json:
        _echo({"totals": totals, "is_cut": is_cut})
        return found
    _print(shown)
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(totals.items()))
    cut = f"; the first {rows_limit:,} are shown" if is_cut else ""
    click.echo(
        f"{found:,} machines differ from their transitions ({kinds}){cut}" if found else "states and transitions agree"
    )
    return found


@contextmanager
def _connection() -> Iterator[Connection]:
    """As other commands have it; but where the database is away, the exit code must not say that something differs."""
    try:
        with command_connection() as conn:
            yield conn
    except click.ClickException as error:
        raise _NotLooked(error.message) from error


def _echo(line: dict[str, Any]) -> None:
    click.echo(orjson.dumps(line))


def _print(shown: list[Difference]) -> None:
    if not shown:
        return
    table = Table("type", "id", "kind", "its state says", "its transitions say")
    for one in shown:
        table.add_row(one.entity_type, str(one.entity_id), one.kind, _text(one.state), _text(one.transitions))
    Console(width=None if Console().is_terminal else 200).print(table)


def _text(standing: Standing | None) -> str:
    if standing is None:
        return "nothing"
    before = f" from {standing.previous_state}" if standing.previous_state else ""
    moved = standing.last_transition_at.isoformat(timespec="seconds")
    return f"{standing.state}{before} at {moved}, {standing.transitions:,} transitions"
