"""What Alembic runs around the revisions: one connection, one caller at a time, a transaction for each revision."""

import os
from logging.config import fileConfig

import psycopg
from alembic import context
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from migrations import shape
from store.database.errors import Unfit
from store.database.server import CLIENT, require_fit

# Any number will do that no other program locks in the same database.
LOCK_KEY = 0x6F6D6E69_6D696772
# A table that somebody holds for long: rather stop than let every writer queue up behind the migration.
LOCK_TIMEOUT = "10s"


def run() -> None:
    """Connect, wait for whoever else migrates this database, then do what the command asks."""
    if context.is_offline_mode():
        raise CommandError("there is no --sql: the revisions are plain SQL already, migrations/*.sql, for psql -f")
    if context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    with psycopg.connect(_database_url(), autocommit=True, **CLIENT) as connection:
        try:
            require_fit(connection, _database_url())
        except Unfit as error:
            raise CommandError(error.message) from None
        connection.execute("select pg_advisory_lock(%s)", [LOCK_KEY])
        connection.execute(f"set lock_timeout = '{LOCK_TIMEOUT}'")
        connection.set_autocommit(False)
        _migrate(connection)


def _database_url() -> str:
    """The caller's, else the fleet's setting; an empty one leaves everything to the PG variables."""
    given = context.config.attributes.get("database_url")
    return str(given) if given is not None else os.environ.get("OMNINODE_DATABASE_URL", "")


def _migrate(connection: psycopg.Connection) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)
    with engine.connect() as wrapped:
        context.configure(connection=wrapped, transaction_per_migration=True)
        if _is_upgrade():
            _require_shape(connection)
        with context.begin_transaction():
            context.run_migrations()
        migration = context.get_context()
        if not migration.get_current_heads():
            connection.execute("drop table if exists alembic_version")  # after the last down nothing is left
        connection.commit()


def _is_upgrade() -> bool:
    """Whoever goes down, or asks, is not kept from it."""
    return getattr(context.get_context().opts.get("fn"), "__name__", "") == "upgrade"


def _require_shape(connection: psycopg.Connection) -> None:
    """Stop before anything is changed where what stands is not as one of the revisions builds it."""
    found = shape.examine(connection)
    connection.rollback()
    if found.wrong:
        raise CommandError(found.line())


run()
