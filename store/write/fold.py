"""The reference fold: the rows that a set of operations makes, in plain Python.

It is the meaning of the SQL beside it, written a second time and in another way: one operation after another, every
value kept beside the moment at which it was said, the later one staying. Moments are tuples of what they compare, not
the clock texts that PostgreSQL compares. Nothing here depends on the order of arrival. See docs/convergence.md.

Refusals are not in the fold: they have no effect.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from omninode_bridge.contract.clock import state_rank
from omninode_bridge.contract.intent_operation import PersistStateData, PublishEventData
from omninode_bridge.contract.operation import (
    BridgeStateData,
    EventData,
    FsmTransitionData,
    MetadataStampData,
    NodeHeartbeatData,
    Operation,
    WorkflowExecutionData,
    WorkflowStepData,
)

Row = dict[str, Any]
Key = UUID | str | tuple[UUID | str, ...]  # a tuple where the table's key is of several columns
Rows = dict[str, dict[Key, Row]]  # table -> key -> row
Moment = tuple[Any, ...]  # greater is newer
Said = dict[str, tuple[Moment, Any]]  # what -> when it was said last, and the value

APPENDED = ("workflow_steps", "fsm_transitions", "metadata_stamps", "event_logs")  # a row an operation, never changed
MERGED = ("workflow_executions", "fsm_states", "bridge_states", "node_registrations")
OF_BOTH_KINDS = ("current_fsm_state", "aggregation_metadata", "last_aggregation_timestamp")


class Fold:
    """Takes operations in any order, any number of times; gives the rows that they make together.

    log_consumed_events  as in the limits of the store: whether an operation's event makes a row of its own
    """

    def __init__(self, *, log_consumed_events: bool = True) -> None:
        self._log_consumed_events = log_consumed_events
        self._known: set[UUID | tuple[UUID, Key]] = set()
        self._workflows: dict[UUID, Said] = {}
        self._machines: dict[tuple[str, UUID], tuple[int, Moment, FsmTransitionData]] = {}
        self._bridges: dict[tuple[UUID, str], Said] = {}
        self._contributed: dict[tuple[UUID, str], Counter[str]] = defaultdict(Counter)
        self._nodes: dict[str, Said] = {}
        self._appended: Rows = {table: {} for table in APPENDED}

    def add(self, operation: Operation) -> None:
        """Take an operation; one whose id was taken before changes nothing."""
        if operation.operation_id in self._known:
            return
        self._known.add(operation.operation_id)
        if operation.event is not None and self._log_consumed_events:
            self._append("event_logs", operation, _event_row(operation, operation.event))
        match operation.data:
            case WorkflowExecutionData() as data:
                self._workflow(operation, data)
            case WorkflowStepData() as data:
                self._workflows.setdefault(data.workflow_id, {})
                self._append("workflow_steps", operation, _step_row(operation, data))
            case FsmTransitionData() as data:
                self._machine(operation, data)
                self._append("fsm_transitions", operation, _transition_row(operation, data))
            case MetadataStampData() as data:
                if data.workflow_id is not None:
                    self._workflows.setdefault(data.workflow_id, {})
                self._append("metadata_stamps", operation, _stamp_row(operation, data))
            case BridgeStateData() as data:
                self._snapshot(operation, data)
            case PersistStateData() as data:
                self._contribution(operation, data)
            case NodeHeartbeatData() as data:
                self._node(operation, data)
            case EventData() as data:
                self._append("event_logs", operation, _event_row(operation, data))
            case PublishEventData():
                pass  # goes out on the bus, and into none of these tables
            case other:
                raise TypeError(f"the fold does not know {type(other).__name__}")

    def write(
        self, table: str, key: Key, columns: Mapping[str, Any], *, at: datetime, operation_id: UUID, inserts: bool
    ) -> None:
        """Take a generic write that succeeded: the columns that it gave to one row, NULLs among them.

        at       the database's time at the write
        inserts  it made the row, or filled one that was only opened: of a bridge state, a snapshot
        Not in the fold: an update's started_at, since it has no clock; deletes; writes of the tables appended to.
        """
        if (operation_id, key) in self._known:
            return
        self._known.add((operation_id, key))
        when = at, operation_id
        match table, key:
            case "workflow_executions", UUID():
                _write_workflow(self._workflows.setdefault(key, {}), columns, when)
            case "bridge_states", (UUID() as bridge_id, str(namespace)):
                said = self._bridges.setdefault((bridge_id, namespace), {})
                (_say_snapshot if inserts else _say_all)(said, columns, when)
            case "node_registrations", str():
                _say_all(self._nodes.setdefault(key, {}), columns, when)
            case _:
                raise TypeError(f"the fold takes no generic writes of {table} {key}")

    def rows(self) -> Rows:
        """Every row, by table and key. Columns that only the database's own clock fills are not in them."""
        merged: Rows = {
            "workflow_executions": {key: _workflow_row(key, said) for key, said in self._workflows.items()},
            "fsm_states": {key: _machine_row(key, *kept) for key, kept in self._machines.items()},
            "bridge_states": {
                key: _bridge_row(key, said, self._contributed[key]) for key, said in self._bridges.items()
            },
            "node_registrations": {key: _node_row(key, said) for key, said in self._nodes.items()},
        }
        return merged | {table: dict(rows) for table, rows in self._appended.items()}

    def drain(self) -> Rows:
        """The rows of the `APPENDED` tables since the last call, forgotten here: what they are can no longer change."""
        drained, self._appended = self._appended, {table: {} for table in APPENDED}
        return drained

    def _append(self, table: str, operation: Operation, row: Row) -> None:
        self._appended[table][operation.operation_id] = row

    def _workflow(self, operation: Operation, data: WorkflowExecutionData) -> None:
        said = self._workflows.setdefault(data.correlation_id, {})
        when = _moment(operation)
        given = _given(data, but=("correlation_id", "metadata"))
        _write_workflow(said, given, when)
        for key, item in (data.metadata or {}).items():
            _say(said, f"metadata.{key}", when, item)

    def _machine(self, operation: Operation, data: FsmTransitionData) -> None:
        key = data.entity_type, data.entity_id
        when = operation.occurred_at, state_rank(data.to_state), operation.operation_id
        count, newest, newest_data = self._machines.get(key, (0, when, data))
        if when > newest:
            newest, newest_data = when, data
        self._machines[key] = count + 1, newest, newest_data

    def _snapshot(self, operation: Operation, data: BridgeStateData) -> None:
        said = self._bridges.setdefault((data.bridge_id, data.namespace), {})
        when = data.last_aggregation_timestamp or operation.occurred_at, operation.operation_id
        _say_snapshot(said, _given(data, but=("bridge_id", "namespace")), when)

    def _contribution(self, operation: Operation, data: PersistStateData) -> None:
        when = _moment(operation)
        for namespace, given in data.namespaces.items():
            key = data.aggregation_id, namespace
            said = self._bridges.setdefault(key, {})
            _say(said, "current_fsm_state", when, data.current_fsm_state)
            _say(said, "aggregation_metadata", when, given.metadata)
            _say(said, "last_aggregation_timestamp", when, operation.occurred_at)
            self._contributed[key].update(
                workflows=given.total_workflows, items=given.total_items, size_bytes=given.total_size_bytes
            )

    def _node(self, operation: Operation, data: NodeHeartbeatData) -> None:
        said = self._nodes.setdefault(data.node_id, {})
        when = _moment(operation)
        _say_all(said, _given(data, but=("node_id", "last_heartbeat")), when)
        _say(said, "last_heartbeat", when, data.last_heartbeat or operation.occurred_at)
        _say(said, "deregistered_at", when, None)


