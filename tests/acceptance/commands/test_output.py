"""Where commands write: narrow terminals, streams of other encodings, full disks."""

import errno
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import psycopg
import pytest

from omninode_bridge.contract.clock import now
from store.write.apply import apply
from tests.acceptance.commands.test_queries import run
from tests.conftest import clean_environment
from tests.factories import execution, heartbeat, step, store_connection
from worker.cli.main import COMMANDS
from worker.cli.output import output

pytestmark = pytest.mark.acceptance

WORKFLOW = UUID(int=0xDD)
WHY = "disk is full: über 100 % … 文"
FULL = Path("/dev/full")


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with store_connection(database) as opened:
        yield opened


@pytest.fixture
def failed(conn: psycopg.Connection[Any], database: str) -> str:
    """The URL of a database with a workflow that failed."""
    apply(
        conn,
        [
            execution(WORKFLOW, state="FAILED", completed_at=now(), error_message=WHY, workflow_type="stamping"),
            step(WORKFLOW, status="FAILED", error_message=WHY, started_at=now(), completed_at=now()),
            heartbeat("node-ü", node_type="reducer"),
        ],
    )
    return database


def written(url: str, *words: str, encoding: str) -> bytes:
    """What the command writes to a stdout of that encoding."""
    return _finished(url, *words, stdout=subprocess.PIPE, code=0, PYTHONIOENCODING=encoding).stdout


def on_terminal(url: str, *words: str, columns: int) -> list[str]:
    """The lines that the command writes to a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = clean_environment({"OMNINODE_DATABASE_URL": url, "TERM": "xterm"})
    environment.pop("COLUMNS", None)
    command = [sys.executable, "-m", "worker", *words]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    read = b""
    while chunk := _read(ours):
        read += chunk
    os.close(ours)
    assert process.wait() == 0, read
    return re.sub(r"\x1b\[[0-9;]*m", "", read.decode()).splitlines()


def _read(terminal: int) -> bytes:
    """Nothing at its end, which is an error on Linux."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""


def _finished(url: str, *words: str, stdout: Any, code: int, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = clean_environment({"OMNINODE_DATABASE_URL": url} | variables)
    command = [sys.executable, "-m", "worker", *words]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=90, env=environment)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_terminal_of_any_width_shows_what_was_asked_for(failed: str, columns: int) -> None:
    lines = on_terminal(failed, "failed", columns=columns)
    assert all(len(line.rstrip()) <= columns for line in lines), lines
    shown = "".join("".join(line.split()) for line in lines)
    assert str(WORKFLOW) in shown and "diskisfull" in shown
    assert (str(WORKFLOW) in "\n".join(lines)) == (columns >= 80), "whole where there is room for it"


@pytest.mark.parametrize(
    ("encoding", "said"), [("ascii", rb"\xfcber"), ("latin-1", b"\xfcber"), ("utf-8", "über".encode())]
)
def test_what_an_encoding_lacks_is_shown_as_escapes(failed: str, encoding: str, said: bytes) -> None:
    for words in (("failed",), ("trace", str(WORKFLOW)), ("nodes",)):
        shown = written(failed, *words, encoding=encoding)
        assert said in shown or words == ("nodes",), shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_json_and_pages_are_utf_8_whatever_the_encoding(failed: str, encoding: str) -> None:
    trace = json.loads(written(failed, "trace", str(WORKFLOW), "--json", encoding=encoding).decode())
    assert trace["workflow"]["error_message"] == WHY
    nodes = json.loads(written(failed, "nodes", "--json", encoding=encoding).decode())
    assert nodes["items"][0]["node_id"] == "node-ü"
    assert WHY in written(failed, "trace", str(WORKFLOW), "--html", "-", encoding=encoding).decode()


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "words",
    [("failed",), ("failed", "--json"), ("trace", str(WORKFLOW), "--html", "-"), ("schedule", "list"), ("settings",)],
)
def test_a_disk_that_is_full_is_one_line(failed: str, words: tuple[str, ...]) -> None:
    assert words[0] in COMMANDS
    with FULL.open("wb") as full:
        said = _finished(failed, *words, stdout=full, code=1).stderr
    assert said == b"Error: No space left on device\n"


def test_a_disk_that_is_full_is_one_line_without_a_stdout_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as in a process that was started with a closed one
    with pytest.raises(click.ClickException, match="No space left on device"), output():
        raise OSError(errno.ENOSPC, "what a file says")


def test_a_page_that_cannot_be_written_is_one_line(failed: str, tmp_path: Path) -> None:
    file = tmp_path / "none" / "page.html"
    said = run(failed, "trace", str(WORKFLOW), "--html", file, code=1)
    assert said == f"Error: {file}: No such file or directory\n"
    if FULL.exists():
        assert (
            run(failed, "trace", str(WORKFLOW), "--html", FULL, code=1) == f"Error: {FULL}: No space left on device\n"
        )


@pytest.mark.parametrize(
    "words", [("failed",), ("dlq", "list"), ("nodes", "register", "n", "--type", "t"), ("schedule", "list")]
)
def test_a_database_without_the_schema_is_one_line_that_says_what_to_do(
    postgres_servers: Any, words: tuple[str, ...]
) -> None:
    said = run(postgres_servers["18"].url(), *words, code=1)
    assert said.count("\n") == 1 and said.endswith("run `fleet migrate up`\n"), said
