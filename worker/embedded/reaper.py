"""Ends a supervisor's children when it was killed, where the kernel does not (anything but Linux).

The supervisor writes `+PID SIGNAL` and `-PID` to the reaper's input. When that closes, the supervisor is gone: whoever
is still noted gets its signal, and SIGKILL when it has not ended after a while.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable

from worker.polling import wait_until
from worker.settings import child_environment

PATIENCE_S = 30


class Reaper:
    """The supervisor's end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.embedded.reaper"],
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
            env=child_environment({}),
        )

    def note(self, pid: int, orphan_signal: signal.Signals) -> None:
        """The process is ours from now on."""
        self._tell(f"+{pid} {int(orphan_signal)}")

    def forget(self, pid: int) -> None:
        """The process has ended; its pid may be another's soon."""
        self._tell(f"-{pid}")

    def close(self) -> None:
        """End the reaper; nobody may be noted any more."""
        self._process.communicate()

    def _tell(self, line: str) -> None:
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()


def reap(lines: Iterable[str]) -> None:
    """Follow the supervisor's lines to their end, then end who is left."""
    noted: dict[int, int] = {}
    for line in lines:
        words = line[1:].split()
        if line.startswith("+"):
            noted[int(words[0])] = int(words[1])
        else:
            noted.pop(int(words[0]), None)
    left = [pid for pid, number in noted.items() if _send(pid, number)]
    if not wait_until(lambda: not any(_send(pid, 0) for pid in left), seconds=PATIENCE_S):
        for pid in left:
            _send(pid, signal.SIGKILL)


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it outlives the supervisor, whatever the terminal says
    reap(sys.stdin)