def _moment(operation: Operation) -> Moment:
    return operation.occurred_at, operation.operation_id


def _say(said: Said, what: str, when: Moment, value: Any) -> None:
    if what not in said or when > said[what][0]:
        said[what] = when, value


def _say_all(said: Said, columns: Mapping[str, Any], when: Moment) -> None:
    for name, value in columns.items():
        _say(said, name, when, value)


def _write_workflow(said: Said, columns: Mapping[str, Any], when: Moment) -> None:
    """Metadata is replaced as a whole here: the keys that an event brings are apart from it."""
    for name, value in columns.items():
        if name == "started_at":
            _, earliest = said.get(name, (when, value))
            said[name] = when, min(earliest, value)
        else:
            _say(said, name, (state_rank(value), *when) if name == "current_state" else when, value)


def _say_snapshot(said: Said, columns: Mapping[str, Any], when: Moment) -> None:
    """What it leaves out takes the column's default; the columns that a contribution gives as well are apart."""
    alone = {name: value for name, value in columns.items() if name not in OF_BOTH_KINDS}
    _say(said, "snapshot", when, alone)
    _say(said, "current_fsm_state", when, columns["current_fsm_state"])
    _say(said, "aggregation_metadata", when, columns.get("aggregation_metadata", {}))
    _say(said, "last_aggregation_timestamp", when, columns.get("last_aggregation_timestamp"))


def _given(data: Any, *, but: tuple[str, ...]) -> Row:
    """The fields that were given, without some: null is not."""
    return {name: value for name, value in data.__dict__.items() if value is not None and name not in but}


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _workflow_row(correlation_id: Key, said: Said) -> Row:
    row: Row = {
        "id": correlation_id,
        "correlation_id": correlation_id,
        "workflow_type": "unknown",
        "current_state": "PENDING",
        "namespace": "unknown",
        "started_at": None,
        "completed_at": None,
        "execution_time_ms": None,
        "error_message": None,
        "metadata": {},
        "stamp_id": None,
        "file_hash": None,
        "session_id": None,
        "workflow_id": None,
        "workflow_steps": [],
        "workflow_steps_executed": 0,
        "hash_generation_time_ms": None,
        "intelligence_data": None,
        "input_data": {},
        "output_data": {},
        "error_info": {},
    }
    keys: Row = {}
    replaced, _ = said.get("metadata", ((), None))
    for what, (when, value) in said.items():
        if not what.startswith("metadata."):
            row[what] = value
        elif when > replaced:
            keys[what.removeprefix("metadata.")] = value
    return row | {"metadata": row["metadata"] | keys}


