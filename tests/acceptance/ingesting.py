"""`fleet ingest` as tests use it, and what its database holds then."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from tests.conftest import Stack, fleet
from tests.streams import TABLES


def ingest(stack: Stack, file: Path) -> dict[str, Any]:
    done = fleet("ingest", file, "--json", "--quiet", environment=stack.env, timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def contents(stack: Stack) -> Mapping[str, Counter[str]]:
    """Every row of every table, as text."""
    with psycopg.connect(stack.env["OMNINODE_DATABASE_URL"], autocommit=True) as conn:
        return {table: Counter(row for (row,) in conn.execute(f"select t::text from {table} as t")) for table in TABLES}


def changed(before: Mapping[str, Counter[str]], after: Mapping[str, Counter[str]]) -> list[str]:
    """The rows that came and went, as lines."""
    return [
        f"{sign} {table} {row}"
        for table in TABLES
        for sign, rows in (("-", before[table] - after[table]), ("+", after[table] - before[table]))
        for row in sorted(rows.elements())
    ]
