"""A fleet of its own for a measurement, in a directory that goes away with it."""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worker.settings import ROOT, child_environment


@contextmanager
def fleet(*words: str, variables: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """A ready fleet (`fleet up --detach` with more `words`); gives its variables."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as directory:
        environment = child_environment(variables or {})
        _run("up", "--detach", "--data-dir", directory, "--no-flower", *words, environment=environment)
        try:
            lines = (Path(directory) / "fleet.env").read_text(encoding="utf-8").splitlines()
            yield dict(shlex.split(line)[0].split("=", 1) for line in lines) | dict(variables or {})
        finally:
            _run("down", "--data-dir", directory, environment=environment)


def _run(*words: str, environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "worker", *words]
    subprocess.run(command, cwd=ROOT, env=dict(environment), check=True, stdout=subprocess.DEVNULL)
