"""What Alembic runs around the revisions: one connection, one caller at a time, a transaction for each revision."""

import os
from logging.config import fileConfig

import psycopg
from alembic import context
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

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
    with psycopg.connect(_database_url(), autocommit=True) as connection:
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
        with context.begin_transaction():
            context.run_migrations()
        migration = context.get_context()
        if not migration.get_current_heads():
            connection.execute("drop table if exists alembic_version")  # after the last down nothing is left
        connection.commit()


run()
