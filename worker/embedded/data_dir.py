"""The directory of one `fleet up`: data, logs, secrets, ports, and the lock that lets only one run at a time."""

import fcntl
import json
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worker.embedded.ports import LOOPBACK, HeldPort
from worker.errors import FleetError
from worker.polling import wait_until


class AlreadyRunning(FleetError):
    """Another fleet runs on the directory."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(
            f"a fleet is already running on {path} (pid {pid or 'unknown'}); "
            f"stop it by: fleet down --data-dir {shlex.quote(str(path))}"
        )


class DataDir:
    """Paths and small files under one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.postgres = self.path / "postgres"
        self.broker = self.path / "broker"
        self.beats = self.path / "beats"
        self.consumers = self.path / "consumers"
        self.logs = self.path / "logs"
        self.secrets = self.path / "secrets"
        self.ports_file = self.path / "ports.json"
        self.pid_file = self.path / "fleet.pid"
        self.env_file = self.path / "fleet.env"
        self._held: list[HeldPort] = []

    def make(self) -> None:
        """Make what is missing. Raises: FleetError where it cannot."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o711)  # 0711: PostgreSQL's account passes through
            for directory in (self.broker, self.beats, self.consumers, self.logs, self.secrets):
                directory.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise FleetError(f"cannot use {self.path} as the data directory: {error.strerror or error}") from error

    def secret(self, name: str) -> str:
        """The password of that name, made at its first use and kept."""
        file = self.secrets / name
        if not file.exists():
            write_private(file, secrets.token_urlsafe(24))
        return file.read_text().strip()

    def port(self, name: str, told: int | None, *, host: str = LOOPBACK) -> int:
        """The told port, else the one of the last start, else a free one; remembered, and held until `lock` ends.

        Raises: FleetError when the told port is taken. A remembered one that is taken is replaced.
        """
        remembered: dict[str, int] = json.loads(self.ports_file.read_text()) if self.ports_file.exists() else {}
        try:
            port = HeldPort(host, told if told is not None else remembered.get(name, 0))
        except OSError as error:
            if told is not None:
                raise FleetError(f"port {told} for {name} is taken") from error
            port = HeldPort(host)
        while told is None and port.number in (number for other, number in remembered.items() if other != name):
            port.release()
            port = HeldPort(host)
        self._held.append(port)
        write_private(self.ports_file, json.dumps({**remembered, name: port.number}))
        return port.number

    def write_environment(self, variables: Mapping[str, str]) -> None:
        """Write fleet.env, which a shell can source. Its presence says that the fleet is ready."""
        write_private(self.env_file, "".join(f"{key}={shlex.quote(value)}\n" for key, value in variables.items()))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory; the kernel lets go of it whatever way this process ends.

        Raises: AlreadyRunning, with the pid that holds it.
        """
        descriptor = os.open(self.pid_file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # A moment's patience: somebody may just be asking whether it is locked.
            if not wait_until(lambda: _locked(descriptor), seconds=0.3):
                raise AlreadyRunning(self.path, self._noted_pid())
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            yield
            os.ftruncate(descriptor, 0)
        finally:
            for port in self._held:
                port.release()
            os.close(descriptor)

    def running_pid(self) -> int | None:
        """The pid of the fleet that holds the directory's lock; None when none does, whatever the file says."""
        try:
            descriptor = os.open(self.pid_file, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._noted_pid()
        finally:
            os.close(descriptor)
        return None

    def _noted_pid(self) -> int | None:
        text = self.pid_file.read_text().strip()
        return int(text) if text.isdigit() else None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_private(file: Path, text: str) -> None:
    """Write the whole file or nothing, readable by its owner alone."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.rename(file)
