"""The connection of a command that asks the database, or changes something there by hand."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from omninode_bridge.contract.errors import OnexError
from store.database.connection import connection
from store.database.errors import Fate, fate_of
from store.database.pool import lone_connection
from worker.database import pool_config
from worker.found import require_database
from worker.settings import Settings

Connection = Any  # psycopg stays in the store
_UNKNOWN_NAMES = ("42P01", "42703", "42883", "3F000")  # of a table, column, function or schema: SQLSTATE


@contextmanager
def command_connection() -> Iterator[Connection]:
    """One to OMNINODE_DATABASE_URL. An OnexError of the block ends the command, in one line."""
    settings = Settings.load(require=["database_url"])
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # its warnings say less of a failure than the one line does
    try:
        with connection(settings.database_url) as conn:
            yield conn
    except OnexError as error:
        raise click.ClickException(_one_line(error)) from error


@contextmanager
def session_connection(settings: Settings, command: str) -> Iterator[Connection]:
    """One set up as the workers' are, to do their work by hand; what the database cannot do ends the command in one
    line."""
    require_database(settings)
    try:
        with lone_connection(pool_config(settings, f"omninode-bridge-fleet {command}")) as conn:
            yield conn
    except Exception as error:
        if not isinstance(error, OnexError) and fate_of(error) not in (Fate.OUTAGE, Fate.LOST, Fate.SUSPECT):
            raise
        raise click.ClickException(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    """What went wrong; and what to do, where the database lacks what this fleet knows of."""
    cause: BaseException = error
    if isinstance(error, OnexError):
        line, cause = str(error), error.original_error or error
    else:
        line = f"database: {(str(error).splitlines() or [type(error).__name__])[0][:200]}"
    is_older = getattr(cause, "sqlstate", None) in _UNKNOWN_NAMES
    return f"{line}; is the schema there? run `fleet migrate up`" if is_older else line
