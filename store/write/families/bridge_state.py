"""bridge_states: the newest snapshot wins whole, and what was contributed is added to its totals.

A batch makes at most one row of a bridge and namespace, of both kinds together: two passes over the table could
deadlock. See docs/convergence.md.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from omninode_bridge.contract.clock import clock
from omninode_bridge.contract.intent_operation import NamespaceContribution, PersistStateData
from omninode_bridge.contract.operation import BridgeStateData, Operation
from store.database.rows import data_json
from store.database.statements import statements_beside
from store.write.family import Family, Fresh, Table
from store.write.play import Data, Play, World
from store.write.told import Moment, Row, Said, Told, given, moment_of, say, say_all

statement = statements_beside(__file__)

TABLE = "bridge_states"
_SNAPSHOT, _CONTRIBUTION = "persist_bridge_state", "persist_state"


@dataclass(slots=True)
class _Batch:
    """What a batch tells of one row: its newest snapshot, its newest contribution, and the sums of all contributions.

    Clocks are '' for what there is none of; `shared` is what a contribution says of the fields that both kinds have.
    """

    snapshot_clock: str = ""
    snapshot: BridgeStateData | None = None
    contribution_clock: str = ""
    shared: dict[str, Any] | None = None
    workflows: int = 0
    items: int = 0
    size_bytes: int = 0


_Key = tuple[UUID, str]  # bridge_id, namespace


def _rows_of(fresh: Fresh) -> str | None:
    """The rows of `merge_bridge_states`."""
    told: dict[_Key, _Batch] = {}
    for operation in fresh.of(_SNAPSHOT):
        _replace(told, operation)
    for operation in fresh.of(_CONTRIBUTION):
        _add(told, operation)
    return "[" + ",".join([_row(key, one) for key, one in told.items()]) + "]" if told else None


def _replace(told: dict[_Key, _Batch], operation: Operation) -> None:
    data = operation.data
    assert isinstance(data, BridgeStateData)
    one = told.setdefault((data.bridge_id, data.namespace), _Batch())
    said = clock(data.last_aggregation_timestamp or operation.occurred_at, operation.operation_id)
    if said > one.snapshot_clock:
        one.snapshot_clock, one.snapshot = said, data


def _add(told: dict[_Key, _Batch], operation: Operation) -> None:
    data = operation.data
    assert isinstance(data, PersistStateData)
    said = clock(operation.occurred_at, operation.operation_id)
    for namespace, contribution in data.namespaces.items():
        one = told.setdefault((data.aggregation_id, namespace), _Batch())
        one.workflows += contribution.total_workflows
        one.items += contribution.total_items
        one.size_bytes += contribution.total_size_bytes
        if said > one.contribution_clock:
            one.contribution_clock, one.shared = said, _shared(operation, data, contribution)


def _shared(operation: Operation, data: PersistStateData, contribution: NamespaceContribution) -> dict[str, Any]:
    return {
        "current_fsm_state": data.current_fsm_state,
        "aggregation_metadata": contribution.metadata,
        "last_aggregation_timestamp": operation.occurred_at,
    }


def _row(key: _Key, told: _Batch) -> str:
    snapshot = f'"snapshot":"{told.snapshot_clock}",' if told.snapshot is not None else ""
    return f"{{{snapshot}{_added(told)}{data_json(_visible(key, told))[1:]}"


def _added(told: _Batch) -> str:
    """JSON members. Written as digits: sums of many may pass what PostgreSQL takes, which is for it to say."""
    if told.shared is None:
        return ""
    sums = f'"added_workflows":{told.workflows},"added_items":{told.items},"added_bytes":{told.size_bytes}'
    return f'"contribution":"{told.contribution_clock}",{sums},'


def _visible(key: _Key, told: _Batch) -> BridgeStateData:
    """The fields of the snapshot, and those that both kinds have of the newer of the two."""
    if told.snapshot is None:
        return BridgeStateData.model_construct(bridge_id=key[0], namespace=key[1], **told.shared or {})
    if told.shared is None or told.snapshot_clock > told.contribution_clock:
        return told.snapshot
    return told.snapshot.model_copy(update=told.shared)


# ---- the reference fold: the same rules told a second time, in plain Python and without the SQL's clocks -------------

_OF_BOTH_KINDS = ("current_fsm_state", "aggregation_metadata", "last_aggregation_timestamp")
_OF_NO_COLUMN = ("snapshot", "contributed")


def _fold(told: Told, operation: Operation) -> None:
    match operation.data:
        case BridgeStateData() as data:
            said = told.of(TABLE, (data.bridge_id, data.namespace))
            when = data.last_aggregation_timestamp or operation.occurred_at, operation.operation_id
            _say_snapshot(said, given(data, but=("bridge_id", "namespace")), when)
        case PersistStateData() as data:
            for namespace, contribution in data.namespaces.items():
                said = told.of(TABLE, (data.aggregation_id, namespace))
                _say_contribution(said, operation, data.current_fsm_state, contribution)


def _say_contribution(said: Said, operation: Operation, state: str, added: NamespaceContribution) -> None:
    when = moment_of(operation)
    say(said, "current_fsm_state", when, state)
    say(said, "aggregation_metadata", when, added.metadata)
    say(said, "last_aggregation_timestamp", when, operation.occurred_at)
    _, contributed = said.setdefault("contributed", ((), Counter()))
    contributed.update(workflows=added.total_workflows, items=added.total_items, size_bytes=added.total_size_bytes)


def _write(said: Said, columns: Mapping[str, Any], when: Moment, inserts: bool) -> None:
    (_say_snapshot if inserts else say_all)(said, columns, when)


def _say_snapshot(said: Said, columns: Mapping[str, Any], when: Moment) -> None:
    """What it leaves out takes the column's default; the columns that a contribution gives as well are apart."""
    alone = {name: value for name, value in columns.items() if name not in _OF_BOTH_KINDS}
    say(said, "snapshot", when, alone)
    say(said, "current_fsm_state", when, columns["current_fsm_state"])
    say(said, "aggregation_metadata", when, columns.get("aggregation_metadata", {}))
    say(said, "last_aggregation_timestamp", when, columns.get("last_aggregation_timestamp"))


