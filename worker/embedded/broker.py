"""An embedded Valkey (or Redis): a durable broker with a password, on loopback."""

import signal
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.embedded.data_dir import write_private
from worker.embedded.launch import Launch
from worker.embedded.leftover import outwait
from worker.errors import FleetError

# everysec: at most a second of messages is lost with the machine; the client sends again what was not confirmed.
# noeviction: a full broker refuses, instead of dropping messages that somebody counts on.
CONFIG = """\
bind 127.0.0.1
port {port}
dir "{directory}"
pidfile "{pid_file}"
requirepass {password}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


@dataclass(frozen=True, kw_only=True)
class EmbeddedBroker:
    """One server on one directory."""

    directory: Path
    binary: Path
    port: int
    password: str

    def url(self, database: int = 0) -> str:
        """Where clients connect, password included."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Write its configuration: a file, because a password among the arguments is read by every user.

        Raises: FleetError when the server of an earlier start still runs.
        """
        outwait(self._pid_file, program=self.binary.name)
        config = CONFIG.format(
            port=self.port, directory=self.directory, pid_file=self._pid_file, password=self.password
        )
        write_private(self._config, config)

    def launch(self) -> Launch:
        """How to start it."""
        command = (str(self.binary), str(self._config))
        return Launch(name="broker", command=command, orphan_signal=signal.SIGTERM, grace_s=20)

    def check(self) -> None:
        """Ask it. Raises: redis.RedisError while it does not answer or still loads its log."""
        _ping(self.url())

    @property
    def _config(self) -> Path:
        return self.directory / "broker.conf"

    @property
    def _pid_file(self) -> Path:
        return self.directory / "broker.pid"


def reach(url: str) -> None:
    """Ping once, where it is Redis or Valkey by one address. Raises: FleetError when it does not answer."""
    if not url.startswith(("redis://", "rediss://")):
        return
    try:
        _ping(url)
    except redis.RedisError as error:
        raise FleetError(f"OMNINODE_BROKER_URL: cannot connect: {error}") from error


def _ping(url: str) -> None:
    client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0))
    try:
        client.ping()
    finally:
        client.close()
