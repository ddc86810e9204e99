"""How a process of the fleet is started, and made to end when the one that started it is gone.

On Linux the kernel sends the orphan signal when the parent's thread dies (so children are started from the main
thread); elsewhere `worker.embedded.reaper` does it.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.embedded.run_as import Account

PR_SET_PDEATHSIG = 1
KERNEL_TELLS_ORPHANS = sys.platform == "linux"


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A process to start: its command, its account, and the signals that end it.

    `orphan_signal` is what it gets when its supervisor was killed. The default is SIGKILL: an orphan's broker is going
    down with it, so there is nothing that a soft stop could wait for.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    account: Account = field(default_factory=Account)
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    grace_s: float = 10

    def arguments(self) -> list[str]:
        """The words to execute."""
        return [*self.account.prefix, *self.command]

    def options(self) -> dict[str, Any]:
        """What Popen needs besides; a session of its own, so that Ctrl-C reaches the supervisor alone."""
        return {
            "stdin": subprocess.DEVNULL,
            "start_new_session": True,
            "env": self.environment,
            "preexec_fn": _tie_to_parent(self.orphan_signal) if KERNEL_TELLS_ORPHANS else None,
            **self.account.options(),
        }


def fleet_command(*words: str) -> tuple[str, ...]:
    """A command of this checkout; -P, because a `worker` in the current directory is not ours."""
    return (sys.executable, "-P", "-m", "worker", *words)


_libc = ctypes.CDLL(None)  # loaded here, because the child may not load anything between fork and exec


def _tie_to_parent(orphan_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def tie() -> None:  # runs in the child, after its change of account, which would have cleared the wish
        _libc.prctl(PR_SET_PDEATHSIG, int(orphan_signal))
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return tie