def _step_row(operation: Operation, data: WorkflowStepData) -> Row:
    return {
        "id": operation.operation_id,
        "workflow_id": data.workflow_id,
        "step_name": data.step_name,
        "step_order": data.step_order,
        "status": data.status,
        "execution_time_ms": data.execution_time_ms,
        "step_data": _or(data.step_data, {}),
        "error_message": data.error_message,
        "created_at": data.created_at or operation.occurred_at,
        "step_type": data.step_type,
        "input_data": _or(data.input_data, {}),
        "output_data": _or(data.output_data, {}),
        "started_at": data.started_at,
        "completed_at": data.completed_at,
    }


def _transition_row(operation: Operation, data: FsmTransitionData) -> Row:
    return {
        "id": operation.operation_id,
        "entity_id": data.entity_id,
        "entity_type": data.entity_type,
        "from_state": data.from_state,
        "to_state": data.to_state,
        "transition_event": data.transition_event,
        "transition_data": _or(data.transition_data, {}),
        "transition_at": operation.occurred_at,
        "triggered_by": data.triggered_by,
        "metadata": _or(data.metadata, {}),
    }


def _machine_row(key: tuple[str, UUID], count: int, newest: Moment, data: FsmTransitionData) -> Row:
    occurred_at: datetime = newest[0]
    return {
        "entity_type": key[0],
        "entity_id": key[1],
        "current_state": data.to_state,
        "previous_state": data.from_state,
        "transition_count": count,
        "last_transition_at": occurred_at,
        "metadata": _or(data.metadata, _or(data.transition_data, {})),
    }


def _stamp_row(operation: Operation, data: MetadataStampData) -> Row:
    return {
        "id": operation.operation_id,
        "workflow_id": data.workflow_id,
        "file_hash": data.file_hash,
        "stamp_id": data.stamp_id,
        "stamp_data": data.stamp_data,
        "namespace": _or(data.namespace, "unknown"),
        "created_at": data.created_at or operation.occurred_at,
        "file_metadata": _or(data.file_metadata, {}),
        "intelligence_data": _or(data.intelligence_data, {}),
        "metadata_version": _or(data.metadata_version, "0.1"),
    }


def _bridge_row(key: tuple[UUID, str], said: Said, contributed: Counter[str]) -> Row:
    """The newest snapshot with what was contributed on top; where there is none, an empty one."""
    row: Row = {
        "bridge_id": key[0],
        "namespace": key[1],
        "total_workflows_processed": 0,
        "total_items_aggregated": 0,
        "total_size_bytes": 0,
        "contributed_workflows_processed": contributed["workflows"],
        "contributed_items_aggregated": contributed["items"],
        "contributed_size_bytes": contributed["size_bytes"],
        "unique_file_types": [],
        "unique_workflows": [],
        "aggregation_type": "namespace_grouping",
        "window_start": None,
        "window_end": None,
        "aggregation_duration_ms": None,
        "items_per_second": None,
        "version": 1,
        "configuration": {},
        "node_type": None,
        "correlation_id": None,
        "state_data": {},
        "metadata": {},
    }
    replaced, snapshot = said.get("snapshot", ((), {}))
    row |= snapshot
    row |= {name: value for name, (when, value) in said.items() if name != "snapshot" and when > replaced}
    row |= {name: said[name][1] for name in OF_BOTH_KINDS}
    row["total_workflows_processed"] += contributed["workflows"]
    row["total_items_aggregated"] += contributed["items"]
    row["total_size_bytes"] += contributed["size_bytes"]
    row["items_per_second"] = _hundredths(row["items_per_second"])
    return row


def _hundredths(value: float | None) -> Decimal | None:
    """What a numeric(10,2) column makes of a number's shortest decimal text."""
    return None if value is None else Decimal(repr(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _node_row(node_id: str, said: Said) -> Row:
    row: Row = {
        "node_id": node_id,
        "node_type": "unknown",
        "node_version": "unknown",
        "metadata": {},
        "capabilities": {},
        "endpoints": {},
        "endpoint_url": None,
        "namespace": None,
        "health_status": "UNKNOWN",
        "last_heartbeat": None,
        "deregistered_at": None,
    }
    return row | {what: value for what, (_, value) in said.items()}


def _event_row(operation: Operation, event: EventData) -> Row:
    envelope_metadata = (event.envelope or {}).get("metadata")
    return {
        "id": operation.operation_id,
        "event_type": event.event_type,
        "correlation_id": operation.correlation_id,
        "session_id": event.session_id,
        "direction": "in",
        "topic": event.topic,
        "partition_key": event.partition_key,
        "payload": event.payload,
        "envelope": event.envelope,
        "metadata": envelope_metadata if isinstance(envelope_metadata, dict) else {},
    }
