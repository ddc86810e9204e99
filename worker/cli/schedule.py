"""`fleet schedule list|run`."""

import os
import socket
import time
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

import click
import orjson

from store.database.instant import instant
from store.housekeeping import schedules
from store.housekeeping.schedules import Due, Latest, Ran, Tick
from worker.cli.connection import command_connection, session_connection
from worker.reports.tables import as_age, as_duration, as_instant, as_number, as_text, console, show_rows
from worker.schedule.jobs import JOBS
from worker.schedule.schedules import Schedule
from worker.schedule.schedules import schedules as all_schedules
from worker.settings import Settings

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
_OUTCOMES = {"failed": "red", "running": "yellow"}
_COLUMNS = (
    as_text("name"),
    as_age("every_s", "every", goes=5),
    as_instant("due_at", "last", goes=6),
    as_text("outcome", styles=_OUTCOMES),
    as_duration("worked_ms", "took", goes=3),
    as_number("rows_touched", "rows", goes=2),
    as_text("counts", goes=4),
    as_instant("done_at", "last done", goes=1),
    as_instant("next_at", "next", goes=7),
    as_age("waits_s", "waits"),
    as_text("error"),
)


@click.group("schedule")
def schedule_command() -> None:
    """What the fleet does by itself: when, and what came of it."""


@schedule_command.command("list")
@_JSON
def list_command(as_json: bool) -> None:
    """Each schedule: its last tick and what came of it, its next, and how long one has waited that is not done."""
    every = all_schedules(Settings.load(require=["database_url"]))
    with command_connection() as conn:
        dues = schedules.due(conn, [schedule.grid for schedule in every])
        latest = schedules.latest(conn, [schedule.name for schedule in every])
    rows = [_row(*one) for one in zip(every, dues, latest, strict=True)]
    if as_json:
        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    else:
        shown = [row | {"counts": _counts(row["counts"])} for row in rows]
        show_rows(console(), shown, _COLUMNS)


@schedule_command.command("run")
@click.argument("name")
@_JSON
def run_command(name: str, as_json: bool) -> None:
    """Run a schedule's job here and now, to its end, as a tick of this moment. Exit code 1 when it is busy or fails."""
    settings = Settings.load(require=["database_url"])
    if name not in JOBS:
        raise click.ClickException(f"no schedule {name!r}; there are: {', '.join(sorted(JOBS))}")
    began = time.monotonic()
    with session_connection(settings, "schedule") as conn:
        tick = Tick(name, instant(conn))
        ran = schedules.run(conn, tick, partial(JOBS[name], settings), ran_by=f"{socket.gethostname()}-{os.getpid()}")
    _tell(tick, ran, took_s=time.monotonic() - began, as_json=as_json)
    raise SystemExit(0 if ran.outcome == "done" else 1)


def _tell(tick: Tick, ran: Ran, *, took_s: float, as_json: bool) -> None:
    if as_json:
        told = {"name": tick.name, "due_at": tick.due_at.isoformat(), **asdict(ran)}
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    elif ran.outcome == "done":
        counts = _counts(ran.counts)
        click.echo(f"{tick.name}: done in {took_s:.1f} s, {ran.rows} rows" + (f" ({counts})" if counts else ""))
    else:
        click.echo(f"{tick.name}: busy; somebody else is at it just now", err=True)


def _row(schedule: Schedule, due: Due, latest: Latest) -> dict[str, Any]:
    period = timedelta(seconds=schedule.period_s)
    instants = ("due_at", "started_at", "ended_at", "done_at")
    return {
        **asdict(latest),
        **{name: at.isoformat() if (at := getattr(latest, name)) is not None else None for name in instants},
        "every_s": schedule.period_s,
        "next_at": (due.tick.due_at + period).isoformat(),
        "waits_s": None if due.is_done else max(schedule.period_s - due.next_in_s, 0.0),
    }


def _counts(counts: Any) -> str | None:
    """Those that are not nothing."""
    return ", ".join(f"{kind} {count}" for kind, count in (counts or {}).items() if count) or None
