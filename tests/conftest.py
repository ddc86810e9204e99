"""Fixtures that every kind of test shares: servers, databases, a broker, a running fleet."""

import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from tests import servers
from tests.portions import Portions, processes
from tests.servers import PostgresServer
from worker.embedded.broker import EmbeddedBroker

if TYPE_CHECKING:
    from xdist.remote import Producer


# As a test's name it would be another one in each process, and those must agree on what there is to run.
MOMENT_OR_ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d|[0-9a-f]{8}-[0-9a-f]{4}-", re.IGNORECASE)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    return argname if isinstance(val, str) and MOMENT_OR_ID.search(val) else None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return processes(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, config.args
    )


def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> Portions:
    return Portions(config, log)


VERSIONS = ("18", "15")  # the embedded one and the oldest supported


class _LazyServers(dict[str, PostgresServer]):
    """Starts a version's server at its first use; holds the versions that this machine has."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack
        self.bins = servers.postgres_bins()

    def __missing__(self, version: str) -> PostgresServer:
        self[version] = self._stack.enter_context(servers.postgres(self.bins[version]))
        return self[version]

    def __contains__(self, version: object) -> bool:
        return version in self.bins


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Mapping[str, PostgresServer]]:
    """A running server for each major version that the machine has, started when it is first asked for."""
    with ExitStack() as stack:
        yield _LazyServers(stack)


def _database(server: PostgresServer, create: Callable[[str], str]) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield create(name)
    server.drop_database(name)


def _server(postgres_servers: Mapping[str, PostgresServer], version: str) -> PostgresServer:
    if version not in postgres_servers:
        pytest.skip(f"no PostgreSQL {version} here")
    return postgres_servers[version]


@pytest.fixture(params=VERSIONS)
def empty_database(request: pytest.FixtureRequest, postgres_servers: Mapping[str, PostgresServer]) -> Iterator[str]:
    """The URL of a fresh database with nothing in it, for each major version."""
    server = _server(postgres_servers, request.param)
    yield from _database(server, server.create_database)


@pytest.fixture
def database(postgres_servers: Mapping[str, PostgresServer]) -> Iterator[str]:
    """The URL of a fresh, migrated database on the embedded version."""
    server = _server(postgres_servers, "18")
    yield from _database(server, server.create_migrated)


@pytest.fixture(params=VERSIONS)
def database_any(request: pytest.FixtureRequest, postgres_servers: Mapping[str, PostgresServer]) -> Iterator[str]:
    """The URL of a fresh, migrated database, for each major version."""
    server = _server(postgres_servers, request.param)
    yield from _database(server, server.create_migrated)


@pytest.fixture(scope="session")
def broker_server() -> Iterator[EmbeddedBroker]:
    """A running broker."""
    with servers.broker() as server:
        yield server


@pytest.fixture
def broker(broker_server: EmbeddedBroker) -> Iterator[str]:
    """The URL of an empty broker."""
    url = broker_server.url()
    with redis.Redis.from_url(url) as client:
        client.flushall()
    yield url


# What a fleet finds out by itself would come between what a test did and what it looks at.
QUIET = {"OMNINODE_HEARTBEAT_SWEEP_S": "86400", "OMNINODE_FSM_RECOVERY_S": "86400"}


@dataclass(frozen=True)
class Stack:
    """A fleet that `fleet up --detach` started."""

    data_dir: Path
    env: Mapping[str, str]


def fleet(
    *words: str | Path, environment: Mapping[str, str] | None = None, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a `fleet` command to its end. OMNINODE_ variables of the caller's shell do not reach it."""
    return subprocess.run(
        [sys.executable, "-m", "worker", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env=clean_environment(environment or {}),
    )


def clean_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables, and the environment without settings of the caller's shell."""
    return {k: v for k, v in os.environ.items() if not k.startswith("OMNINODE_")} | dict(variables)


def read_environment(file: Path) -> dict[str, str]:
    """A fleet.env as a shell would read it."""
    words = (shlex.split(line)[0] for line in file.read_text().splitlines())
    return dict(word.split("=", 1) for word in words)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole fleet with two workers, as processes."""
    data_dir = tmp_path_factory.mktemp("fleet")
    started = fleet("up", "--detach", "--data-dir", data_dir, "--workers", "2", environment=QUIET)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield Stack(data_dir, read_environment(data_dir / "fleet.env"))
    finally:
        stopped = fleet("down", "--data-dir", data_dir)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
