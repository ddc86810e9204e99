"""node_registrations: what each node last said of itself, field by field."""

from collections.abc import Callable, Mapping
from typing import Any

from omninode_bridge.contract.clock import clock
from omninode_bridge.contract.operation import NodeHeartbeatData, Operation
from store.database.rows import rows
from store.database.statements import statements_beside
from store.write.family import Family, Fresh, Table
from store.write.limits import Limits
from store.write.play import Data, Play, World
from store.write.told import Moment, Row, Said, Told, given, moment_of, say, say_all

statement = statements_beside(__file__)

TABLE = "node_registrations"
_TYPE = "update_node_heartbeat"
_REPORTED = ("node_type", "node_version", "metadata", "capabilities", "endpoints", "endpoint_url", "namespace")


def _rows_of(fresh: Fresh) -> str | None:
    """The rows of `merge_nodes`: what each node said last, field by field."""
    folded: dict[str, Row] = {}
    for operation in fresh.of(_TYPE):
        data = operation.data
        assert isinstance(data, NodeHeartbeatData)
        row = folded.setdefault(data.node_id, {"node_id": data.node_id, "clocks": {}})
        _tell(row, operation, data)
    return rows(folded.values()) if folded else None


def _parameters(limits: Limits) -> Mapping[str, Any]:
    return limits.liveness.as_parameters()


def _tell(row: Row, operation: Operation, data: NodeHeartbeatData) -> None:
    clocks: dict[str, str] = row["clocks"]
    said = clock(operation.occurred_at, operation.operation_id)
    if said > clocks.get("health_status", ""):
        clocks["health_status"] = said
        row["health_status"] = data.health_status
        row["last_heartbeat"] = data.last_heartbeat or operation.occurred_at
    for name in _REPORTED:
        value = getattr(data, name)
        if value is not None and said > clocks.get(name, ""):
            clocks[name] = said
            row[name] = value


# ---- the reference fold: the same rules told a second time, in plain Python and without the SQL's clocks -------------


def _fold(told: Told, operation: Operation) -> None:
    data = operation.data
    assert isinstance(data, NodeHeartbeatData)
    said, when = told.of(TABLE, data.node_id), moment_of(operation)
    say_all(said, given(data, but=("node_id", "last_heartbeat")), when)
    say(said, "last_heartbeat", when, data.last_heartbeat or operation.occurred_at)
    say(said, "deregistered_at", when, None)


def _write(said: Said, columns: Mapping[str, Any], when: Moment, inserts: bool) -> None:
    say_all(said, columns, when)


def _row(node_id: str, said: Said) -> Row:
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


# ---- what a simulation plays -----------------------------------------------------------------------------------------

_NODES = 24
_NODE_TYPES = ("orchestrator", "reducer", "effect", "compute")
_HEALTH = ("healthy",) * 16 + ("degraded", "unhealthy", "critical", "recovering")


def _nodes(world: World) -> Callable[[], Data]:
    mark = f"{world.bits(32):08x}"
    nodes = [(f"{_NODE_TYPES[n % 4]}-{mark}-{n}", _NODE_TYPES[n % 4]) for n in range(_NODES)]

    def heartbeat() -> Data:
        node_id, node_type = world.one_of(nodes)
        return {
            "node_id": node_id,
            "health_status": world.one_of(_HEALTH),
            "node_type": node_type,
            "node_version": "1.4.2",
            "last_heartbeat": world.now,
            "metadata": {"active_operations": world.bits(5), "cpu_percent": world.bits(6)},
        }

    return heartbeat


FAMILY = Family(
    name="node_heartbeat",
    types=(_TYPE,),
    statement=statement("merge_nodes"),
    rows_of=_rows_of,
    parameters=_parameters,
    fold=_fold,
    tables=(Table(name=TABLE, key=("node_id",), read=statement("fold_nodes"), row=_row, write=_write),),
    play=Play(share=0.04, beside=_nodes),
)
