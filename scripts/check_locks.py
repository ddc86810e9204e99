"""Check that the lock files are clean and match pyproject.toml, without any network.

Clean: no address in them, every version pinned with a hash. Matching: whatever pyproject.toml names is locked within
its range, and what the image installs is what the tests ran with. `make lock` mends what is found.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CHECKOUT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?P<rest>.*)$")

Pins = dict[str, set[Version]]


def pins(lock_text: str) -> Pins:
    """The versions that a lock names, by package; more than one where a marker chooses.

    Raises: ValueError, where a line is neither a pin nor a hash, or a pin has no hash or an address.
    """
    if "://" in lock_text:
        raise ValueError("holds an address")
    found: Pins = {}
    for entry in lock_text.replace("\\\n", " ").splitlines():
        match = PIN.match(entry)
        if match is None or "--hash=sha256:" not in match["rest"]:
            raise ValueError(f"not a version with its hash: {entry[:80]!r}")
        found.setdefault(canonicalize_name(match["name"]), set()).add(Version(match["version"]))
    return found


def unmet(requirements: Iterable[str], locked: Pins) -> list[str]:
    """What the lock lacks, or holds outside its range, one sentence each."""
    complaints = []
    for text in requirements:
        requirement = Requirement(text)
        versions = locked.get(canonicalize_name(requirement.name))
        if not versions:
            complaints.append(f"lacks {requirement.name}")
        elif not all(requirement.specifier.contains(version, prereleases=True) for version in versions):
            complaints.append(
                f"holds {requirement.name} {', '.join(map(str, versions))}, wanted {requirement.specifier}"
            )
    return complaints


def complaints(project: Mapping[str, object], locks: Mapping[str, str]) -> list[str]:
    """Everything wrong with the lock files (name -> text) for this pyproject.toml; empty when all is well."""
    table = project["project"]
    groups = project["dependency-groups"]
    assert isinstance(table, dict) and isinstance(groups, dict)
    extras: dict[str, list[str]] = table["optional-dependencies"]
    wanted = {
        "requirements.lock": [*table["dependencies"], *chain(*extras.values()), *groups["dev"]],
        "requirements-fleet.lock": [*table["dependencies"], *extras["fleet"]],
    }
    found: list[str] = []
    locked: dict[str, Pins] = {}
    for name, requirements in wanted.items():
        try:
            locked[name] = pins(locks.get(name, ""))
        except ValueError as error:
            found.append(f"{name} {error}")
            continue
        found += [f"{name} {complaint}" for complaint in unmet(requirements, locked[name])]
    if len(locked) == len(wanted):
        everything = locked["requirements.lock"]
        found += [
            f"requirements-fleet.lock holds another {package} than requirements.lock"
            for package, versions in locked["requirements-fleet.lock"].items()
            if not versions <= everything.get(package, set())
        ]
    return found


def main() -> int:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    locks = {path.name: path.read_text(encoding="utf-8") for path in CHECKOUT.glob("requirements*.lock")}
    found = complaints(project, locks)
    for complaint in found:
        print(complaint, file=sys.stderr)
    if found:
        print("`make lock` writes the lock files anew", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
