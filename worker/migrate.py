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

from migrations import shape
from migrations.shape import Comparison
from store.database.errors import Unfit
from store.database.server import CLIENT, require_fit
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


@dataclass(frozen=True, slots=True)
class Found:
    """Every revision of this release, oldest first, and how what stands compares with them."""

    revisions: list[Revision]
    comparison: Comparison


def up(database_url: str) -> list[Revision]:
    """Run every revision that the database lacks; returns those, oldest first.

    Waits for another `up` of the same database. An empty URL means what PGHOST and its like say.
    Raises: MigrationError; before anything is changed, when something else stands than the revisions build.
    """
    before = status(database_url)
    with _explained():
        command.upgrade(_config(database_url), "head")
    return [replace(revision, applied=True) for revision in before if not revision.applied]


def down(database_url: str, *, revisions: int | None) -> list[Revision]:
    """Undo the newest `revisions`, or all of them for None, with the data that they hold; returns those, newest first.

    Raises: MigrationError; also, before anything is done, when the database has fewer.
    """
    applied = [revision for revision in look(database_url).revisions if revision.applied]
    count = len(applied) if revisions is None else revisions
    if not 0 <= count <= len(applied):
        raise MigrationError(f"cannot undo {count} revisions: the database has {len(applied)}")
    if count:
        with _explained():
            command.downgrade(_config(database_url), "base" if revisions is None else f"-{count}")
    return [replace(revision, applied=False) for revision in reversed(applied[len(applied) - count :])]


def status(database_url: str) -> list[Revision]:
    """Every revision of this release, oldest first.

    Raises: MigrationError, also for a database of a newer release, and for one in which something else stands than
    these revisions build.
    """
    found = look(database_url)
    if found.comparison.wrong:
        raise MigrationError(found.comparison.line())
    return found.revisions


def look(database_url: str) -> Found:
    """What stands, right or wrong. Raises: MigrationError, also for a database of a newer release."""
    with _explained():
        scripts = list(ScriptDirectory.from_config(_config(database_url)).walk_revisions())[::-1]
        found = _examine(database_url)
    if found.is_newer:
        raise MigrationError(
            f"the database is at revision {found.revision}, which this release does not know: use a newer one"
        )
    numbers = [script.revision for script in scripts]
    count = numbers.index(found.revision) + 1 if found.revision in numbers else 0
    revisions = [Revision(script.revision, script.doc, place < count) for place, script in enumerate(scripts)]
    return Found(revisions, found)


def _config(database_url: str) -> Config:
    config = Config(attributes={"database_url": database_url})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def _examine(database_url: str) -> Comparison:
    with psycopg.connect(database_url, autocommit=True, **CLIENT) as connection:
        require_fit(connection, database_url)
        return shape.examine(connection)


@contextmanager
def _explained() -> Iterator[None]:
    """One at a time, with errors whose message an operator can use."""
    with _alembic_runs:
        try:
            yield
        except Unfit as error:
            raise MigrationError(f"migration failed: {error.message}") from None
        except psycopg.ProgrammingError as error:
            if error.sqlstate is None:  # libpq repeats what it cannot read, which may hold the password
                raise MigrationError("the database's URL cannot be read") from None
            raise MigrationError(f"migration failed: {error}") from error
        except (psycopg.Error, SQLAlchemyError, CommandError) as error:
            raise MigrationError(f"migration failed: {error}") from error
