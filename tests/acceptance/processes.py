"""The processes of a fleet, found by their directory."""

import subprocess
from pathlib import Path

from tests.conftest import Stack


def pids_of(stack: Stack, command: str) -> list[int]:
    """The processes of this fleet that run `fleet <command>`: "worker", "relay", "consume"."""
    found = subprocess.run(["ps", "-eo", "pid,args"], check=True, capture_output=True, text=True).stdout
    of_this_fleet = [line.split(None, 1) for line in found.splitlines() if str(stack.data_dir) in _environment_of(line)]
    return [int(pid) for pid, words in of_this_fleet if f" worker {command}" in f" {words} "]


def _environment_of(line: str) -> str:
    pid = line.split(None, 1)[0]
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