def _folded_row(key: _Key, said: Said) -> Row:
    """The newest snapshot with what was contributed on top; where there is none, an empty one."""
    _, contributed = said.get("contributed", ((), Counter()))
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
    row |= {name: value for name, (when, value) in said.items() if name not in _OF_NO_COLUMN and when > replaced}
    row |= {name: said[name][1] for name in _OF_BOTH_KINDS}
    row["total_workflows_processed"] += contributed["workflows"]
    row["total_items_aggregated"] += contributed["items"]
    row["total_size_bytes"] += contributed["size_bytes"]
    row["items_per_second"] = _hundredths(row["items_per_second"])
    return row


def _hundredths(value: float | None) -> Decimal | None:
    """What a numeric(10,2) column makes of a number's shortest decimal text."""
    return None if value is None else Decimal(repr(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)


# ---- what a simulation plays -----------------------------------------------------------------------------------------

_FSM_STATES = ("idle", "aggregating", "persisting")
_BRIDGES = 12


def _bridges(world: World) -> Callable[[], Data]:
    bridges = [(world.key(), world.namespace()) for _ in range(_BRIDGES)]
    totals = [0] * _BRIDGES

    def aggregated() -> Data:
        which = int(world.random() * _BRIDGES)
        totals[which] += 1
        bridge_id, namespace = bridges[which]
        return {
            "bridge_id": bridge_id,
            "namespace": namespace,
            "current_fsm_state": world.one_of(_FSM_STATES),
            "total_workflows_processed": totals[which],
            "total_items_aggregated": totals[which] * 25,
            "last_aggregation_timestamp": world.now,
            "aggregation_metadata": {"batch_size": 25, "window_ms": 5000},
        }

    return aggregated


FAMILY = Family(
    name="bridge_state",
    types=(_SNAPSHOT, _CONTRIBUTION),
    statement=statement("merge_bridge_states"),
    rows_of=_rows_of,
    fold=_fold,
    tables=(
        Table(
            name=TABLE,
            key=("bridge_id", "namespace"),
            read=statement("fold_bridge_states"),
            row=_folded_row,
            write=_write,
        ),
    ),
    ledger_only=(_CONTRIBUTION,),
    play=Play(share=0.04, beside=_bridges),
)
