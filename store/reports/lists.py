"""Answers that are lists of rows, as far as an answer holds them."""

from typing import Any

from psycopg import Connection

from store.database.statements import statements_beside
from store.reports.days import concerned

statement = statements_beside(__file__)


def listed(
    conn: Connection[Any], name: str, question: dict[str, Any], *, by_day: tuple[str, str] | None = None
) -> dict[str, Any]:
    """The rows that a statement finds: `items`, and `truncated`, whether there are more of them.

    name    of a statement that returns (item, there): how many there are, or at least one more than it shows
    by_day  the table with days that it reads, and the name of its probe (days.py)
    """
    days = concerned(conn, by_day[0], statement(by_day[1]), question) if by_day else {}
    rows = conn.execute(statement(name), question | days, prepare=False if by_day else None).fetchall()
    return {"items": [item for item, _ in rows], "truncated": bool(rows) and rows[0][1] > len(rows)}
