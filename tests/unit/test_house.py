"""Promises about the tree that are cheap to check and easily broken without noticing."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import check_locks, link
from tests.checkout import CHECKOUT

PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {path.name: path.read_text(encoding="utf-8") for path in CHECKOUT.glob("requirements*.lock")}
PACKAGES = ("omninode_bridge", "store", "tasks", "worker")
MAX_LINES = 450  # of a test; a module of the packages has less
MAX_MODULE_LINES = 400
MAX_ROOM_MODULES = 20
MAX_TOP_MODULES = 14
# Alembic runs env.py itself, outside the fleet, where no settings are.
READERS_OF_THE_ENVIRONMENT = {"worker/settings.py", "migrations/env.py"}
ENVIRONMENT = {"environ", "environb", "getenv", "putenv"}


def modules(*directories: str) -> Iterator[tuple[str, str]]:
    """Path from the root and source of every module below the directories."""
    for directory in directories:
        for path in sorted((CHECKOUT / directory).rglob("*.py")):
            yield path.relative_to(CHECKOUT).as_posix(), path.read_text(encoding="utf-8")


def reads_environment(source: str) -> bool:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT:
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "os" and ENVIRONMENT & {a.name for a in node.names}:
            return True
    return False


def test_the_lock_files_are_clean_and_match_the_project() -> None:
    assert check_locks.complaints(PROJECT, LOCKS) == []


def test_no_lock_file_holds_an_address() -> None:
    assert set(LOCKS) == {"requirements.lock", "requirements-fleet.lock"}
    assert [name for name, text in LOCKS.items() if "://" in text] == []


def test_the_lock_check_sees_an_address_a_missing_package_and_a_wrong_version() -> None:
    fleet = LOCKS["requirements-fleet.lock"]
    address = {**LOCKS, "requirements-fleet.lock": "--index-url http://example.invalid\n" + fleet}
    assert check_locks.complaints(PROJECT, address) == ["requirements-fleet.lock holds an address"]
    missing = {**LOCKS, "requirements-fleet.lock": re.sub(r"(?m)^orjson==", "orxon==", fleet)}
    assert "requirements-fleet.lock lacks orjson" in check_locks.complaints(PROJECT, missing)
    older = {**LOCKS, "requirements-fleet.lock": re.sub(r"(?m)^orjson==[^ ]+", "orjson==2.0.0", fleet)}
    found = check_locks.complaints(PROJECT, older)
    assert any(line.startswith("requirements-fleet.lock holds orjson 2.0.0, wanted") for line in found)
    assert "requirements-fleet.lock holds another orjson than requirements.lock" in found
    assert "requirements.lock lacks celery" in check_locks.complaints(PROJECT, {})


def test_the_lock_check_sees_a_version_without_hash() -> None:
    with pytest.raises(ValueError, match="not a version with its hash"):
        check_locks.pins("orjson==3.11.0\n")


def test_the_wheel_and_the_source_distribution_hold_the_client_alone() -> None:
    targets = PROJECT["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"] == {"packages": ["omninode_bridge"]}
    assert targets["sdist"] == {"only-include": ["omninode_bridge"]}


def test_the_link_makes_the_checkout_importable_and_the_command_runnable(tmp_path: Path) -> None:
    interpreter = tmp_path / "a directory with spaces" / "python"
    command = link.link(packages_dir=tmp_path, scripts_dir=tmp_path, interpreter=str(interpreter))
    assert [path.read_text(encoding="utf-8") for path in tmp_path.glob("*.pth")] == [f"{CHECKOUT}\n"]
    assert command.stat().st_mode & 0o111 == 0o111
    text = command.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/sh\n") and f'"{interpreter}"' in text
    compile(text, "fleet", "exec")


def test_no_module_is_longer_than_one_sitting() -> None:
    everything = (*PACKAGES, "migrations", "scripts", "tests", "benchmarks", "acceptance")
    long = {name: count for name, source in modules(*everything) if (count := source.count("\n")) > MAX_LINES}
    assert long == {}


def test_no_module_of_the_packages_and_no_room_is_crowded() -> None:
    long = {name: count for name, source in modules(*PACKAGES) if (count := source.count("\n")) > MAX_MODULE_LINES}
    assert long == {}
    rooms = Counter(name.rsplit("/", 1)[0] for name, _ in modules(*PACKAGES))
    assert {room: count for room, count in rooms.items() if count > MAX_ROOM_MODULES} == {}
    assert {package: rooms[package] for package in PACKAGES if rooms[package] > MAX_TOP_MODULES} == {}


def test_only_the_settings_read_the_environment() -> None:
    readers = {name for name, source in modules(*PACKAGES, "migrations", "benchmarks") if reads_environment(source)}
    assert readers - READERS_OF_THE_ENVIRONMENT == set()
    assert "worker/settings.py" in readers, "the check sees nothing"


def test_every_public_module_says_what_it_is_for() -> None:
    named = (name for name in modules(*PACKAGES) if not name[0].rsplit("/", 1)[-1].startswith("_"))
    assert [name for name, source in named if ast.get_docstring(ast.parse(source)) is None] == []
