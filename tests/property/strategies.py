"""Operations over few keys and few instants, so that they meet each other in every way.

Whatever is drawn names its keys by small numbers; a `World` turns these into keys of its own. So each example works on
rows that no other example touches, in a database that is never emptied, and an example drawn again is the same one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from omninode_bridge.contract.clock import TIMELESS, now
from omninode_bridge.contract.intent_operation import WORKFLOW_MOVES, FsmTransitionIntentData, PersistStateData
from omninode_bridge.contract.operation import (
    BridgeStateData,
    Data,
    EventData,
    FsmTransitionData,
    MetadataStampData,
    NodeHeartbeatData,
    Operation,
    WorkflowExecutionData,
    WorkflowStepData,
)
from omninode_bridge.contract.operation_types import operation_of

TODAY = now().replace(hour=0, minute=0, second=0, microsecond=0)
YESTERDAY = TODAY - timedelta(days=1)
LONG_AGO = datetime(2020, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)  # in no day's partition
YEAR_ONE = datetime(1, 1, 13, tzinfo=UTC)  # its clock has fewer digits before padding, and a greater first one
INSTANTS = (YESTERDAY, YESTERDAY + timedelta(microseconds=1), TODAY, LONG_AGO, TIMELESS, YEAR_ONE)


@dataclass(frozen=True)
class World:
    """A number that keeps one example's keys apart from every other's."""

    number: int

    def uuid(self, kind: int, index: int) -> UUID:
        """The key number `index` of a kind; keys of one kind sort as their numbers."""
        return UUID(int=(self.number << 80) | (8 << 60) | (kind << 32) | index, version=4)

    def operation_id(self, drawn: tuple[int, int, int]) -> UUID:
        """The id of these parts (milliseconds, two random parts); ids sort as the parts do."""
        millis, rand_a, rand_b = drawn
        high = (millis << 80) | (7 << 76) | (rand_a << 64) | (2 << 62)
        return UUID(int=high | ((self.number & (2**48 - 1)) << 14) | rand_b)


@dataclass(frozen=True)
class Drawn:
    """An operation before it has a world: where a key belongs, its fields hold a `KeyOf`."""

    id_parts: tuple[int, int, int]
    occurred_at: datetime
    correlation: int | None
    data_class: type[Data]
    fields: dict[str, Any]
    event: dict[str, Any] | None

    def in_world(self, world: World) -> Operation:
        return operation_of(
            self.data_class(**keyed(self.fields, world)),
            operation_id=world.operation_id(self.id_parts),
            occurred_at=self.occurred_at,
            correlation_id=None if self.correlation is None else world.uuid(WORKFLOW, self.correlation),
            event=None if self.event is None else EventData(**keyed(self.event, world)),
        )


@dataclass(frozen=True)
class KeyOf:
    """Stands for a key until there is a world."""

    kind: int
    index: int
    text: str = ""  # before the key, where it is text

    def in_world(self, world: World) -> UUID | str:
        key = world.uuid(self.kind, self.index)
        return f"{self.text}{key.hex}" if self.text else key


WORKFLOW, ENTITY, BRIDGE, SESSION, NODE = range(5)


def keyed(fields: dict[str, Any], world: World) -> dict[str, Any]:
    return {name: _in_world(value, world) for name, value in fields.items()}


def _in_world(value: Any, world: World) -> Any:
    if isinstance(value, KeyOf):
        return value.in_world(world)
    return [_in_world(item, world) for item in value] if isinstance(value, list) else value


def _keys(kind: int, count: int, text: str = "") -> SearchStrategy[KeyOf]:
    return st.builds(KeyOf, st.just(kind), st.integers(0, count - 1), st.just(text))


_workflows = _keys(WORKFLOW, 3)
_instants = st.sampled_from(INSTANTS)
_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
_names = st.sampled_from(["a", "b", "naïve ☃ 'quoted'", "x" * 50])
_states = st.sampled_from(["pending", "processing", "paused", "completed", "failed", "PROCESSING"])
_counts = st.sampled_from([0, 1, 2**31 - 1])
_totals = st.sampled_from([0, 1, 2**62])  # leaves room for what is contributed on top
_contributed = st.sampled_from([0, 1, 2**31, 2**50])
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text
)
_json_keys = st.sampled_from(["a", "b", "metadata", "a.b", "", "ü", "current_state"])
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_json_keys, inner, max_size=2),
    max_leaves=3,
)
_any_objects = st.dictionaries(_json_keys, _values, max_size=3)
# Drawing is what costs: most objects come ready made, with values that tell which operation gave them.
_objects = st.sampled_from(
    [
        {},
        {"a": None},
        {"a": 1},
        {"a": 2, "b": True},
        {"b": False},
        {"b": [{}, -0.0, 1e300]},
        {"a.b": "ü", "": {"a": None}},
        {"metadata": {"namespace": "n"}},
        {"metadata": 1},
    ]
)
_event_fields: dict[str, SearchStrategy[Any]] = {
    "event_type": st.sampled_from(["batch_processed", "stamp_workflow_started"]),
    "topic": _names,
    "partition_key": _names,
    "session_id": _keys(SESSION, 2),
    "payload": _any_objects,
    "envelope": _objects,
}

_namespaces = st.sampled_from(["one", "two"])
_contribution = st.fixed_dictionaries(
    {},
    optional={
        "total_workflows": _contributed,
        "total_items": _contributed,
        "total_size_bytes": _contributed,
        "metadata": _objects,
    },
)
_transition_fields: dict[str, SearchStrategy[Any]] = {
    "entity_id": _keys(ENTITY, 2),
    "entity_type": st.sampled_from(["workflow", "workflow_execution", "bridge"]),
    "to_state": _states,
    "transition_event": _names,
    "from_state": _states,
    "transition_data": _objects,
    "triggered_by": _names,
    "metadata": _objects,
}

# Every field of every class of data; the test beside this one sees to it that none is missing.
FIELDS: dict[type[Data], dict[str, SearchStrategy[Any]]] = {
    WorkflowExecutionData: {
        "correlation_id": _workflows,
        "current_state": _states,
        "workflow_type": _names,
        "namespace": _names,
        "started_at": _instants,
        "completed_at": _instants,
        "execution_time_ms": _counts,
        "error_message": _text,
        "metadata": _objects,
        "stamp_id": _names,
        "file_hash": st.sampled_from(["0", "AbCdEf", "f" * 128]),
        "session_id": _keys(SESSION, 2),
        "workflow_id": _workflows,
        "workflow_steps": st.sampled_from([[], [1], [{"a": None}, "2"]]),
        "workflow_steps_executed": _counts,
        "hash_generation_time_ms": _counts,
        "intelligence_data": _objects,
        "input_data": _objects,
        "output_data": _objects,
        "error_info": _objects,
    },
    WorkflowStepData: {
        "workflow_id": _workflows,
        "step_name": _names,
        "step_order": _counts,
        "status": _states,
        "execution_time_ms": _counts,
        "step_data": _any_objects,
        "error_message": _text,
        "created_at": _instants,
        "step_type": _names,
        "input_data": _objects,
        "output_data": _objects,
        "started_at": _instants,
        "completed_at": _instants,
    },
    BridgeStateData: {
        "bridge_id": _keys(BRIDGE, 2),
        "namespace": _namespaces,
        "current_fsm_state": _states,
        "total_workflows_processed": _totals,
        "total_items_aggregated": _totals,
        "aggregation_metadata": _objects,
        "last_aggregation_timestamp": _instants,
        "total_size_bytes": _totals,
        "unique_file_types": st.lists(_names, max_size=2),
        "unique_workflows": st.lists(_workflows, max_size=2),
        "aggregation_type": st.sampled_from(["time_window", "CUSTOM"]),
        "window_start": _instants,
        "window_end": _instants,
        "aggregation_duration_ms": _counts,
        "items_per_second": st.floats(0, 99_999_999.99) | st.sampled_from([0.125, 2.675, 1e-9, 99_999_999.99]),
        "version": st.sampled_from([1, 2, 2**31 - 1]),
        "configuration": _objects,
        "node_type": _names,
        "correlation_id": _workflows,
        "state_data": _objects,
        "metadata": _objects,
    },
    PersistStateData: {
        "aggregation_id": _keys(BRIDGE, 2),
        "current_fsm_state": _states,
        "namespaces": st.dictionaries(_namespaces, _contribution, max_size=2),
    },
    FsmTransitionData: _transition_fields,
    FsmTransitionIntentData: _transition_fields,
    MetadataStampData: {
        "stamp_data": _any_objects,
        "namespace": _names,
        "workflow_id": _workflows,
        "file_hash": st.sampled_from(["0", "AbCdEf"]),
        "stamp_id": _names,
        "created_at": _instants,
        "file_metadata": _objects,
        "intelligence_data": _objects,
        "metadata_version": st.sampled_from(["0.1", "2"]),
    },
    NodeHeartbeatData: {
        "node_id": _keys(NODE, 2, "node-"),
        "health_status": st.sampled_from(["healthy", "degraded", "critical", "recovering", "offline"]),
        "node_type": _names,
        "node_version": _names,
        "last_heartbeat": _instants,
        "metadata": _objects,
        "capabilities": _objects,
        "endpoints": _objects,
        "endpoint_url": _names,
        "namespace": _names,
    },
    EventData: _event_fields,
}


def _fields_of(data_class: type[Data]) -> SearchStrategy[dict[str, Any]]:
    """The fields that the class wants, and any of the others."""
    strategies = FIELDS[data_class]
    wanted = [name for name, field in data_class.model_fields.items() if field.is_required()]
    others = [name for name in strategies if name not in wanted]

    @st.composite
    def fields(draw: st.DrawFn) -> dict[str, Any]:
        chosen = draw(st.integers(0, 2 ** len(others) - 1))  # a bit for each
        names = wanted + [name for position, name in enumerate(others) if chosen >> position & 1]
        drawn = {name: draw(strategies[name]) for name in names}
        return _with_a_move(drawn) if data_class is FsmTransitionIntentData else drawn

    return fields()


def _with_a_move(fields: dict[str, Any]) -> dict[str, Any]:
    """What is no move of a workflow is one of a bridge, which may move as it likes."""
    from_state, to_state = fields.get("from_state"), fields["to_state"]
    moves = WORKFLOW_MOVES.get(from_state and from_state.upper(), ())
    return fields if to_state.upper() in moves else fields | {"entity_type": "bridge"}


def _ids_of(*instants: datetime) -> SearchStrategy[tuple[int, int, int]]:
    millis = [int(instant.timestamp() * 1000) for instant in instants]
    return st.tuples(st.sampled_from(millis), st.integers(0, 3), st.integers(0, 2**14 - 1))


_id_parts = _ids_of(YESTERDAY, TODAY, LONG_AGO, TIMELESS)
_late_id_parts = _ids_of(YESTERDAY, TODAY)  # of what is refused when its id is old


def _drawn_of(data_class: type[Data]) -> SearchStrategy[Drawn]:
    no_event: SearchStrategy[dict[str, Any] | None] = st.none()
    return st.builds(
        Drawn,
        id_parts=_late_id_parts if data_class is PersistStateData else _id_parts,
        occurred_at=_instants,
        correlation=st.none() | st.integers(0, 2),
        data_class=st.just(data_class),
        fields=_fields_of(data_class),
        event=no_event if data_class is EventData else no_event | _fields_of(EventData),
    )


_BY_CLASS = {data_class: _drawn_of(data_class) for data_class in FIELDS}


@st.composite
def operation_sets(
    draw: st.DrawFn, *, min_size: int = 1, max_size: int = 16, of: Collection[type[Data]] = tuple(FIELDS)
) -> list[Drawn]:
    """Operations with distinct ids, of few kinds at a time: those of one kind meet more often than in a mixed crowd."""
    kinds = draw(st.lists(st.sampled_from(list(of)), min_size=1, max_size=3))
    one = st.one_of(*(_BY_CLASS[data_class] for data_class in kinds))
    return draw(st.lists(one, min_size=min_size, max_size=max_size, unique_by=lambda drawn: drawn.id_parts))
