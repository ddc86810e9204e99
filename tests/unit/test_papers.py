"""What the documents name in the tree is there: files, functions, decisions."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import CHECKOUT

DOCS = CHECKOUT / "docs"
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
PACKAGES = ("omninode_bridge", "store", "tasks", "worker")
TREES = (*PACKAGES, "migrations", "tests", "docs", "deploy", "scripts", "benchmarks")
FILE = re.compile(rf"(?:{'|'.join(TREES)})/[\w./*-]+\.(?:py|sql|sh|md|css|yaml)")
NAMED = re.compile(rf"`({FILE.pattern})`(?: `([A-Za-z_][\w.]*)`)?")


def definitions(file: Path) -> set[str]:
    """The functions, classes and methods of a module: `name`, `Class.name`."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{one.name}" for one in inner}
    return found


def missing(text: str) -> Iterator[str]:
    """What a page names and the tree lacks. A name with a star stands for at least one file."""
    for name, definition in NAMED.findall(text):
        if not list(CHECKOUT.glob(name)):
            yield name
        elif definition and definition not in definitions(CHECKOUT / name):
            yield f"{name} {definition}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_the_files_and_functions_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sample = re.compile(r"NNN|<\w+>")  # a guide's placeholder
    assert [name for name in missing(text) if not sample.search(name)] == []


def test_a_file_or_a_function_that_is_gone_is_noticed() -> None:
    assert list(missing("`store/write/vanished.py`")) == ["store/write/vanished.py"]
    assert list(missing("`store/write/apply.py` `vanish`")) == ["store/write/apply.py vanish"]
    assert list(missing("`store/write/apply.py` `apply`")) == []


def test_the_architecture_names_every_room_and_every_step_with_its_file() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = {file.parent.name for package in PACKAGES for file in (CHECKOUT / package).glob("*/__init__.py")}
    assert [room for room in sorted(rooms) if f"`{room}`" not in text] == []
    steps = [line for line in re.findall(r"^\|(.+)\|$", text, re.MULTILINE) if " | `" in line and "/" in line]
    assert len(steps) > 40 and all(NAMED.search(line) for line in steps)


def test_every_decision_is_in_the_index_under_its_title() -> None:
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for page in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        number, title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").split(": ", 1)
        assert page.name.startswith(f"{number}-")
        assert f"| [{number}]({page.name}) | {title} |" in index


def test_every_page_is_in_the_list_of_what_to_read() -> None:
    listed = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(DOCS).as_posix() for page in [*DOCS.glob("*.md"), *DOCS.glob("guides/*.md")]]
    assert [page for page in pages if page != "README.md" and f"]({page})" not in listed] == []
