"""PgBouncer before PostgreSQL: by transaction it is refused in one line and left clean; by session it works."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from store.database.connection import connection
from store.database.errors import Unfit
from store.database.pool import Pool, PoolConfig, lone_connection
from store.write.apply import apply
from tests.conftest import fleet
from tests.factories import execution
from tests.ports import own_port
from tests.servers import directory_of_its_own, running
from worker import migrate
from worker.embedded.launch import Launch
from worker.embedded.run_as import unprivileged
from worker.migrate import MigrationError

PROGRAM = shutil.which("pgbouncer")
TOLD = "a pooler in transaction mode stands before PostgreSQL"

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer here: apt-get install pgbouncer")


@contextmanager
def pooler(url: str, mode: str, directory: Path, *more: str) -> Iterator[str]:
    """The URL of the database behind a PgBouncer of that mode."""
    parts, port = urlsplit(url), own_port()
    to = f"host={parts.hostname} port={parts.port} user={parts.username} password={parts.password}"
    lines = ["[databases]", f"* = {to}", "[pgbouncer]", "listen_addr = 127.0.0.1", f"listen_port = {port}"]
    lines += ["auth_type = any", f"pool_mode = {mode}", "default_pool_size = 10", "unix_socket_dir =", *more]
    ini = directory / "pgbouncer.ini"
    ini.write_text("\n".join(lines))
    launch = Launch(name="pgbouncer", command=(PROGRAM or "", str(ini)), account=unprivileged())
    through = f"postgresql://{parts.username}:x@127.0.0.1:{port}{parts.path}"
    with running(launch, log=directory / "log", check=lambda: psycopg.connect(through, connect_timeout=2).close()):
        yield through


@pytest.fixture(params=["transaction", "transaction, in turn", "statement"])
def shared(request: pytest.FixtureRequest, database: str) -> Iterator[str]:
    mode, _, in_turn = request.param.partition(", ")
    served = f"server_round_robin = {int(bool(in_turn))}"
    with (
        directory_of_its_own() as directory,
        pooler(database, mode, directory, served) as url,
    ):
        yield url


@pytest.fixture
def by_session(database: str) -> Iterator[str]:
    with directory_of_its_own() as directory, pooler(database, "session", directory) as url:
        yield url


def config(url: str) -> PoolConfig:
    return PoolConfig(database_url=url, application_name="test", timeout_ms=3000)


def test_by_transaction_every_way_is_refused_and_nothing_is_left_behind(shared: str, database: str) -> None:
    pool = Pool(config(shared))
    pool.open()
    try:
        with pytest.raises(Unfit, match=TOLD), pool.connection():
            pass
    finally:
        pool.close()
    with pytest.raises(Unfit, match=TOLD), lone_connection(config(shared)):
        pass
    with pytest.raises(Unfit, match=TOLD), connection(shared):
        pass
    for refusing in (migrate.up, migrate.status):
        with pytest.raises(MigrationError, match=TOLD):
            refusing(shared)
    with psycopg.connect(shared, autocommit=True, prepare_threshold=None) as conn:
        settings = "select name from pg_settings where source = 'session' and name = any(%s)"
        ours = list(config(shared).session_settings())
        ours.remove("timezone")  # which a pooler sets itself, as each client asks
        assert conn.execute(settings, [ours]).fetchall() == []
        assert conn.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)
    with psycopg.connect(database) as conn:
        assert conn.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone() == (0,)


@pytest.mark.parametrize("command", [("worker",), ("beat",), ("relay",), ("dlq", "list"), ("migrate", "up")])
def test_by_transaction_a_process_ends_in_one_line_that_says_what_to_do(
    database: str, broker: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    with directory_of_its_own() as directory, pooler(database, "transaction", directory) as url:
        told = fleet(*command, environment={"OMNINODE_DATABASE_URL": url, "OMNINODE_BROKER_URL": broker})
    assert told.returncode == 1
    assert TOLD in told.stderr and "use the pooler's session mode" in told.stderr
    assert told.stderr.count("\n") == 1


def test_by_session_all_is_well(by_session: str) -> None:
    assert migrate.up(by_session) == []
    pool = Pool(config(by_session))
    pool.open()
    try:
        for _ in range(3):
            with pool.connection() as conn:
                assert [outcome.status for outcome in apply(conn, [execution()])] == ["applied"]
    finally:
        pool.close()
