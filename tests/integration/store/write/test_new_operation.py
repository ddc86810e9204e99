"""A seventh persist operation, added to a copy of the tree by the steps of docs/guides/add-an-operation.md."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from omninode_bridge.contract.clock import now, uuid7
from omninode_bridge.contract.operation_types import PERSIST_TYPES
from tests.checkout import CHECKOUT
from tests.conftest import clean_environment
from tests.servers import PostgresServer

GUIDE = (CHECKOUT / "docs" / "guides" / "add-an-operation.md").read_text(encoding="utf-8")
STEP = re.compile(r"^\*\*(?P<file>\S+)\*\*\n\n```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COPIED = ("omninode_bridge", "store", "tasks", "worker", "migrations")

WORKFLOW = uuid4()
NOTES = ("first", "second")


def numbers() -> tuple[str, str]:
    """The next free number of a migration, and the last one that is taken."""
    last = max(int(file.name[:3]) for file in (CHECKOUT / "migrations").glob("[0-9][0-9][0-9]_*.sql"))
    return f"{last + 1:03}", f"{last:03}"


def follow(guide: str, tree: Path) -> list[str]:
    """Do what each step of the guide shows: write its file, or insert its lines. Returns the files."""
    number, previous = numbers()
    done = []
    for step in STEP.finditer(guide):
        name, text = (step[part].replace("NNN", number).replace("PREVIOUS", previous) for part in ("file", "text"))
        file = tree / name
        if step["kind"] == "diff":
            file.write_text(insert(file.read_text(encoding="utf-8"), text), encoding="utf-8")
        else:
            assert not file.exists()
            file.write_text(text, encoding="utf-8")
        done.append(name)
    return done


def insert(text: str, lines: str) -> str:
    """Put the lines that begin with + behind those above them, which are there."""
    at = 0
    for line in lines.splitlines():
        if line.startswith("+"):
            text = text[:at] + line[1:] + "\n" + text[at:]
            at += len(line)
        else:
            at = text.index(line[1:] + "\n", at) + len(line)
    return text


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with the new operation."""
    copy = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "alembic.ini", copy)
    follow(GUIDE, copy)
    return copy


@pytest.fixture(scope="module")
def url(tree: Path, postgres_servers: Mapping[str, PostgresServer]) -> Iterator[str]:
    """A database with the fleet's schema, to which the new migration has come."""
    server = postgres_servers["18"]
    database = server.create_migrated("new_operation")
    assert run(tree, "worker", "migrate", "up", url=database).startswith(f"{numbers()[0]}  applied".encode())
    yield database
    server.drop_database("new_operation")


def run(tree: Path, *words: str, url: str) -> bytes:
    """Run a module of the copy; what tests bring comes from the checkout."""
    path = {"PYTHONPATH": f"{tree}:{CHECKOUT}", "OMNINODE_DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=tree, env=clean_environment(path), capture_output=True, timeout=100
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def told(tree: Path, url: str) -> dict[str, Any]:
    batch = [
        {
            "operation_id": str(uuid7()),
            "operation_type": "persist_workflow_note",
            "occurred_at": (now() - timedelta(seconds=ago)).isoformat(),
            "data": {"workflow_id": str(WORKFLOW), "note": note, "author": "tests"},
        }
        for note, ago in zip(NOTES, (2, 1), strict=True)
    ]
    text = orjson.dumps(batch).decode()
    answer: dict[str, Any] = orjson.loads(run(tree, "tests.integration.store.write.new_operation", url, text, url=url))
    return answer


def test_the_guide_touches_two_registries_and_otherwise_only_adds_files() -> None:
    kinds = {step["file"]: step["kind"] for step in STEP.finditer(GUIDE)}
    changed = {name for name, kind in kinds.items() if kind == "diff"}
    assert changed == {"omninode_bridge/contract/operation_types.py", "store/write/families/__init__.py"}
    assert not [name for name in kinds.keys() - changed if (CHECKOUT / name).exists()]


def test_it_is_applied_from_the_wires_text_and_a_second_time_it_is_a_duplicate(told: dict[str, Any]) -> None:
    assert told["operations"] == ["persist_workflow_note"] * 2
    assert told["applied"] == ["applied"] * 2
    assert told["again"] == ["duplicate"] * 2


def test_it_is_folded_and_compared_and_a_planted_difference_is_seen(told: dict[str, Any]) -> None:
    assert told["folded"] == list(NOTES)
    assert told["opened"] == 1, "the workflow that it names"
    assert told["differences"] == []
    assert told["planted"] == [["workflow_notes", "note", "planted"]]
    assert told["too_many"] == [["workflow_notes", "count", 2, 3]]


def test_a_simulation_plays_it_and_the_database_comes_out_right(told: dict[str, Any]) -> None:
    assert told["played"] > 50
    assert told["rows_of_played"] == told["played"]
    assert told["differences_of_played"] == 0


def test_the_client_the_tasks_and_the_bus_take_it(told: dict[str, Any]) -> None:
    assert (told["queue"], told["task"], told["client"]) == ("persist", True, True)
    assert told["from_the_bus"] == "persist_workflow_note"


def test_retention_leaves_a_workflow_to_which_it_refers(told: dict[str, Any]) -> None:
    assert told["kept"] == {"have notes": 1}


def test_a_trace_shows_it_on_the_terminal_as_json_and_as_a_page(tree: Path, url: str, told: dict[str, Any]) -> None:
    shown = run(tree, "worker", "trace", str(WORKFLOW), url=url).decode()
    assert "notes (2)" in shown and all(note in shown for note in NOTES)
    trace = orjson.loads(run(tree, "worker", "trace", str(WORKFLOW), "--json", url=url))
    assert [row["note"] for row in trace["notes"]] == list(NOTES) and trace["totals"]["notes"] == 2
    page = run(tree, "worker", "trace", str(WORKFLOW), "--html", "-", url=url).decode()
    assert 'id="notes"' in page and all(note in page for note in NOTES)


def test_nothing_of_it_is_left_in_this_tree() -> None:
    assert "persist_workflow_note" not in PERSIST_TYPES
