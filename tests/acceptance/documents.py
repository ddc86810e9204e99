"""The platform's documents, where they lie beside this checkout, and the programs in them as they stand there.

Two things of a program are replaced: import lines of names that live elsewhere here, or for which a test stands in;
and `...` where it stands for what the reader is to think. Everything else is run to the letter.
"""

import ast
import inspect
import re
import textwrap
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.checkout import SHARED

DOCUMENTS = SHARED / "spec"

Names = dict[str, Any]

_FENCED = re.compile(r"^( *)```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_PLACEHOLDERS = ((re.compile(r",\s*\.\.\.(?=\s*[\])}])"), ""), (re.compile(r"\{\.\.\.\}"), "{}"))


class Block(NamedTuple):
    """`number` counts the document's programs from 0; `line` is where it begins in `path`, from 1."""

    path: Path
    number: int
    line: int
    source: str

    def __str__(self) -> str:
        return f"program {self.number} of {self.path.name}, line {self.line}"


def blocks_of(pattern: str) -> list[Block]:
    """The programs of the one document of that name, in order. Skips the test where there are no documents."""
    if not DOCUMENTS.is_dir():
        pytest.skip("no documents beside this checkout; test_persistence_examples and test_adapter_examples stay")
    (path,) = DOCUMENTS.glob(pattern)
    text = path.read_text(encoding="utf-8")
    return [
        Block(path, number, text.count("\n", 0, found.start(2)) + 1, _without_placeholders(textwrap.dedent(found[2])))
        for number, found in enumerate(_FENCED.finditer(text))
    ]


async def run(block: Block, names: Names, *, stand_ins: Names | None = None, body: bool = False) -> None:
    """Run a program with these names, to which it adds its own.

    stand_ins  what its import lines would give, for those names that are not imported here
    body       it is a function's: it becomes `body`, without arguments, in the names
    """
    given = stand_ins or {}
    tree = ast.parse("async def body():\n" + textwrap.indent(block.source, " ") if body else block.source)
    tree.body = [one for one in tree.body if not _imports_only(one, set(given))]
    ast.increment_lineno(tree, block.line - (2 if body else 1))
    names |= given
    code = compile(tree, str(block.path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the documents are older than some of Python's own
        running = eval(code, names)
        if inspect.iscoroutine(running):
            await running


def shown_answer(block: Block) -> dict[str, Any]:
    """The dict in a program's closing comment."""
    comment = [line.strip().removeprefix("#") for line in block.source.splitlines() if line.strip().startswith("#")]
    shown: dict[str, Any] = ast.literal_eval(textwrap.dedent("\n".join(comment[1:])).strip())
    return shown


def _without_placeholders(source: str) -> str:
    for placeholder, instead in _PLACEHOLDERS:
        source = placeholder.sub(instead, source)
    return source


def _imports_only(statement: ast.stmt, names: set[str]) -> bool:
    return isinstance(statement, ast.Import | ast.ImportFrom) and {one.name for one in statement.names} <= names
