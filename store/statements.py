"""The SQL files beside this module, by name. Each holds one whole statement with named parameters."""

from functools import cache
from pathlib import Path
from typing import LiteralString

_FOLDER = Path(__file__).parent / "sql"


@cache
def statement(name: str) -> LiteralString:
    """The text of `sql/<name>.sql`, without its comment lines (they may hold a percent sign)."""
    lines = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))


def statement_names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.sql"))
