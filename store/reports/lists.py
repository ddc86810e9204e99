"""Answers that are lists of rows, as far as an answer holds them."""

from typing import Any

from psycopg import Connection

from store.database.statements import statements_beside

statement = statements_beside(__file__)


def listed(conn: Connection[Any], name: str, question: dict[str, Any]) -> dict[str, Any]:
    """The rows that a statement finds: `items`, and `truncated`, whether there are more of them.

    name  of a statement that returns (item, there): how many there are, or at least one more than it shows
    """
    rows = conn.execute(statement(name), question).fetchall()
    return {"items": [item for item, _ in rows], "truncated": bool(rows) and rows[0][1] > len(rows)}
