"""bridge_states: the newest snapshot wins whole, and what was contributed is added to its totals.

A batch makes at most one row of a bridge and namespace, of both kinds together: two passes over the table could
deadlock. See docs/convergence.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from omninode_bridge.contract.clock import clock
from omninode_bridge.contract.intent_operation import NamespaceContribution, PersistStateData
from omninode_bridge.contract.operation import BridgeStateData, Operation
from store.database.rows import data_json


@dataclass(slots=True)
class _Told:
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


def rows_of(*, snapshots: Sequence[Operation], contributions: Sequence[Operation]) -> str | None:
    """The rows of `merge_bridge_states`."""
    told: dict[_Key, _Told] = {}
    for operation in snapshots:
        _replace(told, operation)
    for operation in contributions:
        _add(told, operation)
    return "[" + ",".join([_row(key, one) for key, one in told.items()]) + "]" if told else None


def _replace(told: dict[_Key, _Told], operation: Operation) -> None:
    data = operation.data
    assert isinstance(data, BridgeStateData)
    one = told.setdefault((data.bridge_id, data.namespace), _Told())
    said = clock(data.last_aggregation_timestamp or operation.occurred_at, operation.operation_id)
    if said > one.snapshot_clock:
        one.snapshot_clock, one.snapshot = said, data


def _add(told: dict[_Key, _Told], operation: Operation) -> None:
    data = operation.data
    assert isinstance(data, PersistStateData)
    said = clock(operation.occurred_at, operation.operation_id)
    for namespace, contribution in data.namespaces.items():
        one = told.setdefault((data.aggregation_id, namespace), _Told())
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


def _row(key: _Key, told: _Told) -> str:
    snapshot = f'"snapshot":"{told.snapshot_clock}",' if told.snapshot is not None else ""
    return f"{{{snapshot}{_added(told)}{data_json(_visible(key, told))[1:]}"


def _added(told: _Told) -> str:
    """JSON members. Written as digits: sums of many may pass what PostgreSQL takes, which is for it to say."""
    if told.shared is None:
        return ""
    sums = f'"added_workflows":{told.workflows},"added_items":{told.items},"added_bytes":{told.size_bytes}'
    return f'"contribution":"{told.contribution_clock}",{sums},'


def _visible(key: _Key, told: _Told) -> BridgeStateData:
    """The fields of the snapshot, and those that both kinds have of the newer of the two."""
    if told.snapshot is None:
        return BridgeStateData.model_construct(bridge_id=key[0], namespace=key[1], **told.shared or {})
    if told.shared is None or told.snapshot_clock > told.contribution_clock:
        return told.snapshot
    return told.snapshot.model_copy(update=told.shared)
