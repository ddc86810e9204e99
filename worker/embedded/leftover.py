"""The server that an earlier, killed start left behind: it needs a moment to end, and shares our data until then."""

import subprocess
from pathlib import Path

from worker.errors import FleetError
from worker.polling import wait_until

PATIENCE_S = 30  # a fast shutdown writes a checkpoint first


def outwait(pid_file: Path, *, program: str) -> None:
    """Return when no process of the pid file's first line runs `program` any more.

    Raises: FleetError when one still does. A pid that another program has got meanwhile does not count.
    """
    try:
        pid = int(pid_file.read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    if not wait_until(lambda: program not in _command_of(pid), seconds=PATIENCE_S):
        raise FleetError(f"{program} of an earlier start still runs on {pid_file.parent} (pid {pid}): end it first")


def _command_of(pid: int) -> str:
    """The command line; empty when there is no such process, or only its remains."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listed = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout
