"""An embedded PostgreSQL: made once in a directory, started as a process, reached by password on loopback."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from store.database.server import CLIENT
from worker.embedded.data_dir import write_private
from worker.embedded.launch import Launch
from worker.embedded.leftover import outwait
from worker.embedded.run_as import Account
from worker.errors import FleetError

ROLE = "fleet"
DATABASE = "omninode_bridge"
OPTIONS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # paths of sockets are limited to 107 bytes, and loopback is enough
    "max_connections": "100",
    "max_locks_per_transaction": "512",  # a statement over a year of days takes thousands (docs/deployment.md, Locks)
    "shared_buffers": "256MB",
    "synchronous_commit": "on",  # a confirmed operation survives a crash
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",  # compiling costs more than these short statements take
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


@dataclass(frozen=True, kw_only=True)
class EmbeddedPostgres:
    """One server on one directory. `options` go over OPTIONS."""

    directory: Path
    bin_dir: Path
    port: int
    password: str
    account: Account
    options: Mapping[str, str] = field(default_factory=dict)

    def url(self, database: str = DATABASE) -> str:
        """Where clients connect, password included."""
        return f"postgresql://{ROLE}:{self.password}@127.0.0.1:{self.port}/{database}"

    def version(self) -> str:
        """The program's major version."""
        done = subprocess.run(
            [str(self.bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=False, cwd="/"
        )
        found = re.search(r"(\d+)", done.stdout)
        if found is None:
            raise FleetError(f"{self.bin_dir / 'postgres'} does not run: {done.stderr.strip()[:300]}")
        return found[1]

    def prepare(self) -> None:
        """Make the directory's data, or check that this program can read what is there.

        Raises: FleetError: another major version's data, an account that cannot reach it, a server still running.
        """
        self.account.require_reach(self.bin_dir / "postgres", self.directory.parent)
        made_by = self.directory / "PG_VERSION"
        if not made_by.exists():
            self._initialise()
            return
        self.account.own(self.directory)
        if (major := made_by.read_text().strip()) != self.version():
            raise FleetError(
                f"{self.directory} was made by PostgreSQL {major}, and {self.bin_dir} is {self.version()}: "
                f"name a PostgreSQL {major} by FLEET_PG_BIN, or take another data directory"
            )
        outwait(self.directory / "postmaster.pid", program="postgres")

    def launch(self) -> Launch:
        """How to start it. SIGINT is PostgreSQL's fast shutdown: SIGTERM would wait for every client to leave."""
        options = {**OPTIONS, **self._statistics(), **self.options}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = (str(self.bin_dir / "postgres"), "-D", str(self.directory), "-p", str(self.port), *settings)
        return Launch(
            name="postgres",
            command=command,
            account=self.account,
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            grace_s=60,
        )

    def check(self) -> None:
        """Ask it. Raises: psycopg.Error while it does not answer."""
        with psycopg.connect(self.url("postgres"), connect_timeout=5, **CLIENT) as connection:
            connection.execute("select 1")

    def ensure_database(self, name: str = DATABASE) -> None:
        """Create the database when it is missing, with statement statistics where the server has them."""
        with psycopg.connect(self.url("postgres"), autocommit=True, **CLIENT) as connection:
            if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        if self._statistics():
            with psycopg.connect(self.url(name), autocommit=True, **CLIENT) as connection:
                connection.execute("create extension if not exists pg_stat_statements")

    def _initialise(self) -> None:
        """Make the data beside its place and move it there whole, so that a killed start leaves nothing half made."""
        fresh = self.directory.with_name(f"{self.directory.name}.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        password_file = self.directory.with_name(f"{self.directory.name}.password")
        write_private(password_file, self.password)
        try:
            if self.account.user_id is not None:
                os.chown(password_file, self.account.user_id, self.account.group_id or 0)
            self.account.own(fresh)
            self._initdb(fresh, password_file)
        finally:
            password_file.unlink()
        fresh.rename(self.directory)

    def _initdb(self, directory: Path, password_file: Path) -> None:
        command = [str(self.bin_dir / "initdb"), "-D", str(directory), "-U", ROLE, f"--pwfile={password_file}"]
        command += ["--auth=scram-sha-256", "--data-checksums", "-E", "UTF8", "--locale=C", "--no-instructions"]
        launch = Launch(name="initdb", command=tuple(command), account=self.account)
        done = subprocess.run(
            launch.arguments(), capture_output=True, text=True, check=False, cwd="/", **launch.options()
        )
        if done.returncode != 0:
            raise FleetError(f"initdb failed on {directory}:\n{(done.stderr or done.stdout).strip()[-2000:]}")

    def _statistics(self) -> dict[str, str]:
        libraries = self.bin_dir.parent.glob("lib*/**/pg_stat_statements.so")
        return {"shared_preload_libraries": "pg_stat_statements"} if any(libraries) else {}


def reach(url: str) -> None:
    """Connect once. Raises: FleetError when the database that a setting names does not answer."""
    try:
        psycopg.connect(url, connect_timeout=5, **CLIENT).close()
    except psycopg.Error as error:
        raise FleetError(f"OMNINODE_DATABASE_URL: cannot connect: {error}") from error
