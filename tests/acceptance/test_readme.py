"""What the documents promise at first sight: the programs run, the commands exist, the links lead somewhere."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.conftest import Stack, clean_environment
from worker.cli.main import COMMANDS, main
from worker.settings import ROOT

pytestmark = pytest.mark.acceptance

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SAID = (  # what each program prints, in the README's order
    "status='applied'",
    "'applied': 1",
    "True omninode_bridge.reducer.events.batch_processed",
    "IDLE 1000 2",
)
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(text: str) -> Iterator[list[str]]:
    """The words after `fleet` wherever code begins with it."""
    fenced = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in [line for block in fenced for line in block.splitlines()] + spans:
        words = shlex.split(line, comments=True)
        if words and words[0] in ("fleet", ".venv/bin/fleet"):
            yield words[1:]


def links(document: Path) -> Iterator[str]:
    """The document's links to other files, without their fragments."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        path = target.partition("#")[0]
        if path and "://" not in path:
            yield path


def complaint(words: list[str]) -> str | None:
    """What there is not of a command line: the command, its subcommand, an option."""
    if not words or words[0] not in COMMANDS:
        return f"no command {words[:1]}"
    context = click.Context(main)
    command, rest = main.get_command(context, words[0]), words[1:]
    if isinstance(command, click.Group) and rest:
        command, rest = command.get_command(context, rest[0]), rest[1:]
    if command is None:
        return f"no subcommand {words[:2]}"
    options = {option for parameter in command.params for option in parameter.opts}
    unknown = [word for word in rest if word.startswith("--") and word not in options]
    return f"no option {unknown} of {words}" if unknown else None


def test_every_program_of_the_readme_is_run_here() -> None:
    assert len(PROGRAMS) == len(SAID)


@pytest.mark.parametrize("number", range(len(SAID)))
def test_a_program_of_the_readme_runs_as_it_stands(stack: Stack, number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[number]],
        cwd=ROOT,
        env=clean_environment(stack.env),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert SAID[number] in done.stdout


def test_every_command_of_the_readme_exists() -> None:
    named = list(commands(README))
    assert {"up", "ingest", "dlq", "status", "simulate", "migrate"} <= {words[0] for words in named}
    assert [said for words in named if (said := complaint(words))] == []


def test_a_command_that_is_not_there_is_noticed() -> None:
    assert complaint(["vanish"]) and complaint(["dlq", "vanish"]) and complaint(["up", "--vanish"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_to_one(document: Path) -> None:
    assert [target for target in links(document) if not (document.parent / target).exists()] == []
