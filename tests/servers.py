"""Servers for tests: the fleet's own embedded PostgreSQL and broker, started when the first test asks."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from tests.deadline import wait_until
from tests.ports import own_port
from worker.embedded.binaries import broker_binary, postgres_bin
from worker.embedded.broker import EmbeddedBroker
from worker.embedded.launch import Launch
from worker.embedded.postgres import EmbeddedPostgres
from worker.embedded.run_as import unprivileged

# A test's data need not outlive the machine.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "64MB"}
MIGRATED = "template_migrated"
MEMORY = Path("/dev/shm")  # what mkdtemp makes there is closed to others
ROOM_BYTES = 4 << 30
POSTGRES_15_BIN = Path("/usr/lib/postgresql/15/bin")


def postgres_bins() -> dict[str, Path]:
    """The bin directory of each supported major version that this machine has."""
    bins = {"18": postgres_bin(_path("FLEET_PG_BIN"))}
    oldest = _path("FLEET_PG15_BIN") or POSTGRES_15_BIN
    return {**bins, "15": oldest} if (oldest / "initdb").exists() else bins


class PostgresServer:
    """A running PostgreSQL for the tests of a session."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self._embedded = embedded
        self._migrated = False
        self.bin_dir = embedded.bin_dir
        self.version = embedded.version()

    def url(self, dbname: str = "postgres") -> str:
        return self._embedded.url(dbname)

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, as a copy of `template` if given; returns its URL."""
        copied = sql.SQL("template {} strategy file_copy")
        source = copied.format(sql.Identifier(template)) if template else sql.SQL("")
        self._execute(sql.SQL("create database {} {}").format(sql.Identifier(name), source))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove the database, also from under those connected to it."""
        self._execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def create_migrated(self, name: str) -> str:
        """Make a database with the fleet's schema; returns its URL. The migrations run once a session."""
        if not self._migrated:
            from worker import migrate

            self.drop_database(MIGRATED)
            migrate.up(self.create_database(MIGRATED))
            self._migrated = True
        return self.create_database(name, template=MIGRATED)

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres(bin_dir: Path, **options: str) -> Iterator[PostgresServer]:
    """A PostgreSQL of that bin directory, gone with its data afterwards."""
    with directory_of_its_own() as directory:
        embedded = EmbeddedPostgres(
            directory=directory / "postgres",
            bin_dir=bin_dir,
            port=own_port(),
            password="test",
            account=unprivileged(),
            options={**FAST, **options},
        )
        embedded.prepare()
        with running(embedded.launch(), log=directory / "postgres.log", check=embedded.check):
            yield PostgresServer(embedded)


@contextmanager
def broker() -> Iterator[EmbeddedBroker]:
    """A broker, gone with its data afterwards."""
    with directory_of_its_own() as directory:
        embedded = EmbeddedBroker(
            directory=directory, binary=broker_binary(_path("FLEET_BROKER_BIN")), port=own_port(), password="test"
        )
        embedded.prepare()
        with running(embedded.launch(), log=directory / "broker.log", check=embedded.check):
            yield embedded


@contextmanager
def running(launch: Launch, *, log: Path, check: Callable[[], object]) -> Iterator[None]:
    """A server that answers, for the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(launch.arguments(), stdout=output, stderr=subprocess.STDOUT, **launch.options())
    try:
        wait_until(lambda: _answers(process, log, check), seconds=60, what=f"{launch.name} answers")
        yield
    finally:
        if process.poll() is None:
            process.send_signal(launch.stop_signal)
        try:
            process.wait(launch.grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(process: subprocess.Popen[bytes], log: Path, check: Callable[[], object]) -> bool:
    assert process.poll() is None, f"it ended with {process.returncode}:\n{log.read_text()[-2000:]}"
    try:
        check()
    except Exception:
        return False
    return True


@contextmanager
def directory_of_its_own() -> Iterator[Path]:
    """A directory for the block, in memory where there is room.

    A database with its days is a thousand files: 20 ms in memory, half a second on a disk, two thousand times a run.
    Not pytest's own: that is closed to the account that PostgreSQL takes where root cannot unshare.
    """
    in_memory = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    directory = Path(tempfile.mkdtemp(prefix="fleet-test-", dir=MEMORY if in_memory else None))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _path(variable: str) -> Path | None:
    return Path(os.environ[variable]) if os.environ.get(variable) else None
