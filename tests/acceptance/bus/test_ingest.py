"""Bus records through the real fleet: ingested, ingested again, by two at once, with workers killed on the way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.ingesting import changed, contents, ingest
from tests.checkout import SHARED
from tests.conftest import Stack, clean_environment
from tests.deadline import wait_until
from tests.factories import count

pytestmark = pytest.mark.acceptance

REFEREE = SHARED / "acceptance"


def make_stream(directory: Path, *, workflows: int, seed: int) -> Path:
    if not REFEREE.is_dir():
        pytest.skip("no referee beside this checkout; tests/acceptance/bus/test_streams.py covers the same ground")
    script = str(REFEREE / "make_stream.py")
    words = ["--workflows", str(workflows), "--seed", str(seed), "--out", str(directory)]
    subprocess.run([sys.executable, script, *words], check=True, capture_output=True, timeout=120)
    return directory / "records.jsonl"


def check_stream(stack: Stack, directory: Path) -> None:
    script = str(REFEREE / "check_stream.py")
    words = ["--dsn", stack.env["OMNINODE_DATABASE_URL"], "--expected", str(directory / "expected.json")]
    checked = subprocess.run([sys.executable, script, *words], check=False, capture_output=True, text=True, timeout=120)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert all(line.startswith("ok") for line in checked.stdout.splitlines())


@pytest.mark.parametrize("seed", [1, 20261121])
def test_a_stream_leads_to_its_rows_and_a_second_ingest_changes_none(empty: Stack, tmp_path: Path, seed: int) -> None:
    file = make_stream(tmp_path, workflows=2000, seed=seed)
    expected = json.loads((tmp_path / "expected.json").read_text())
    first = ingest(empty, file)
    check_stream(empty, tmp_path)
    assert first["records"] == expected["records"] and first["unconfirmed"] == 0
    before = contents(empty)
    second = ingest(empty, file)
    assert second["applied"] == 0
    assert [second[name] for name in ("refused", "recorded_only")] == [
        first[name] for name in ("refused", "recorded_only")
    ]
    assert changed(before, contents(empty)) == []


def test_two_processes_that_ingest_the_same_file_at_once_apply_it_once(empty: Stack, tmp_path: Path) -> None:
    file = make_stream(tmp_path, workflows=600, seed=7)
    command = [sys.executable, "-m", "worker", "ingest", str(file), "--json", "--quiet"]
    environment = clean_environment(empty.env)
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    summaries = [json.loads(process.communicate(timeout=300)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    check_stream(empty, tmp_path)
    with psycopg.connect(empty.env["OMNINODE_DATABASE_URL"]) as conn:
        applied = conn.execute(
            "select count(*) from operations where outcome = 'applied' and operation_type <> 'record_event'"
        ).fetchone()
    assert sum(summary["applied"] for summary in summaries) == (applied or (0,))[0]


def worker_pids(stack: Stack) -> list[int]:
    """The worker processes of this fleet."""
    found = subprocess.run(["ps", "-eo", "pid,args"], check=True, capture_output=True, text=True).stdout
    of_this_fleet = [line.split(None, 1) for line in found.splitlines() if str(stack.data_dir) in _environment_of(line)]
    return [int(pid) for pid, words in of_this_fleet if " worker --name" in f" {words}" or "worker worker" in words]


def _environment_of(line: str) -> str:
    pid = line.split(None, 1)[0]
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers through /proc")
def test_killing_workers_in_the_middle_of_an_ingest_loses_and_doubles_nothing(empty: Stack, tmp_path: Path) -> None:
    file = make_stream(tmp_path, workflows=2000, seed=3)
    command = [sys.executable, "-m", "worker", "ingest", str(file), "--json", "--quiet"]
    running = subprocess.Popen(command, env=clean_environment(empty.env), stdout=subprocess.PIPE, text=True)
    with psycopg.connect(empty.env["OMNINODE_DATABASE_URL"], autocommit=True) as conn:
        for claimed in (2_000, 10_000):
            wait_until(lambda c=claimed: count(conn, "operations") > c, seconds=60, what="the ingest is on its way")  # type: ignore[misc]  # default argument
            os.kill(worker_pids(empty)[0], signal.SIGKILL)
    summary = json.loads(running.communicate(timeout=400)[0])
    assert running.returncode == 0 and summary["unconfirmed"] == 0
    check_stream(empty, tmp_path)
    wait_until(lambda: len(worker_pids(empty)) == 2, seconds=30, what="the killed workers are replaced")
