"""Databases that the fleet cannot work with, and the encoding in which it speaks to the others."""

from collections.abc import Callable, Iterator, Mapping
from uuid import uuid4

import psycopg
import pytest

from store.database.connection import connection
from store.database.errors import Unfit
from store.database.pool import Pool, PoolConfig, lone_connection
from store.write.apply import apply
from tests.factories import execution
from tests.servers import PostgresServer
from worker import migrate
from worker.migrate import MigrationError


@pytest.fixture(params=["LATIN1", "SQL_ASCII", "EUC_JP"])
def other_encoding(request: pytest.FixtureRequest, postgres_servers: Mapping[str, PostgresServer]) -> Iterator[str]:
    """The URL of a database in another encoding than UTF8."""
    server, name = postgres_servers["18"], f"test_{uuid4().hex[:12]}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        made = f"create database {name} encoding '{request.param}' template template0 lc_collate 'C' lc_ctype 'C'"
        admin.execute(made.encode())
    yield server.url(name)
    server.drop_database(name)


def config(url: str) -> PoolConfig:
    return PoolConfig(database_url=url, application_name="test", timeout_ms=2000)


def by_pool(url: str) -> str:
    pool = Pool(config(url))
    pool.open()
    try:
        with pool.connection() as conn:
            return shown(conn)
    finally:
        pool.close()


def by_lone_connection(url: str) -> str:
    with lone_connection(config(url)) as conn:
        return shown(conn)


def by_command(url: str) -> str:
    with connection(url) as conn:
        return shown(conn)


def shown(conn: psycopg.Connection[tuple[str, str]]) -> str:
    ((encoding, text),) = conn.execute("select current_setting('client_encoding'), %s", ["\N{ROCKET}"]).fetchall()
    assert text == "\N{ROCKET}"
    return encoding


WAYS = pytest.mark.parametrize("connect", [by_pool, by_lone_connection, by_command])


@WAYS
def test_another_encoding_is_refused_and_named(other_encoding: str, connect: Callable[[str], str]) -> None:
    with pytest.raises(Unfit, match=r"the database's encoding is [A-Z_0-9]+, and the fleet needs UTF8"):
        connect(other_encoding)


def test_the_migrations_refuse_another_encoding_before_they_make_anything(other_encoding: str) -> None:
    for refusing in (migrate.up, migrate.status):
        with pytest.raises(MigrationError, match=r"encoding is [A-Z_0-9]+, and the fleet needs UTF8") as refused:
            refusing(other_encoding)
        assert "\n" not in str(refused.value)
    with psycopg.connect(other_encoding) as conn:
        assert conn.execute("select count(*) from pg_class where relname = 'alembic_version'").fetchone() == (0,)


@WAYS
@pytest.mark.parametrize("said", ["LATIN1", "SQL_ASCII", "no such encoding"])
def test_what_the_environment_says_of_an_encoding_is_not_heard(
    database: str, monkeypatch: pytest.MonkeyPatch, said: str, connect: Callable[[str], str]
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", said)
    assert connect(database) == "UTF8"


@WAYS
@pytest.mark.parametrize("said", ["client_encoding=latin1", "options=-cclient_encoding%3Dlatin1"])
def test_neither_is_what_the_url_says(database: str, said: str, connect: Callable[[str], str]) -> None:
    assert connect(f"{database}?{said}") == "UTF8"


@WAYS
def test_neither_is_what_the_database_is_set_to(database: str, connect: Callable[[str], str]) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        name = database.rpartition("/")[2]
        admin.execute(f"alter database {name} set client_encoding to 'latin1'".encode())
    assert connect(database) == "UTF8"


def test_the_migrations_do_not_hear_it_either(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "no such encoding")
    migrate.up(empty_database)
    assert all(revision.applied for revision in migrate.status(empty_database))


def test_any_text_is_stored_whatever_the_environment_says(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    told = execution(metadata={"name": "\N{ROCKET}"})
    with lone_connection(config(database)) as conn:
        assert [outcome.status for outcome in apply(conn, [told])] == ["applied"]
        assert conn.execute("select metadata ->> 'name' from workflow_executions").fetchone() == ("\N{ROCKET}",)
