"""SQL files by name. A statement lies in the folder `sql/` beside the module that runs it; each file is one whole
statement with named parameters."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import LiteralString

_STORE = Path(__file__).resolve().parents[1]


def statements_beside(module_file: str) -> Callable[[str], LiteralString]:
    """What gives the text of `sql/<name>.sql` beside a module, which names itself by its `__file__`.

    The text comes without its comment lines: they may hold a percent sign.
    """
    folder = Path(module_file).parent / "sql"
    return lambda name: _text(folder / f"{name}.sql")


def statement_files() -> list[Path]:
    """Every statement of the store."""
    return sorted(_STORE.rglob("sql/*.sql"))


@cache
def _text(file: Path) -> LiteralString:
    lines = file.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))
