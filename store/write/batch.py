"""One batch in one transaction: claim, then write each family's rows, then keep what was refused.

Order, everywhere and always, so that overlapping batches wait for each other and never in a circle: the ledger, the
families in the order of their registry, dead letters, and last the outbox; within a table by key.
See docs/ledger.md and docs/outbox.md.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.pq import TransactionStatus

from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import Item
from store.database.statements import statements_beside
from store.outbox import announcements, outbox
from store.write import dead_letters, ledger
from store.write.families import FAMILIES
from store.write.family import Fresh
from store.write.limits import Limits as Limits

statement = statements_beside(__file__)


def write(conn: Connection[Any], batch: Sequence[Item], limits: Limits) -> list[Outcome]:
    """Make each operation's effect exactly once, in one transaction of its own.

    All rows are built before the first of them is locked, and then sent in one go: others wait for PostgreSQL only.
    Returns one outcome per item, in order. Raises whatever psycopg raises; then nothing of the batch is committed.
    """
    with transaction(conn), conn.cursor() as cursor:
        claimed = ledger.claim(cursor, batch, future_limit=limits.future_limit, horizon=limits.horizon)
        effects = statements_of(claimed.fresh, claimed.refused, limits)
        announced = announcements.of_batch(
            batch, fresh=claimed.fresh, refused=claimed.refused, environment=limits.environment
        )
        appended = outbox.statements_of(announced)
        for text, parameters in [*effects, *appended]:
            cursor.execute(text, parameters)
    return claimed.outcomes


@contextmanager
def transaction(conn: Connection[Any]) -> Iterator[None]:
    """A transaction whose begin and commit travel with its statements; inside a caller's, a part of that.

    psycopg's own `transaction()` would wait for the statements before it sends the commit, with every lock held.
    """
    if conn.info.transaction_status is not TransactionStatus.IDLE:
        with conn.pipeline():
            yield
        return
    try:
        with conn.pipeline():
            conn.execute("begin")
            yield
            conn.execute("commit")
    except BaseException:
        if not conn.closed:
            conn.rollback()
        raise


def statements_of(
    fresh: Sequence[Item], refused: Sequence[Refusal], limits: Limits
) -> list[tuple[LiteralString, dict[str, Any]]]:
    """What is to be run for items whose ids are ours: (statement, parameters), in the order that all keep."""
    kept = [*refused, *(item for item in fresh if isinstance(item, Refusal))]
    applied = Fresh([item for item in fresh if isinstance(item, Operation)], limits, FAMILIES)
    statements: list[tuple[LiteralString, dict[str, Any]]] = []
    for family in FAMILIES:
        rows = family.rows_of(applied)
        if rows is not None:
            statements.append((family.statement, {"rows": rows, **family.parameters(limits)}))
    letters = dead_letters.rows_of(kept)
    if letters is not None:
        statements.append((statement("keep_dead_letters"), {"rows": letters}))
    return statements
