"""The services of a whole fleet on one directory, in their order: PostgreSQL and broker, relays, workers, consumers of
the bus, beats, Flower. They stop in reverse: who hands work on goes before whoever does it, so a consumer still gets
its confirmations, and what the workers announce last still goes out.

A server whose URL is given by a setting is used, not started.
"""

import asyncio
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from worker.bus import require_bus
from worker.embedded import broker, postgres
from worker.embedded.binaries import broker_binary, postgres_bin
from worker.embedded.data_dir import DataDir
from worker.embedded.launch import Launch, fleet_command
from worker.embedded.readiness import file_written, flower_answers, relay_joined, worker_answers
from worker.embedded.run_as import unprivileged
from worker.embedded.supervisor import Service, Supervisor
from worker.errors import FleetError
from worker.settings import Settings, child_environment, install, masked

# Of what was told: where servers listen and lie is told as it turned out, or is found again in the data directory.
_NOT_PASSED_ON = (
    "OMNINODE_BUS",
    "OMNINODE_BUS_URL",
    "OMNINODE_FLOWER_URL",
    "OMNINODE_FLOWER_HOST",
    "OMNINODE_FLOWER_PORT",
    "FLEET_PG_BIN",
    "FLEET_BROKER_BIN",
)
SETTLE_S = 10  # what a worker needs beyond its soft shutdown


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """What to start. A port that is not told is that of the last start, else a free one."""

    data_dir: Path
    workers: int = 2
    relays: int = 1
    consumers: int = 0
    beats: int = 1
    flower: bool = True
    postgres_port: int | None = None
    broker_port: int | None = None
    flower_port: int | None = None
    echo: bool = True  # show the processes' lines

    def __post_init__(self) -> None:
        for what in ("workers", "relays", "consumers", "beats"):
            if getattr(self, what) < 0:
                raise FleetError(f"the number of {what} must not be negative")

    @property
    def needs_bus(self) -> bool:
        return bool(self.relays or self.consumers)


@dataclass(frozen=True, kw_only=True)
class StackEnv:
    """A ready fleet: where things are, and the variables that a client or a `fleet` command needs."""

    data_dir: Path
    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    bus: str = ""  # its kind and URL, when the broker is not the bus as well
    bus_url: str = field(default="", repr=False)
    flower_url: str = ""
    flower_user: str = ""
    flower_password: str = field(default="", repr=False)
    given: Mapping[str, str] = field(default_factory=dict, repr=False)  # the settings that the fleet was told

    def variables(self) -> dict[str, str]:
        """The lines of fleet.env; what has no value is left out."""
        values = {
            **{name: value for name, value in self.given.items() if name not in _NOT_PASSED_ON},
            "OMNINODE_DATABASE_URL": self.database_url,
            "OMNINODE_BROKER_URL": self.broker_url,
            "OMNINODE_BUS": self.bus,
            "OMNINODE_BUS_URL": self.bus_url,
            "OMNINODE_FLOWER_URL": self.flower_url,
            "OMNINODE_FLOWER_USER": self.flower_user,
            "OMNINODE_FLOWER_PASSWORD": self.flower_password,
            "OMNINODE_DATA_DIR": str(self.data_dir),
        }
        return {name: value for name, value in values.items() if value}

    def describe(self) -> str:
        """Where everything is and how to stop it, for a person."""
        env_file = shlex.quote(str(self.data_dir / "fleet.env"))
        lines = [
            "The fleet is ready.",
            f"  PostgreSQL  {masked(self.database_url)}",
            f"  Broker      {masked(self.broker_url)}",
        ]
        if self.bus_url:
            lines.append(f"  Event bus   {masked(self.bus_url)}")
        if self.flower_url:
            lines.append(f"  Flower      {self.flower_url}   login {self.flower_user}, password {self.flower_password}")
        lines += [
            f"  Variables   set -a; . {env_file}; set +a",
            f"  Stop        Ctrl-C here, or: fleet down --data-dir {shlex.quote(str(self.data_dir))}",
        ]
        return "\n".join(lines)


