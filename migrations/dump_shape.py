"""What every revision builds, as facts: migrations/shape.json.

    python -m migrations.dump_shape URL > migrations/shape.json

URL is of an empty database; the migrations run there, one after another.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import Connection

from migrations import shape
from migrations.shape import Fact, Things
from migrations.sql_files import up_files
from store.database.server import CLIENT

_NAMES = """
select relname::text from pg_class
where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'S') and not relispartition
  and relname <> 'alembic_version'
union all
select format('%s(%s)', proname, oidvectortypes(proargtypes))
from pg_proc where pronamespace = current_schema()::regnamespace
"""


def dump(conn: Connection[Any]) -> str:
    """Run the migrations on a connection in autocommit mode to an empty schema, and tell what each built."""
    return written(shape.facts_of(_steps(conn)), head=up_files()[-1].name[:3])


def written(facts: list[Fact], *, head: str) -> str:
    """One fact a line, so that two branches that add some can be merged."""
    lines = ",\n".join(json.dumps(fact, ensure_ascii=False) for fact in facts)
    return f'{{"head": "{head}", "facts": [\n{lines}\n]}}\n'


def _steps(conn: Connection[Any]) -> Iterator[tuple[str, dict[str, Things]]]:
    for file in up_files():
        conn.execute(file.read_bytes())
        names = [name for (name,) in conn.execute(_NAMES)]
        yield file.name[:3], dict(shape.read(conn, names))


def main() -> None:
    """Print it for the empty database whose URL is the first argument."""
    with psycopg.connect(sys.argv[1], autocommit=True, **CLIENT) as connection:
        sys.stdout.write(dump(connection))


if __name__ == "__main__":
    main()
