"""The life of a whole fleet in one program: start, tell that it is ready, stay, stop. `fleet up` runs it.

Everything stops in reverse order at the first SIGINT or SIGTERM, and at once at the second.
"""

import asyncio
import signal
from asyncio import FIRST_COMPLETED, Event, Future
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from worker.embedded.data_dir import DataDir
from worker.embedded.process_output import Console
from worker.embedded.stack import Stack, StackConfig, StackEnv
from worker.embedded.supervisor import Supervisor

CANCEL_GRACE_S = 5  # for what was under way to notice that it is no longer wanted

WhenReady = Callable[[StackEnv], Awaitable[int | None]]


async def run_stack(
    config: StackConfig,
    *,
    when_ready: WhenReady | None = None,
    stay: bool = True,
    tell: Callable[[StackEnv], object] = lambda env: print(env.describe(), flush=True),
) -> int:
    """Start the fleet, run `when_ready`, stay until a signal if `stay`, stop everything; returns the exit code.

    The code is 0 after a signal, 1 when PostgreSQL or the broker ended by itself, else `when_ready`'s own (None is 0).
    `tell` is called once when all is ready, after fleet.env was written. Must run in the main thread.

    Raises: FleetError when the fleet does not start; what `when_ready` raises, after everything has stopped.
    """
    directory = DataDir(config.data_dir)
    directory.make()
    with directory.lock():
        directory.env_file.unlink(missing_ok=True)
        console = Console(directory.logs, echo=config.echo)
        supervisor = Supervisor(console)
        with _signals(supervisor) as stop:
            try:
                stack = Stack(config, directory, supervisor)
                ending = asyncio.create_task(_first(stop, supervisor.failed))
                return await _live(stack, directory, ending=ending, when_ready=when_ready, stay=stay, tell=tell)
            finally:
                directory.env_file.unlink(missing_ok=True)
                await supervisor.stop()
                console.close()


async def _live(
    stack: Stack,
    directory: DataDir,
    *,
    ending: "Future[int]",
    when_ready: WhenReady | None,
    stay: bool,
    tell: Callable[[StackEnv], object],
) -> int:
    """From start to the wish to end. What is under way when the wish comes is cancelled."""
    try:
        starting = asyncio.create_task(stack.start())
        if not await _before(ending, starting):
            return ending.result()
        env = starting.result()
        directory.write_environment(env.variables())
        tell(env)
        code = 0
        if when_ready is not None:
            work = asyncio.ensure_future(when_ready(env))
            if not await _before(ending, work):
                return ending.result()
            code = work.result() or 0
        return (await ending) or code if stay else code
    finally:
        ending.cancel()


async def _first(stop: Event, failed: Event) -> int:
    """Wait for a signal (0) or a failure (1)."""
    stopped, broken = asyncio.create_task(stop.wait()), asyncio.create_task(failed.wait())
    try:
        await asyncio.wait({stopped, broken}, return_when=FIRST_COMPLETED)
    finally:
        stopped.cancel()
        broken.cancel()
    return 0 if stop.is_set() else 1


async def _before(ending: "Future[int]", task: "Future[Any]") -> bool:
    """True when the task ends first. Else it is cancelled, and given a moment to end."""
    both: set[Future[Any]] = {ending, task}
    await asyncio.wait(both, return_when=FIRST_COMPLETED)
    if task.done():
        return True
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_GRACE_S)
    return False


@contextmanager
def _signals(supervisor: Supervisor) -> Iterator[Event]:
    """The first signal sets the event, which ends the fleet; the second lets nobody finish."""
    loop, stop = asyncio.get_running_loop(), Event()

    def heard() -> None:
        if stop.is_set():
            supervisor.hurry()
        stop.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it on purpose
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, heard)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
