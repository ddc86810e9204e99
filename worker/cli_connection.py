"""The connection of a command that asks the database, or changes something there by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from omninode_bridge.errors import OnexError
from store.connection import connection
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
