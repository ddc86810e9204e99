import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.deadline import wait_until
from worker.embedded.launch import Launch
from worker.embedded.process_output import Console
from worker.embedded.reaper import Reaper
from worker.embedded.supervisor import RESTART_LAST_S, Service, StartFailed, Supervisor, backoff_s

WAITS = "print('up', flush=True); import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Log(Console):
    """Keeps what was said."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, echo=False)
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def wrote(self, name: str) -> None:
        if not self.tail(name):
            raise ValueError("nothing written yet")


def _service(log: Log, code: str, *, name: str = "child", vital: bool = False, grace_s: float = 5) -> Service:
    launch = Launch(name=name, command=(sys.executable, "-c", code), grace_s=grace_s)
    return Service(launch=launch, check=lambda: log.wrote(name), vital=vital, ready_within_s=10)


def test_a_process_that_ends_while_it_starts_is_reported_with_its_last_words(tmp_path: Path) -> None:
    log = Log(tmp_path)

    async def run() -> None:
        supervisor = Supervisor(log)
        service = Service(
            launch=Launch(name="child", command=(sys.executable, "-c", "raise SystemExit('no such luck')")),
            check=_never,
        )
        with pytest.raises(StartFailed, match=r"(?s)child ended while it was starting \(exit code 1\).*no such luck"):
            await supervisor.start(service)
        await supervisor.stop()

    asyncio.run(run())
    log.close()
    assert (tmp_path / "child.log").read_text() == "no such luck\n"


def test_a_program_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    async def run() -> None:
        supervisor = Supervisor(Log(tmp_path))
        with pytest.raises(StartFailed, match="child cannot be started"):
            await supervisor.start(Service(launch=Launch(name="child", command=("/no/such",)), check=_never))
        await supervisor.stop()

    asyncio.run(run())


def test_a_process_that_is_never_ready_is_reported_and_stopped(tmp_path: Path) -> None:
    async def run() -> None:
        supervisor = Supervisor(Log(tmp_path))
        launch = Launch(name="child", command=("sleep", "60"))
        with pytest.raises(StartFailed, match=r"not ready after 0.1 s: never"):
            await supervisor.start(Service(launch=launch, check=_never, ready_within_s=0.1))
        await asyncio.wait_for(supervisor.stop(), 5)

    asyncio.run(run())


def test_who_ignores_the_stop_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    log = Log(tmp_path)

    async def run() -> None:
        supervisor = Supervisor(log)
        await supervisor.start(_service(log, STUBBORN, grace_s=0.2))
        await asyncio.wait_for(supervisor.stop(), 5)

    asyncio.run(run())
    log.close()
    assert log.said[-2:] == ["child does not stop: killed", "child stopped (signal 9)"]


def test_a_hurried_stop_waits_for_nobody(tmp_path: Path) -> None:
    log = Log(tmp_path)

    async def run() -> None:
        supervisor = Supervisor(log)
        await supervisor.start(_service(log, STUBBORN, grace_s=60))
        stopping = asyncio.create_task(supervisor.stop())
        supervisor.hurry()
        await asyncio.wait_for(stopping, 5)

    asyncio.run(run())
    log.close()
    assert "child stopped (signal 9)" in log.said


def test_groups_stop_in_reverse_order(tmp_path: Path) -> None:
    log = Log(tmp_path)

    async def run() -> None:
        supervisor = Supervisor(log)
        for name in ("first", "second", "third"):
            await supervisor.start(_service(log, WAITS, name=name))
        await supervisor.stop()

    asyncio.run(run())
    log.close()
    assert [line.split()[0] for line in log.said if "stopped" in line] == ["third", "second", "first"]


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    log, pids = Log(tmp_path), tmp_path / "pids"
    note = f"import os; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')"

    async def run() -> None:
        supervisor = Supervisor(log)
        await supervisor.start(_service(log, f"{note}; {WAITS}"))
        os.kill(int(pids.read_text()), signal.SIGKILL)
        await asyncio.to_thread(
            wait_until, lambda: len(pids.read_text().splitlines()) == 2, seconds=10, what="a second process"
        )
        await supervisor.stop()

    asyncio.run(run())
    log.close()
    assert "child ended by itself (signal 9); it starts again in 0.5 s" in log.said


def test_the_death_of_a_vital_process_is_told_and_not_mended(tmp_path: Path) -> None:
    log = Log(tmp_path)

    async def run() -> None:
        supervisor = Supervisor(log)
        await supervisor.start(_service(log, f"import os; print(os.getpid(), flush=True); {WAITS}", vital=True))
        os.kill(int(log.tail("child").split()[0]), signal.SIGKILL)
        await asyncio.wait_for(supervisor.failed.wait(), 5)
        await supervisor.stop()

    asyncio.run(run())
    log.close()
    assert "child ended by itself (signal 9): everything stops" in log.said


def test_the_pause_between_starts_doubles_up_to_a_limit() -> None:
    assert [backoff_s(failures) for failures in (1, 2, 3)] == [0.5, 1, 2]
    assert backoff_s(1000) == RESTART_LAST_S


def test_a_line_without_end_does_not_stop_the_log(tmp_path: Path) -> None:
    log = Log(tmp_path)

    async def run() -> None:
        supervisor = Supervisor(log)
        await supervisor.start(_service(log, f"print('x' * (3 << 20)); print('after', flush=True); {WAITS}"))
        await asyncio.to_thread(wait_until, lambda: "after" in log.tail("child"), seconds=10, what="the next line")
        await supervisor.stop()

    asyncio.run(run())
    log.close()


def test_the_reaper_ends_those_that_were_not_forgotten() -> None:
    left, forgotten = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
    waiting = threading.Thread(target=left.wait)  # as init does for orphans: unwaited, it would stay in the list
    waiting.start()
    try:
        reaper = Reaper()
        reaper.note(left.pid, signal.SIGTERM)
        reaper.note(forgotten.pid, signal.SIGTERM)
        reaper.forget(forgotten.pid)
        reaper.close()
        assert left.wait(60) == -signal.SIGTERM
        assert forgotten.poll() is None
    finally:
        for process in (left, forgotten):
            process.kill()
            process.wait()
        waiting.join()


def _never() -> None:
    raise ValueError("never")
