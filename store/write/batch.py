"""One batch in one transaction: claim, then write each family's rows, then keep what was refused.

Order, everywhere and always, so that overlapping batches wait for each other and never in a circle: the ledger,
workflows, steps,
transitions and states, stamps, bridge states, nodes, events, dead letters, and last the outbox; within a table by key.
See docs/ledger.md and docs/outbox.md.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.pq import TransactionStatus

from omninode_bridge.contract.operation import EventData, Operation, PublishEventData
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import Item
from store.database.rows import operation_rows
from store.database.statements import statements_beside
from store.outbox import announcements, outbox
from store.write import bridge_states, dead_letters, events, ledger, nodes, transitions, workflows
from store.write.liveness import Thresholds

statement = statements_beside(__file__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the fleet takes.

    future_limit         how far an operation's time may lie ahead of the database's clock
    horizon              how long the ledger remembers
    log_consumed_events  whether events that became operations are written to event_logs too
    environment          what announcements say where they come from
    liveness             how long a silent node counts as there
    """

    future_limit: timedelta = timedelta(hours=1)
    horizon: timedelta = timedelta(days=7)
    log_consumed_events: bool = True
    environment: str = "development"
    liveness: Thresholds = field(default_factory=Thresholds)


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
    """What is to be run for items whose ids are ours: (text of a statement, parameters), in the order that all keep."""
    kept = [*refused, *(item for item in fresh if isinstance(item, Refusal))]
    families: dict[str, list[Operation]] = defaultdict(list)
    for item in fresh:
        if isinstance(item, Operation):
            families[item.operation_type].append(item)
    told, steps = families["persist_workflow_execution"], families["persist_workflow_step"]
    stamps = families["persist_metadata_stamp"]
    moves = [*families["persist_fsm_transition"], *families["persist_fsm_transition_intent"]]
    snapshots, contributions = families["persist_bridge_state"], families["persist_state"]
    every = (
        ("write_workflows", workflows.rows_of(told=told, mentioned=[*steps, *stamps])),
        ("append_steps", operation_rows(steps)),
        ("append_transitions", transitions.rows_of(moves)),
        ("append_stamps", operation_rows(stamps)),
        ("merge_bridge_states", bridge_states.rows_of(snapshots=snapshots, contributions=contributions)),
        ("merge_nodes", nodes.rows_of(families["update_node_heartbeat"])),
        ("append_events", events.rows_of(_consumed(fresh, limits))),
        ("keep_dead_letters", dead_letters.rows_of(kept)),
    )
    more = {"merge_nodes": limits.liveness.as_parameters()}
    return [(statement(name), {"rows": rows, **more.get(name, {})}) for name, rows in every if rows is not None]


def _consumed(fresh: Sequence[Item], limits: Limits) -> list[tuple[Operation, EventData]]:
    consumed: list[tuple[Operation, EventData]] = []
    for item in fresh:
        if isinstance(item, Refusal):
            continue
        if isinstance(item.data, EventData):
            consumed.append((item, item.data))
        elif isinstance(item.data, PublishEventData):
            continue  # its id is that of the event in the outbox
        elif item.event is not None and limits.log_consumed_events:
            consumed.append((item, item.event))
    return consumed
