"""The SQL files: each says what it is for, and goes by an index on tables that have grown."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from omninode_bridge.clock import uuid7
from store import statements
from store.apply import apply
from store.statements import statement
from tests.factories import store_connection, transition

Conn = psycopg.Connection[Any]
MARK = "00000000-0000-7000-8000-000000000001"


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


def plan(conn: Conn, name: str, parameters: dict[str, Any]) -> str:
    return "\n".join(row[0] for row in conn.execute("explain " + statement(name), parameters))


@pytest.mark.parametrize("name", statements.statement_names())
def test_a_statement_says_what_goes_in_and_what_comes_out(name: str) -> None:
    text = (statements._FOLDER / f"{name}.sql").read_text()
    assert text.startswith(f"-- {name}: "), "the first line names the statement and says what it does"
    assert "--" not in statement(name) and statement(name).strip()


@pytest.mark.parametrize(
    ("name", "parameters", "index_of"),
    [
        ("claimed_before", {"ids": [str(uuid7())]}, "operations"),
        ("append_steps", {"rows": f'[{{"operation_id":"{MARK}","workflow_id":"{MARK}"}}]'}, "workflow_executions"),
        ("append_stamps", {"rows": f'[{{"operation_id":"{MARK}","workflow_id":"{MARK}"}}]'}, "workflow_executions"),
        ("write_workflows", {"rows": f'[{{"correlation_id":"{MARK}"}}]'}, "workflow_executions"),
    ],
)
def test_a_statement_goes_by_index(grown: Conn, name: str, parameters: dict[str, Any], index_of: str) -> None:
    shown = plan(grown, name, parameters)
    assert f"Seq Scan on {index_of}" not in shown, shown
    assert "Index" in shown, shown
