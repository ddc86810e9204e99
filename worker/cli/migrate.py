"""`fleet migrate up|down|status`."""

import sys
from collections.abc import Sequence

import click

from worker import migrate as migrations
from worker.migrate import Revision
from worker.settings import Settings


@click.group()
def migrate() -> None:
    """Bring the database's schema up, down, or say where it stands. The database is OMNINODE_DATABASE_URL."""


@migrate.command()
def up() -> None:
    """Run the migrations that are missing."""
    _show(migrations.up(_url()), none="nothing to do: the schema is up to date")


@migrate.command()
@click.option("--revisions", type=click.IntRange(min=1), help="How many to take back.  [default: all of them]")
@click.option("--yes", is_flag=True, help="Do not ask.")
def down(revisions: int | None, yes: bool) -> None:
    """Take migrations back, and what is in their tables with them."""
    url = _url()
    if not yes and sys.stdin.isatty():
        click.confirm(f"Take back {revisions or 'all'} revisions, and all data in what they made?", abort=True)
    _show(migrations.down(url, revisions=revisions), none="nothing to take back")


@migrate.command()
def status() -> None:
    """Say which migrations have run, and how what stands differs from what they build. Exit code 1: it does."""
    found = migrations.look(_url())
    if found.comparison.wrong:
        for line in found.comparison.wrong:
            click.echo(f"wrong  {line}")
        raise migrations.MigrationError(found.comparison.line())
    _show(found.revisions, none="there are no migrations")
    for line in found.comparison.noted:
        click.echo(f"note  {line}")


def _url() -> str:
    return Settings.load(require=("database_url",)).database_url


def _show(revisions: Sequence[Revision], *, none: str) -> None:
    for revision in revisions:
        click.echo(f"{revision.number}  {'applied' if revision.applied else 'not applied':11}  {revision.summary}")
    if not revisions:
        click.echo(none)
