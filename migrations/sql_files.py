"""The SQL files beside this module: what the revisions run, and what psql can run without them."""

from pathlib import Path
from typing import Any, cast

from alembic import op
from psycopg import Connection

FOLDER = Path(__file__).resolve().parent


def up_files() -> list[Path]:
    """The files that build the schema, in order."""
    return sorted(path for verb in ("create", "add") for path in FOLDER.glob(f"[0-9][0-9][0-9]_{verb}_*.sql"))


def down_files() -> list[Path]:
    """The files that take the schema away, in the order in which they are run: the newest first."""
    return sorted(FOLDER.glob("[0-9][0-9][0-9]_drop_*.sql"), reverse=True)


def run(name: str) -> None:
    """Run `<name>.sql` in the transaction of the revision that calls this.

    On psycopg's own connection: a file holds several statements, and signs that SQLAlchemy takes for parameters.
    """
    connection = cast(Connection[Any], op.get_bind().connection.dbapi_connection)
    connection.execute((FOLDER / f"{name}.sql").read_bytes())
