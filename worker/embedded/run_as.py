"""Which account a server runs as: PostgreSQL refuses root, so root gives the right away before it starts it."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.errors import FleetError

# Needs no account and no chown; it execs the command, so the pid stays and signals arrive.
UNSHARE = ("unshare", "-U", "--map-user=1000", "--map-group=1000")
CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """How to start a process as this account: words before its command, or the ids to change to."""

    prefix: tuple[str, ...] = ()
    user_id: int | None = None
    group_id: int | None = None

    def options(self) -> dict[str, Any]:
        """What `subprocess.Popen` needs to start as this account."""
        if self.user_id is None:
            return {}
        return {"user": self.user_id, "group": self.group_id, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give the tree to the account; when it already belongs to it this costs one stat."""
        if os.geteuid() != 0 or not path.exists():
            return
        user_id, group_id = self.user_id or 0, self.group_id or 0
        if path.stat().st_uid == user_id:
            return
        for directory, _, files in os.walk(path):
            for name in (directory, *(os.path.join(directory, file) for file in files)):
                os.chown(name, user_id, group_id, follow_symlinks=False)

    def require_reach(self, binary: Path, directory: Path) -> None:
        """Raises: FleetError when the account cannot run the binary or cannot enter the directory."""
        if self.user_id is None:
            return
        name = pwd.getpwuid(self.user_id).pw_name
        for command, what in (([str(binary), "--version"], binary), (["test", "-x", str(directory)], directory)):
            try:
                done = subprocess.run(command, capture_output=True, check=False, cwd="/", **self.options())
                reached = done.returncode == 0
            except OSError:
                reached = False
            if not reached:
                raise FleetError(
                    f"PostgreSQL refuses root, and {name} cannot reach {what}: start as a plain user, or put the "
                    "environment and the data where every user may enter (no 0700 directory above them)"
                )


def unprivileged() -> Account:
    """An account that PostgreSQL accepts. Raises: FleetError as root with no way to another account."""
    if os.geteuid() != 0:
        return Account()
    if _unshare_works():
        return Account(prefix=UNSHARE)
    return _first_account(CANDIDATES)


def _unshare_works() -> bool:
    if shutil.which(UNSHARE[0]) is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def _first_account(names: Sequence[str]) -> Account:
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(user_id=entry.pw_uid, group_id=entry.pw_gid)
    raise FleetError(
        "PostgreSQL refuses root; user namespaces (unshare -U) do not work here and there is no account "
        f"{' or '.join(names)}: start as a plain user, or give a database by OMNINODE_DATABASE_URL"
    )
