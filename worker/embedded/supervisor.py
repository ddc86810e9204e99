"""Starts processes in order, keeps them running, and stops them in reverse.

    starting --ready--> running --exit--> backing off --> starting      (a process that may be restarted)
    starting --exit or too late--> StartFailed                          (during `start`)
    running --exit--> failed: everything stops                          (a vital process: PostgreSQL, the broker)

All of it runs in one event loop in the main thread: Linux ties a child to the thread that started it.
"""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from worker.embedded.launch import KERNEL_TELLS_ORPHANS, Launch
from worker.embedded.process_output import Console
from worker.embedded.reaper import Reaper
from worker.errors import FleetError

LINE_BYTES = 1 << 20
CHECK_PAUSE_S = 0.05
RESTART_FIRST_S = 0.5
RESTART_LAST_S = 30
DRAIN_S = 2
STEADY_S = 60  # who ran this long starts again with the first backoff


class StartFailed(FleetError):
    """A process ended or did not become ready while it was started."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A process and how to tell that it is ready: `check` blocks shortly and raises while it is not."""

    launch: Launch
    check: Callable[[], object]
    ready_within_s: float = 60
    vital: bool = False  # the others are of no use without it: it is not restarted, everything stops


def backoff_s(failures: int) -> float:
    """The pause before the next start, after so many short lives in a row."""
    return min(RESTART_FIRST_S * 2.0 ** min(failures - 1, 10), RESTART_LAST_S)


class Supervisor:
    """Runs groups of services. Use `start` for each group in order, then `stop` once, whatever happened."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._groups: list[list[_Running]] = []
        self._stopping = False
        self._hurry = asyncio.Event()
        self._reaper = None if KERNEL_TELLS_ORPHANS else Reaper()
        self.failed = asyncio.Event()  # set when a vital process ended by itself

    async def start(self, *services: Service) -> None:
        """Start the services together and return when all are ready.

        Raises: StartFailed. Those that did start are left to `stop`.
        """
        group = [_Running(service, self._console, self._reaper) for service in services]
        self._groups.append(group)
        await asyncio.gather(*(running.spawn() for running in group))
        await asyncio.gather(*(running.until_ready() for running in group))
        for running in group:
            running.keeper = asyncio.create_task(self._keep(running))

    def hurry(self) -> None:
        """Wait for nobody any more: who has not stopped yet is killed."""
        self._hurry.set()

    async def stop(self) -> None:
        """Stop the groups in reverse, the services of a group together, each within its grace."""
        self._stopping = True
        for group in reversed(self._groups):
            await asyncio.gather(*(running.stop(self._hurry) for running in group))
        if self._reaper is not None:
            self._reaper.close()

    async def _keep(self, running: "_Running") -> None:
        failures = 0
        while True:
            ending, lived_s = await running.ended()
            if self._stopping:
                return
            if running.service.vital:
                self._console.say(f"{running.name} ended by itself ({ending}): everything stops")
                self.failed.set()
                return
            failures = 1 if lived_s >= STEADY_S else failures + 1
            pause_s = backoff_s(failures)
            self._console.say(f"{running.name} ended by itself ({ending}); it starts again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            with suppress(StartFailed):  # `ended` then says why
                await running.spawn()


class _Running:
    """A service's present process."""

    def __init__(self, service: Service, console: Console, reaper: Reaper | None) -> None:
        self.service = service
        self.name = service.launch.name
        self.keeper: asyncio.Task[None] | None = None
        self._console = console
        self._reaper = reaper
        self._process: Process | None = None
        self._pump: asyncio.Task[None] | None = None
        self._started = 0.0
        self._refused = ""  # why the last start made no process

    async def spawn(self) -> None:
        launch = self.service.launch
        self._started = monotonic()
        self._refused = ""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *launch.arguments(), stdout=PIPE, stderr=STDOUT, limit=LINE_BYTES, **launch.options()
            )
        except OSError as error:
            self._refused = f"cannot be started: {error}"
            raise StartFailed(f"{self.name} {self._refused}") from error
        if self._reaper is not None:
            self._reaper.note(self._process.pid, launch.orphan_signal)
        self._pump = asyncio.create_task(self._copy(self._process))

    async def until_ready(self) -> None:
        ended = asyncio.create_task(self._wait())
        ready = asyncio.create_task(self._ask())
        try:
            await asyncio.wait({ended, ready}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise StartFailed(f"{self.name} ended while it was starting ({_ending(ended.result())}){self._tail()}")
            ready.result()
        finally:
            ended.cancel()
            ready.cancel()
        self._console.say(f"{self.name} is ready after {monotonic() - self._started:.1f} s")

    async def ended(self) -> tuple[str, float]:
        """How it ended, and how many seconds it lived."""
        if self._refused:
            return self._refused, 0.0
        code = await self._wait()
        await self._drain()
        return _ending(code), monotonic() - self._started

    async def stop(self, hurry: asyncio.Event) -> None:
        if self.keeper is not None:
            self.keeper.cancel()
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(self.service.launch.stop_signal)
            await self._end_within(process, hurry)
        await self._wait()
        await self._drain()
        self._console.say(f"{self.name} stopped ({_ending(process.returncode)})")

    async def _end_within(self, process: Process, hurry: asyncio.Event) -> None:
        ended = asyncio.create_task(process.wait())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=self.service.launch.grace_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            self._console.say(f"{self.name} does not stop: killed")
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it leads its session: what it started goes with it
            await ended

    async def _drain(self) -> None:
        """Take its last lines; not for long, since a process that it started may hold the pipe open."""
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=DRAIN_S)
            self._pump.cancel()

    async def _wait(self) -> int:
        assert self._process is not None
        process = self._process
        code = await process.wait()
        if self._reaper is not None:
            self._reaper.forget(process.pid)
        return code

    async def _ask(self) -> None:
        deadline = monotonic() + self.service.ready_within_s
        while True:
            try:
                await asyncio.to_thread(self.service.check)
                return
            except Exception as error:  # whatever its client raises means "not yet"
                if monotonic() > deadline:
                    raise StartFailed(
                        f"{self.name} is not ready after {self.service.ready_within_s:g} s: {error}{self._tail()}"
                    ) from error
            await asyncio.sleep(CHECK_PAUSE_S)

    async def _copy(self, process: Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than LINE_BYTES: what was read of it is dropped
                continue
            if not line:
                return
            self._console.line(self.name, line)

    def _tail(self) -> str:
        return self._console.tail(self.name)


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
