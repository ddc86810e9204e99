"""Names that need quotes, of a database, its owner and its schema; and URLs that spell them."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from migrations import shape
from store.housekeeping import partitions
from store.write.apply import apply
from tests.conftest import fleet
from tests.factories import step, store_connection
from tests.integration.migrations.test_roles import run_roles
from tests.servers import PostgresServer
from worker import migrate

PASSWORD = 'p@ss:w/rd?#&=%41 "x" \\'


class Named(NamedTuple):
    """URLs of one database with the schema on the search path: of its owner, and of the worker's role."""

    owner: str
    worker: str
    schema: str


def url(server: PostgresServer, *, role: str, database: str, schema: str) -> str:
    parts = urlsplit(server.url())
    path = '"' + schema.replace('"', '""') + '"'
    escaped = "".join(f"\\{sign}" if sign in " \\" else sign for sign in path)
    return (
        f"postgresql://{quote(role, safe='')}:{quote(PASSWORD, safe='')}@{parts.hostname}:{parts.port}"
        f"/{quote(database, safe='')}?options={quote('-csearch_path=' + escaped, safe='')}"
    )


@pytest.fixture(params=['Fleet "of" %41 us', "UPPER", "select", "with space, comma", "sch\u00e9ma'; drop"])
def named(request: pytest.FixtureRequest, postgres_servers: Mapping[str, PostgresServer]) -> Iterator[Named]:
    server, schema = postgres_servers["18"], request.param
    database, role = f"{schema} {uuid4().hex[:8]}", f"{schema} owner {uuid4().hex[:8]}"
    names = {"database": sql.Identifier(database), "role": sql.Identifier(role), "schema": sql.Identifier(schema)}
    with psycopg.connect(server.url(), autocommit=True) as admin:
        made = sql.SQL("create role {role} login createrole password {password}").format(**names, password=PASSWORD)
        admin.execute(made)
        admin.execute(sql.SQL("create database {database} owner {role}").format(**names))
    owner = url(server, role=role, database=database, schema=schema)
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(sql.SQL("create schema {schema}").format(**names))
        connection.execute("drop schema if exists public" if schema == "UPPER" else "select")
    try:
        yield Named(owner, url(server, role="omninode_worker", database=database, schema=schema), schema)
    finally:
        server.drop_database(database)
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute("drop role if exists omninode_worker")
            admin.execute(sql.SQL("drop role {role}").format(**names))


def test_migrations_roles_and_worker_take_names_that_need_quotes(
    named: Named, postgres_servers: Mapping[str, PostgresServer]
) -> None:
    with psycopg.connect(postgres_servers["18"].url(), autocommit=True) as admin:
        admin.execute("drop role if exists omninode_worker")  # another database's owner made it
    run_roles(postgres_servers["18"], named.owner, worker_password=PASSWORD)
    assert len(migrate.up(named.owner)) == len(migrate.status(named.owner))
    with store_connection(named.worker) as conn:
        found = shape.examine(conn)
        assert (found.schema, found.wrong, found.noted, found.is_behind) == (named.schema, [], [], False)
        assert [outcome.status for outcome in apply(conn, [step()])] == ["applied"]
        assert partitions.ensure(conn, days_back=10, days_ahead=4) == 3 * len(partitions.TABLES)
    told = fleet("migrate", "status", environment={"OMNINODE_DATABASE_URL": named.owner})
    assert told.returncode == 0 and "not applied" not in told.stdout, told.stderr
    migrate.down(named.owner, revisions=None)
