"""The SQL files: each says what it is for, and goes by an index on tables that have grown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from omninode_bridge.contract.clock import uuid7
from store.database.statements import statement_files, statements_beside
from store.write.apply import apply
from store.write.families.workflow_execution import statement as of_family
from store.write.ledger import statement
from tests.factories import store_connection, transition

Conn = psycopg.Connection[Any]
MARK = "00000000-0000-7000-8000-000000000001"
A_ROW = {"rows": f'[{{"operation_id":"{MARK}","workflow_id":"{MARK}"}}]'}


@pytest.fixture
def grown(database_any: str) -> Iterator[Conn]:
    """A database in which no table is so small that reading it whole would be best; the planner left as it is."""
    with store_connection(database_any) as conn:
        for start in range(0, 3000, 500):
            apply(conn, [transition() for _ in range(start, start + 500)])
        conn.execute(
            "insert into workflow_executions (id, correlation_id) "
            "select i, i from (select uuid_v7() i from generate_series(1, 3000)) n"
        )
        conn.execute("analyze")
        for name in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
            conn.execute(psycopg.sql.SQL("reset {}").format(psycopg.sql.Identifier(name)))
        yield conn


def plan(conn: Conn, text: str, parameters: dict[str, Any]) -> str:
    return "\n".join(row[0] for row in conn.execute(b"explain " + text.encode(), parameters))


@pytest.mark.parametrize("file", statement_files(), ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_a_statement_says_what_it_is_for_and_a_module_beside_it_runs_it(file: Path) -> None:
    name, text, beside = file.stem, file.read_text(), file.parent.with_suffix(".py")
    assert text.startswith(f"-- {name}: "), "the first line names the statement and says what it does"
    shown = statements_beside(str(beside))(name)
    assert "--" not in shown and shown.strip()
    assert any(f'"{name}"' in module.read_text() for module in file.parents[1].glob("*.py"))


@pytest.mark.parametrize(
    ("text", "parameters", "index_of"),
    [
        (statement("claimed_before"), {"ids": [str(uuid7())]}, "operations"),
        (
            of_family("append_steps"),
            A_ROW,
            "workflow_executions",
        ),
        (
            of_family("append_stamps"),
            A_ROW,
            "workflow_executions",
        ),
        (of_family("write_workflows"), {"rows": f'[{{"correlation_id":"{MARK}"}}]'}, "workflow_executions"),
    ],
)
def test_a_statement_goes_by_index(grown: Conn, text: str, parameters: dict[str, Any], index_of: str) -> None:
    shown = plan(grown, text, parameters)
    assert f"Seq Scan on {index_of}" not in shown, shown
    assert "Index" in shown, shown
