"""`fleet ingest` as tests use it, and what its database holds then."""

import json
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


def contents(stack: Stack) -> Mapping[str, Any]:
    """Every row of every table, as one digest a table."""
    with psycopg.connect(stack.env["OMNINODE_DATABASE_URL"], autocommit=True) as conn:
        digest = "select md5(coalesce(string_agg(t::text, '' order by t::text), '')) from {} as t"
        return {table: conn.execute(digest.format(table)).fetchone() for table in TABLES}
