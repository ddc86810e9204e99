"""The connection of a command that asks the database, or changes something there by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from omninode_bridge.errors import OnexError
from store.connection import connection
from store.errors import Fate, fate_of
from store.pool import lone_connection
from worker.database import pool_config
from worker.settings import Settings

Connection = Any  # psycopg stays in the store


@contextmanager
def command_connection() -> Iterator[Connection]:
    """One to OMNINODE_DATABASE_URL. An OnexError of the block ends the command, in one line."""
    settings = Settings.load(require=["database_url"])
    try:
        with connection(settings.database_url) as conn:
            yield conn
    except OnexError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def session_connection(settings: Settings, command: str) -> Iterator[Connection]:
    """One set up as the workers' are, to do their work by hand; what the database cannot do ends the command in one
    line."""
    try:
        with lone_connection(pool_config(settings, f"omninode-bridge-fleet {command}")) as conn:
            yield conn
    except OnexError as error:
        raise click.ClickException(str(error)) from error
    except Exception as error:
        if fate_of(error) is not Fate.OUTAGE:
            raise
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise click.ClickException(f"database: {first_line[:200]}") from error
