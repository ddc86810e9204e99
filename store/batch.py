"""One batch in one transaction: claim, then write each family's rows, then keep what was refused.

Order, everywhere and always, so that overlapping batches wait for each other and never in a circle: the ledger,
workflows, steps,
transitions and states, stamps, bridge states, nodes, events, dead letters; within a table by key. See docs/ledger.md.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg import Connection

from omninode_bridge.operation import EventData, Operation
from omninode_bridge.outcome import Outcome
from omninode_bridge.refusal import Refusal
from omninode_bridge.wire import Item
from store import bridge_states, dead_letters, events, ledger, nodes, stamps, steps, transitions, workflows

_Families = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the fleet takes.

    future_limit         how far an operation's time may lie ahead of the database's clock
    horizon              how long the ledger remembers
    log_consumed_events  whether events that became operations are written to event_logs too
    """

    future_limit: timedelta = timedelta(hours=1)
    horizon: timedelta = timedelta(days=7)
    log_consumed_events: bool = True


def write(conn: Connection[Any], batch: Sequence[Item], limits: Limits) -> list[Outcome]:
    """Make each operation's effect exactly once, in one transaction of its own.

    Returns one outcome per item, in order. Raises whatever psycopg raises; then nothing of the batch is committed.
    """
    with conn.pipeline(), conn.transaction(), conn.cursor() as cursor:
        claimed = ledger.claim(cursor, batch, limits.future_limit)
        families: _Families = defaultdict(list)
        refused = list(claimed.refused)
        for item in claimed.fresh:
            if isinstance(item, Refusal):
                refused.append(item)
            else:
                families[item.operation_type].append(item)
        workflows.write(
            cursor,
            told=families["persist_workflow_execution"],
            mentioned=families["persist_workflow_step"] + families["persist_metadata_stamp"],
        )
        steps.append(cursor, families["persist_workflow_step"])
        transitions.append(cursor, families["persist_fsm_transition"])
        stamps.append(cursor, families["persist_metadata_stamp"])
        bridge_states.replace(cursor, families["persist_bridge_state"])
        nodes.merge(cursor, families["update_node_heartbeat"])
        events.append(cursor, _consumed(claimed.fresh, limits))
        dead_letters.keep(cursor, refused)
        return claimed.outcomes


def _consumed(fresh: Sequence[Item], limits: Limits) -> list[tuple[Operation, EventData]]:
    consumed: list[tuple[Operation, EventData]] = []
    for item in fresh:
        if isinstance(item, Refusal):
            continue
        if isinstance(item.data, EventData):
            consumed.append((item, item.data))
        elif item.event is not None and limits.log_consumed_events:
            consumed.append((item, item.event))
    return consumed
