"""Whether the database takes rows at all: one of each kind is written, and taken back.

What PostgreSQL says of one row says nothing about the next. So a failure that may be a row's alone is judged by a row
that is known to be good, of the same kind, through the same statements.
"""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

from psycopg import Connection

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.intent_operation import (
    FsmTransitionIntentData,
    NamespaceContribution,
    PersistStateData,
    PublishEventData,
)
from omninode_bridge.contract.operation import (
    BridgeStateData,
    Data,
    EventData,
    FsmTransitionData,
    MetadataStampData,
    NodeHeartbeatData,
    WorkflowExecutionData,
    WorkflowStepData,
)
from omninode_bridge.contract.operation_types import operation_of
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import Item
from store.database.errors import Fate, Outage, fate_of, is_outage, outage_of
from store.database.statements import statements_beside
from store.write.batch import Limits, write

statement = statements_beside(__file__)

NAMESPACE = "canary"
TRIAL_MS = 500  # for each statement of one row that nobody else wants
_MOVE = {"entity_type": "canary", "transition_event": "canary", "to_state": "PENDING"}
REFUSED = "refusal"  # the kind of what is kept as a dead letter

_DATA: dict[str, Callable[[], Data]] = {
    "persist_workflow_execution": lambda: WorkflowExecutionData(correlation_id=uuid4(), current_state="PENDING"),
    "persist_workflow_step": lambda: WorkflowStepData(
        workflow_id=uuid4(), step_name=NAMESPACE, step_order=0, status="PENDING"
    ),
    "persist_bridge_state": lambda: BridgeStateData(
        bridge_id=uuid4(), namespace=NAMESPACE, current_fsm_state="PENDING"
    ),
    "persist_fsm_transition": lambda: FsmTransitionData(entity_id=uuid4(), **_MOVE),
    "persist_metadata_stamp": lambda: MetadataStampData(stamp_data={}, namespace=NAMESPACE),
    "update_node_heartbeat": lambda: NodeHeartbeatData(node_id=f"{NAMESPACE}-{uuid4()}", health_status="HEALTHY"),
    "record_event": lambda: EventData(event_type=NAMESPACE, payload={}),
    "publish_event": lambda: PublishEventData(event_type=NAMESPACE, payload={}),
    "answer_query": lambda: PublishEventData(event_type=NAMESPACE, payload={}),  # it, too, goes into the outbox
    "persist_state": lambda: PersistStateData(
        aggregation_id=uuid4(), current_fsm_state="PENDING", namespaces={NAMESPACE: NamespaceContribution()}
    ),
    "persist_fsm_transition_intent": lambda: FsmTransitionIntentData(entity_id=uuid4(), **_MOVE),
}


def kind_of(item: Item) -> str:
    """What kind of row an item makes."""
    return REFUSED if isinstance(item, Refusal) else item.operation_type


class Canaries:
    """What a connection's database takes now; each kind is asked for once.

    taken  kinds of which a row was committed just now: they need not be tried
    """

    def __init__(self, conn: Connection[Any], limits: Limits, taken: Iterable[str] = ()) -> None:
        self._conn = conn
        self._limits = limits
        self._found = dict.fromkeys(taken, True)

    def takes(self, kind: str) -> bool:
        """Whether a good row of that kind is taken; of an unknown one, whether anything is.

        Raises Outage when the connection breaks over it.
        """
        if kind not in self._found:
            self._found[kind] = self._try(kind) if kind in _DATA or kind == REFUSED else self.take_any(())
        return self._found[kind]

    def take_any(self, kinds: Iterable[str]) -> bool:
        """Whether a row of any kind is taken: of these first, then of all that there are. Raises as `takes`."""
        if any(self._found.values()):
            return True
        return any(self.takes(kind) for kind in [*kinds, *_DATA])

    def _try(self, kind: str) -> bool:
        item = _refusal() if kind == REFUSED else operation_of(_DATA[kind]())
        try:
            with self._conn.transaction(force_rollback=True):
                limit_trial(self._conn, statement_ms=TRIAL_MS, lock_ms=TRIAL_MS)
                write(self._conn, [item], self._limits)
        except Exception as error:
            if is_outage(error):
                raise Outage(f"the database is away: {type(error).__name__}", original_error=error) from error
            return fate_of(error) not in (Fate.SUSPECT, Fate.RUN_AGAIN)
        return True


def demand_rows(conn: Connection[Any], error: Exception, limits: Limits) -> None:
    """Raises the outage that `error` is part of, when the database takes no row of any kind; else it is about what
    met it."""
    if not Canaries(conn, limits).take_any(()):
        raise outage_of(error) from error


def limit_trial(conn: Connection[Any], *, statement_ms: int, lock_ms: int) -> None:
    """Limit the statements of the open transaction, where they may take longer."""
    conn.execute(statement("limit_trial"), {"statement_ms": statement_ms, "lock_ms": lock_ms})


def _refusal() -> Refusal:
    return Refusal(
        operation_id=uuid7(),
        digest="0" * 32,
        code=EnumCoreErrorCode.VALIDATION_ERROR,
        message=NAMESPACE,
        payload="{}",
        form="operation",
    )
