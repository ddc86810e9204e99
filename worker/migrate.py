"""The schema's migrations, up and down: what `fleet migrate` and `fleet up` call. Prints nothing; runs Alembic."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from worker.errors import FleetError

_SCRIPTS = Path(__file__).resolve().parent.parent / "migrations"
_alembic_runs = threading.Lock()  # its `context` and `op` are one per process


class MigrationError(FleetError):
    """The database is where it was before the revision that failed, or could not be reached at all."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One step of the schema: its number ("001"), what it brings, and whether the database has it."""

    number: str
    summary: str
    applied: bool


def up(database_url: str) -> list[Revision]:
    """Run every revision that the database lacks; returns those, oldest first.

    Waits for another `up` of the same database. An empty URL means what PGHOST and its like say.
    Raises: MigrationError.
    """
    before = status(database_url)
    with _explained():
        command.upgrade(_config(database_url), "head")
    return [replace(revision, applied=True) for revision in before if not revision.applied]


def down(database_url: str, *, revisions: int | None) -> list[Revision]:
    """Undo the newest `revisions`, or all of them for None, with the data that they hold; returns those, newest first.

    Raises: MigrationError; also, before anything is done, when the database has fewer.
    """
    applied = [revision for revision in status(database_url) if revision.applied]
    count = len(applied) if revisions is None else revisions
    if not 0 <= count <= len(applied):
        raise MigrationError(f"cannot undo {count} revisions: the database has {len(applied)}")
    if count:
        with _explained():
            command.downgrade(_config(database_url), "base" if revisions is None else f"-{count}")
    return [replace(revision, applied=False) for revision in reversed(applied[len(applied) - count :])]


def status(database_url: str) -> list[Revision]:
    """Every revision of this release, oldest first. Raises: MigrationError, also for a database of a newer release."""
    with _explained():
        scripts = list(ScriptDirectory.from_config(_config(database_url)).walk_revisions())[::-1]
        current = _current(database_url)
    numbers = [script.revision for script in scripts]
    if current is not None and current not in numbers:
        raise MigrationError(
            f"the database is at revision {current}, which this release does not know: use a newer one"
        )
    count = 0 if current is None else numbers.index(current) + 1
    return [Revision(script.revision, script.doc, place < count) for place, script in enumerate(scripts)]


def _config(database_url: str) -> Config:
    config = Config(attributes={"database_url": database_url})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def _current(database_url: str) -> str | None:
    with psycopg.connect(database_url) as connection:
        known = connection.execute("select to_regclass('alembic_version') is not null").fetchone()
        if known != (True,):
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
        return str(row[0]) if row else None


@contextmanager
def _explained() -> Iterator[None]:
    """One at a time, with errors whose message an operator can use."""
    with _alembic_runs:
        try:
            yield
        except psycopg.ProgrammingError as error:
            if error.sqlstate is None:  # libpq repeats what it cannot read, which may hold the password
                raise MigrationError("the database's URL cannot be read") from None
            raise MigrationError(f"migration failed: {error}") from error
        except (psycopg.Error, SQLAlchemyError, CommandError) as error:
            raise MigrationError(f"migration failed: {error}") from error
