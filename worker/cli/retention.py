"""`fleet retention`: remove what has been kept long enough, here and now, or say what that would be."""

import os
import socket
from collections.abc import Sequence
from dataclasses import asdict

import click
import orjson

from store.database.instant import instant
from store.housekeeping import schedules
from store.housekeeping.retention import KeepTimes, Retention
from store.housekeeping.retention_report import TableReport, reports_of, survey
from store.housekeeping.schedules import Tick
from worker.cli.connection import Connection, session_connection
from worker.reports.tables import as_id, as_number, as_text, console, show_rows
from worker.schedule.jobs import keep_times
from worker.settings import Settings

SCHEDULE = "retention"


@click.command("retention")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def retention_command(dry_run: bool, as_json: bool) -> None:
    """Remove rows that have been kept for as long as the settings say, and tell what is kept although it is old.

    Exit code 1 when retention is busy elsewhere.
    """
    settings = Settings.load(require=["database_url"])
    keep = keep_times(settings)
    with session_connection(settings, SCHEDULE) as conn:
        reports = survey(conn, keep) if dry_run else _run(conn, settings, keep)
    if as_json:
        told = {"dry_run": dry_run, "tables": [asdict(report) for report in reports]}
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    else:
        _show(reports, dry_run=dry_run)


def _run(conn: Connection, settings: Settings, keep: KeepTimes) -> list[TableReport]:
    """As a tick of this moment, under the schedule's lock."""
    tick = Tick(SCHEDULE, instant(conn))
    job = Retention(keep, share=settings.retention_percent / 100)
    ran = schedules.run(conn, tick, lambda: job, ran_by=f"{socket.gethostname()}-{os.getpid()}")
    if ran.outcome == "busy":
        raise click.ClickException("retention is busy: somebody else is at it just now")
    kept = {report.table: report.kept for report in survey(conn, keep)}
    reports = reports_of(keep, ran.counts, job.left)
    for report in reports:
        report.kept = kept[report.table]
    return reports


def _show(reports: Sequence[TableReport], *, dry_run: bool) -> None:
    verb = "to remove" if dry_run else "removed"
    columns = (
        as_id("table"),
        as_text("keep"),
        as_number("days", f"days {verb}"),
        as_number("size_bytes", "their bytes", goes=1),
        as_number("rows", f"rows {verb}"),
        as_number("moved", "events moved", goes=2),
        as_number("left", "days left", goes=3),
        as_text("kept", "old, and kept"),
    )
    rows = [
        asdict(report) | {"keep": _keep(report), "left": len(report.left), "kept": _kept(report)} for report in reports
    ]
    show_rows(console(), rows, columns)
    for left in [day for report in reports for day in report.left]:
        console().print(f"{left.table} {left.day} stays: {left.why}", highlight=False)


def _keep(report: TableReport) -> str:
    return f"{report.keep_days} days" if report.keep_days else "always"


def _kept(report: TableReport) -> str | None:
    return ", ".join(f"{count:,} {why}" for why, count in report.kept.items()) or None
