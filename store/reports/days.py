"""Which days of a table with partitions a question concerns, found out without holding a lock on every day.

A statement locks each partition, and each index of it, that its plan reads, until its transaction ends. With a year of
days that is more than a thousand locks, and a few such questions at once use up what the server has room for. So it is
asked of a month after the other whether there is anything: in a savepoint that is rolled back, which gives its locks
back while the transaction still sees the same moment. The statement itself is then planned with the ids of those
months alone: not prepared, since a kept plan reads every day.
"""

from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection

from omninode_bridge.contract.clock import millis
from store.database.statements import statements_beside

statement = statements_beside(__file__)

PORTION_DAYS = 32  # with 4 to 7 locks a day; 28 at a time fit into a server that is set to nothing
_FIRST, _LAST = UUID(int=0), UUID(int=(1 << 128) - 1)

Bounds = dict[str, UUID]


def of_any_day() -> Bounds:
    """The bounds of every id that there is."""
    return {"first_id": _FIRST, "last_id": _LAST}


def concerned(conn: Connection[Any], table: str, probe: LiteralString, question: dict[str, Any]) -> Bounds:
    """`first_id` and `last_id`, within which are all rows of a table with days that a statement asks for.

    probe  the statement that says whether there are any between two ids
    The connection is in a transaction that sees one moment (store/database/bounded_read.py).
    """
    portions = _portions(conn, table)
    if len(portions) == 1:
        return portions[0]
    conn.execute("savepoint probed")
    found: list[Bounds] = []
    for bounds in portions:
        if conn.execute(probe, question | bounds, prepare=False).fetchone() == (True,):
            found.append(bounds)
        conn.execute("rollback to savepoint probed")
    conn.execute("release savepoint probed")
    if not found:
        return {"first_id": _LAST, "last_id": _LAST}
    return {"first_id": found[0]["first_id"], "last_id": found[-1]["last_id"]}


def _portions(conn: Connection[Any], table: str) -> list[Bounds]:
    """All ids, cut where days begin; the first also has those before every day, the last those after."""
    begins = [begin for (begin,) in conn.execute(statement("days_of"), {"parent": table})]
    cuts = [UUID(int=millis(begin) << 80) for begin in begins[PORTION_DAYS::PORTION_DAYS]]
    firsts, lasts = [_FIRST, *cuts], [*(UUID(int=cut.int - 1) for cut in cuts), _LAST]
    return [{"first_id": first, "last_id": last} for first, last in zip(firsts, lasts, strict=True)]
