"""The roles file, as psql runs it: who may do what in the fleet's database."""

import subprocess
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from store import letters
from store.housekeeping.retention import KeepTimes, Retention
from store.outbox import outbox
from store.write.apply import apply
from tests.checkout import CHECKOUT
from tests.factories import contribution, publish_event, store_connection, transition_intent
from tests.servers import PostgresServer

ROLES = CHECKOUT / "deploy" / "postgres" / "roles.sql"


def run_roles(server: PostgresServer, url: str, *, worker_password: str) -> None:
    psql = [str(server.bin_dir / "psql"), url, "--no-psqlrc", "--quiet"]
    given = ["-v", "ON_ERROR_STOP=1", "-v", f"worker_password={worker_password}", "-f", str(ROLES)]
    done = subprocess.run([*psql, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def worker_url(url: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"omninode_worker:{password}@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture
def owner(empty_database: str, postgres_servers: Mapping[str, PostgresServer]) -> str:
    """The owner's URL of a database in which the roles file has run, twice, over a table and before another."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("create table older (i bigint generated always as identity primary key, t text)")
        run_roles(postgres_servers["18"], empty_database, worker_password="first")
        run_roles(postgres_servers["18"], empty_database, worker_password="it's second")
        connection.execute("create table newer (i bigserial primary key, t text)")
    return empty_database


@pytest.mark.parametrize("table", ["older", "newer"])
def test_the_worker_writes_rows_of_tables_made_before_and_after(owner: str, table: str) -> None:
    with psycopg.connect(worker_url(owner, "it%27s%20second"), autocommit=True) as connection:
        connection.execute(f"insert into {table} (t) values ('a')".encode())
        connection.execute(f"update {table} set t = 'b'".encode())
        assert connection.execute(f"select t from {table}".encode()).fetchall() == [("b",)]
        connection.execute(f"delete from {table}".encode())


def test_the_worker_makes_and_drops_no_table(owner: str) -> None:
    with psycopg.connect(worker_url(owner, "it%27s%20second"), autocommit=True) as connection:
        for statement in (b"create table another ()", b"drop table newer", b"alter table newer add c int"):
            with pytest.raises(InsufficientPrivilege):
                connection.execute(statement)


def test_a_reader_only_reads(owner: str) -> None:
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("set role omninode_reader")
        assert connection.execute("select * from newer").fetchall() == []
        with pytest.raises(InsufficientPrivilege):
            connection.execute("insert into newer (t) values ('a')")


def test_the_password_of_an_earlier_run_no_longer_opens(owner: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(worker_url(owner, "first")).close()


def test_the_worker_appends_to_the_outbox_and_relays_it(
    database: str, postgres_servers: Mapping[str, PostgresServer]
) -> None:
    run_roles(postgres_servers["18"], database, worker_password="any")
    with store_connection(worker_url(database, "any")) as connection:
        outbox.listen(connection)
        batch = [publish_event(), contribution(), transition_intent()]
        assert [outcome.status for outcome in apply(connection, batch)] == ["applied"] * 3
        assert outbox.wait(connection, 10)
        shards = outbox.take_shards(connection, range(outbox.SHARDS))
        first, *rest = outbox.pending(connection, shards, rows_limit=10)
        outbox.settle(connection, published=[event.id for event in rest], refused=[(first, "too large")])
        outbox.release_shards(connection, shards)
        letters.retry(connection, letters.find(connection, first.id))
        assert outbox.depth(connection).pending == 1


def test_the_worker_removes_what_is_old_and_drops_its_days(
    database: str, postgres_servers: Mapping[str, PostgresServer]
) -> None:
    run_roles(postgres_servers["18"], database, worker_password="any")
    with psycopg.connect(database, autocommit=True) as owner:
        bounds = "'017f0000-0000-0000-0000-000000000000') to ('017f0526-5c00-0000-0000-000000000000'"
        owner.execute(f"create table operations_p20220215 partition of operations for values from ({bounds})".encode())
    job = Retention(KeepTimes())
    with store_connection(worker_url(database, "any")) as connection:
        counts: dict[str, int] = {}
        while not job.over:
            job.aside(connection)
            with connection.transaction():
                counts |= job(connection).counts
        assert counts["operations.days"] == 1
        assert connection.execute("select to_regclass('operations_p20220215')").fetchone() == (None,)
        assert connection.execute("select parent, last_day::text from dropped_days").fetchall() == [
            ("operations", "2022-02-15")
        ]
