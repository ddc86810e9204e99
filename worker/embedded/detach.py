"""A fleet in the background: started by a command that waits until it is ready, stopped by another."""

import os
import signal
import subprocess
from collections.abc import Sequence

from worker.embedded.data_dir import AlreadyRunning, DataDir
from worker.embedded.launch import fleet_command
from worker.errors import FleetError
from worker.polling import wait_until
from worker.settings import child_environment

TAIL_BYTES = 4000


def start(directory: DataDir, words: Sequence[str]) -> str:
    """Run `fleet` with these words in the background; returns, when it is ready, what it has to tell.

    Raises: FleetError with the end of its log when it does not become ready; AlreadyRunning.
    """
    directory.make()
    if (pid := directory.running_pid()) is not None:
        raise AlreadyRunning(directory.path, pid)
    log = directory.logs / "fleet.log"
    read_end, write_end = os.pipe()
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            fleet_command(*words, "--ready-fd", str(write_end)),
            env=child_environment({}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[write_end],
        )
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        try:
            told = pipe.read()  # ends when it has told, or has ended without
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if told:
        process.returncode = 0  # it goes on without us: nobody waits for it here
        return told.replace("Ctrl-C here, or: ", "")
    process.wait()
    with log.open("rb") as written:
        written.seek(max(begin, log.stat().st_size - TAIL_BYTES))
        raise FleetError(f"the fleet did not start; {log} ends with:\n{written.read().decode(errors='replace')}")


def stop(directory: DataDir, *, timeout_s: float) -> None:
    """Ask the fleet of the directory to stop and wait until it has. Raises: FleetError when none runs or it goes on."""
    pid = directory.running_pid()
    if pid is None:
        raise FleetError(f"no fleet runs on {directory.path}")
    os.kill(pid, signal.SIGTERM)
    if not wait_until(lambda: directory.running_pid() is None, seconds=timeout_s):
        raise FleetError(f"the fleet on {directory.path} (pid {pid}) has not stopped after {timeout_s:g} s")