class Stack:
    """Makes the services from configuration and settings, and starts them. Raises: FleetError when made."""

    def __init__(self, config: StackConfig, directory: DataDir, supervisor: Supervisor) -> None:
        self._config = config
        self._directory = directory
        self._supervisor = supervisor
        self._settings = Settings.load()
        if config.needs_bus:
            self._check_bus()

    async def start(self) -> StackEnv:
        """Start everything, each when what it needs is ready. Raises: FleetError."""
        database_url, broker_url = await self._servers()
        await asyncio.to_thread(_migrate, database_url)
        env = self._environment(database_url, broker_url)
        install(Settings.load(database_url=database_url, broker_url=broker_url))
        await self._supervisor.start(*(self._relay(name, env) for name in self._names("relay", self._config.relays)))
        workers = self._names("worker", self._config.workers)
        await self._supervisor.start(*(self._worker(name, env.variables()) for name in workers))
        consumers = self._names("consumer", self._config.consumers)
        await self._supervisor.start(*(self._consumer(name, env.variables()) for name in consumers))
        beats = self._names("beat", self._config.beats)
        await self._supervisor.start(*(self._beat(name, env.variables()) for name in beats))
        if self._config.flower:
            await self._supervisor.start(self._flower(env.variables(), port=int(env.flower_url.rpartition(":")[2])))
        return env

    def _check_bus(self) -> None:
        """Before anything is started. Raises: FleetError, also in words about what could be left out."""
        ours = self._ours(self._settings.broker_url, "broker_password")
        # Our own broker has no address yet; any Redis will do to see whether it can be the bus.
        known = Settings.load(broker_url="redis://127.0.0.1") if ours else self._settings
        try:
            require_bus(known)
        except FleetError as error:
            raise FleetError(f"{error}. Without a bus: --relays 0, and no --consumers") from None

    def _names(self, what: str, count: int) -> list[str]:
        """Names must differ among all of a broker, and one that is not ours may have others of this host."""
        alone = self._ours(self._settings.broker_url, "broker_password")
        return [f"{what}{number}" if alone else f"{what}{number}-{os.getpid()}" for number in range(1, count + 1)]

    def _ours(self, url: str, secret: str) -> bool:
        """Whether the server is ours to start: no URL is given, or it is ours (a sourced fleet.env, say)."""
        return not url or f":{self._directory.secret(secret)}@" in url

    async def _servers(self) -> tuple[str, str]:
        """Start the servers that are ours, together; returns the URLs of database and broker."""
        database, queue = await asyncio.gather(self._postgres(), self._broker())
        ours = [Service(launch=s.launch(), check=s.check, vital=True) for s in (database, queue) if s is not None]
        # A group each, in this order: the broker is stopped before PostgreSQL, whichever was ready first.
        await asyncio.gather(*(self._supervisor.start(service) for service in ours))
        if database is not None:
            await asyncio.to_thread(database.ensure_database)
        return (
            self._settings.database_url if database is None else database.url(),
            self._settings.broker_url if queue is None else queue.url(),
        )

    async def _postgres(self) -> postgres.EmbeddedPostgres | None:
        """Our PostgreSQL, ready to be started; None when another is used, which has answered."""
        if not self._ours(self._settings.database_url, "postgres_password"):
            await asyncio.to_thread(postgres.reach, self._settings.database_url)
            return None
        server = postgres.EmbeddedPostgres(
            directory=self._directory.postgres,
            bin_dir=postgres_bin(self._settings.pg_bin),
            port=self._directory.port("postgres", self._config.postgres_port),
            password=self._directory.secret("postgres_password"),
            account=unprivileged(),
        )
        await asyncio.to_thread(server.prepare)
        return server

    async def _broker(self) -> broker.EmbeddedBroker | None:
        """Our broker, ready to be started; None when another is used, which has answered."""
        if not self._ours(self._settings.broker_url, "broker_password"):
            await asyncio.to_thread(broker.reach, self._settings.broker_url)
            return None
        server = broker.EmbeddedBroker(
            directory=self._directory.broker,
            binary=broker_binary(self._settings.broker_bin),
            port=self._directory.port("broker", self._config.broker_port),
            password=self._directory.secret("broker_password"),
        )
        await asyncio.to_thread(server.prepare)
        return server

    def _environment(self, database_url: str, broker_url: str) -> StackEnv:
        env = StackEnv(
            data_dir=self._directory.path,
            database_url=database_url,
            broker_url=broker_url,
            given=self._settings.given(),
        )
        known = Settings.load(broker_url=broker_url)
        if known.bus_url and known.bus_url != broker_url:
            env = replace(env, bus=known.bus, bus_url=known.bus_url)
        if not self._config.flower:
            return env
        told = self._settings.flower_port if "flower_port" in self._settings.model_fields_set else None
        host = self._settings.flower_host
        port = self._directory.port("flower", self._config.flower_port or told, host=host)
        given = self._settings.flower_password.get_secret_value()
        return replace(
            env,
            flower_url=f"http://{host}:{port}",
            flower_user=self._settings.flower_user,
            flower_password=given or self._directory.secret("flower_password"),
        )

    def _relay(self, name: str, env: StackEnv) -> Service:
        # A batch and what becomes of the refused ones of it may take the bus's time thrice.
        grace_s = 3 * self._settings.bus_timeout_s + SETTLE_S
        launch = self._program(name, "relay", "--name", name, variables=env.variables(), grace_s=grace_s)
        return Service(launch=launch, check=partial(relay_joined, env.database_url, name))

    def _consumer(self, name: str, variables: Mapping[str, str]) -> Service:
        ready_file = self._directory.consumers / name
        grace_s = self._settings.soft_shutdown_s + SETTLE_S
        launch = self._program(name, "consume", "--ready-file", str(ready_file), variables=variables, grace_s=grace_s)
        return Service(launch=launch, check=partial(file_written, ready_file, time.time()))

    def _worker(self, name: str, variables: Mapping[str, str]) -> Service:
        grace_s = self._settings.soft_shutdown_s + SETTLE_S
        launch = self._program(name, "worker", "--name", name, variables=variables, grace_s=grace_s)
        return Service(launch=launch, check=partial(worker_answers, name))

    def _beat(self, name: str, variables: Mapping[str, str]) -> Service:
        ready_file = self._directory.beats / name
        launch = self._program(name, "beat", "--ready-file", str(ready_file), variables=variables)
        return Service(launch=launch, check=partial(file_written, ready_file, time.time()))

    def _flower(self, variables: Mapping[str, str], *, port: int) -> Service:
        host = self._settings.flower_host
        binds = {"OMNINODE_FLOWER_HOST": host, "OMNINODE_FLOWER_PORT": str(port)}
        launch = self._program("flower", "flower", variables={**variables, **binds})
        return Service(launch=launch, check=partial(flower_answers, host, port))

    def _program(self, name: str, *words: str, variables: Mapping[str, str], grace_s: float = 10) -> Launch:
        """One of the fleet's own commands, from this checkout whatever directory we were started in."""
        environment = child_environment(variables)
        return Launch(name=name, command=fleet_command(*words), environment=environment, grace_s=grace_s)


def _migrate(database_url: str) -> None:
    from worker import migrate

    migrate.up(database_url)
