"""The schema of a database as text that is the same on every major version of PostgreSQL: migrations/schema.sql.

    python -m migrations.dump_schema [URL] > migrations/schema.sql

From the catalogs, since pg_dump is not everywhere and words things anew with each version. The partitions of single
days are left out: they depend on the day. What comes out is SQL that builds the same schema in an empty database.
"""

import sys
from typing import Any, LiteralString

import psycopg
from psycopg import Connection

from store.database.server import CLIENT

HEAD = """\
-- The schema that the migrations build, without the partitions of single days. Not run by anything: it is here to be
-- read, and for the tests to compare with. Made by: python -m migrations.dump_schema
"""

# Of some an argument is a row of a table: they come after the tables. What a body names may come later anyway.
_FUNCTIONS: LiteralString = """
select
  rtrim(pg_get_functiondef(oid), E'\\n') || E';\\n',
  exists (select from pg_type where pg_type.oid = any(proargtypes) and typrelid <> 0) as takes_rows
from pg_proc where pronamespace = current_schema()::regnamespace
order by proname, oid
"""
_BODIES_LATER = "set check_function_bodies = off;\n"

_SEQUENCES: LiteralString = """
select 'create sequence ' || quote_ident(relname) || ' as ' || format_type(seqtypid, null) || ';' || E'\\n'
from pg_sequence join pg_class on pg_class.oid = seqrelid
where relnamespace = current_schema()::regnamespace
order by relname
"""

# What Alembic keeps for itself is no part of the schema.
_TABLES: LiteralString = """
select oid, relname, pg_get_partkeydef(oid), array_to_string(reloptions, ', ')
from pg_class
where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and not relispartition
  and relname <> 'alembic_version'
order by relname
"""

_COLUMNS: LiteralString = """
select
  quote_ident(attname) || ' ' || format_type(atttypid, atttypmod)
  || case when attcollation <> typcollation then ' collate ' || quote_ident(collname) else '' end
  || case when attnotnull then ' not null' else '' end
  || coalesce(' default ' || pg_get_expr(adbin, adrelid), '')
from pg_attribute
join pg_type on pg_type.oid = atttypid
left join pg_collation on pg_collation.oid = attcollation
left join pg_attrdef on adrelid = attrelid and adnum = attnum
where attrelid = %(table)s and attnum > 0 and not attisdropped
order by attnum
"""

# 'n' is a NOT NULL constraint, which has a row of its own only since PostgreSQL 18; the columns tell it.
_CONSTRAINTS: LiteralString = """
select contype = 'f', 'constraint ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid)
from pg_constraint
where conrelid = %(table)s and contype <> 'n'
order by array_position(array['p', 'u', 'c', 'x', 'f'], contype::text), conname
"""

_INDEXES: LiteralString = """
select pg_get_indexdef(indexrelid) || ';'
from pg_index join pg_class on pg_class.oid = indexrelid
where indrelid = %(table)s and not exists (
  select from pg_constraint where conindid = indexrelid and conrelid = indrelid and contype in ('p', 'u', 'x'))
order by relname
"""

_DEFAULT_PARTITIONS: LiteralString = """
select 'create table ' || quote_ident(relname) || ' partition of ' || quote_ident(%(name)s::text) || ' default;'
from pg_partitioned_table join pg_class on pg_class.oid = partdefid
where partrelid = %(table)s
"""


def dump(conn: Connection[Any]) -> str:
    """The schema that comes first on the search path of `conn`."""
    functions = conn.execute(_FUNCTIONS).fetchall()
    first = [_BODIES_LATER, *(text for text, takes_rows in functions if not takes_rows), *_texts(conn, _SEQUENCES)]
    last = [text for text, takes_rows in functions if takes_rows]
    tables: list[str] = []
    foreign_keys: list[str] = []
    for oid, name, partition_key, options in conn.execute(_TABLES).fetchall():
        text, references = _table(conn, {"table": oid, "name": name}, partition_key, options)
        tables.append(text)
        foreign_keys += references
    (schema,) = conn.execute("select quote_ident(current_schema())").fetchone() or ("",)
    parts = [HEAD, *first, *tables, *last, "\n".join(foreign_keys) + "\n"]
    return "\n".join(parts).replace("ON ONLY ", "ON ").replace(f"{schema}.", "")


def _table(
    conn: Connection[Any], table: dict[str, Any], partition_key: str | None, options: str | None
) -> tuple[str, list[str]]:
    """The statements of a table, and apart from them its foreign keys: the table that they name may come later."""
    name = table["name"]
    constraints = conn.execute(_CONSTRAINTS, table).fetchall()
    members = _texts(conn, _COLUMNS, table) + [text for foreign, text in constraints if not foreign]
    tail = (f" partition by {partition_key}" if partition_key else "") + (f" with ({options})" if options else "")
    create = f"create table {name} (\n  " + ",\n  ".join(members) + f"\n){tail};"
    lines = [create, *_texts(conn, _DEFAULT_PARTITIONS, table), *_texts(conn, _INDEXES, table)]
    references = [f"alter table {name} add {text};" for foreign, text in constraints if foreign]
    return "\n".join(lines) + "\n", references


def _texts(conn: Connection[Any], query: LiteralString, table: dict[str, Any] | None = None) -> list[str]:
    return [str(row[0]) for row in conn.execute(query, table).fetchall()]


def main() -> None:
    """Print the dump of the database whose URL is the first argument, else of the one that PGHOST and its like name."""
    with psycopg.connect(sys.argv[1] if len(sys.argv) > 1 else "", **CLIENT) as connection:
        sys.stdout.write(dump(connection))


if __name__ == "__main__":
    main()
