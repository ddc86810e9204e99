"""Generic writes among events, in any order: of every field the newest write stays, whichever way it came.

The fold is told each write with the time at which the database made it. The row's clocks have it, beside the write's
id; a write that no clock names any more was outdone in all that it set, and gets the time of its claim in the ledger,
which is a little earlier, so that it is outdone in the fold as well.

An update's started_at is left out: it has no clock.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, LiteralString
from uuid import UUID

import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from psycopg import sql

from omninode_bridge.contract.clock import now, uuid7
from omninode_bridge.contract.enums import EnumEntityType
from omninode_bridge.contract.intent_operation import PersistStateData
from omninode_bridge.contract.operation import (
    BridgeStateData,
    Data,
    MetadataStampData,
    NodeHeartbeatData,
    Operation,
    WorkflowExecutionData,
    WorkflowStepData,
)
from omninode_bridge.persistence.entities import ENTITY_MODELS, takes_null
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, request_of
from store.generic.carry_out import carry_out
from store.write.apply import apply
from store.write.batch import Limits
from store.write.compare import differences
from store.write.fold import Fold
from tests.factories import bridge_state, execution, heartbeat
from tests.property.conftest import Connection, Store, examples
from tests.property.strategies import (
    BRIDGE,
    FIELDS,
    LONG_AGO,
    NODE,
    WORKFLOW,
    YESTERDAY,
    Drawn,
    KeyOf,
    World,
    keyed,
    operation_sets,
)

START = now()
MINUTE = timedelta(minutes=1)
WHENS = (LONG_AGO, YESTERDAY, START - MINUTE, START + 30 * MINUTE, START + 50 * MINUTE)  # around all writes; taken: 1 h
YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)  # clocks count from here
pytestmark = pytest.mark.timeout(400)  # a failure is made smaller first, which takes its time


@dataclass(frozen=True)
class Target:
    """A table that events and generic writes both change.

    data_class  the event that has the row's columns for fields
    events      all that change it
    clocks      reads the clocks of one row
    more        columns that only generic writes give
    """

    table: str
    entity_type: EnumEntityType
    key: tuple[str, ...]
    keys: SearchStrategy[tuple[KeyOf | str, ...]]
    required: dict[str, str]
    data_class: type[Data]
    events: tuple[type[Data], ...]
    clocks: LiteralString
    more: Mapping[str, SearchStrategy[Any]] = field(default_factory=dict)

    def clocks_of(self, conn: Connection, key: tuple[Any, ...]) -> dict[str, str] | None:
        """None where there is no row."""
        row = conn.execute(self.clocks, key).fetchone()
        return None if row is None else row[0]


WORKFLOWS = Target(
    "workflow_executions",
    EnumEntityType.WORKFLOW_EXECUTION,
    ("correlation_id",),
    st.tuples(st.builds(KeyOf, st.just(WORKFLOW), st.integers(0, 1))),
    {"current_state": "PENDING", "workflow_type": "required", "namespace": "required"},
    WorkflowExecutionData,
    (WorkflowExecutionData, WorkflowStepData, MetadataStampData),
    "select clocks from workflow_executions where correlation_id = %s",
)
BRIDGES = Target(
    "bridge_states",
    EnumEntityType.BRIDGE_STATE,
    ("bridge_id", "namespace"),
    st.tuples(st.just(KeyOf(BRIDGE, 0)), st.sampled_from(["one", "two"])),
    {"current_fsm_state": "REQUIRED"},
    BridgeStateData,
    (BridgeStateData, PersistStateData),
    "select clocks from bridge_states where bridge_id = %s and namespace = %s",
)
NODES = Target(
    "node_registrations",
    EnumEntityType.NODE_HEARTBEAT,
    ("node_id",),
    st.tuples(st.builds(KeyOf, st.just(NODE), st.integers(0, 1), st.just("node-"))),
    {},
    NodeHeartbeatData,
    (NodeHeartbeatData,),
    "select clocks from node_registrations where node_id = %s",
    more={"deregistered_at": st.sampled_from([LONG_AGO, YESTERDAY])},
)
TARGETS = [pytest.param(target, id=target.table) for target in (WORKFLOWS, BRIDGES, NODES)]
Way = Literal["insert", "update", "upsert"]


@dataclass(frozen=True)
class Write:
    """A generic write of one row."""

    target: Target
    way: Way
    key: tuple[Any, ...]
    columns: dict[str, Any]
    operation_id: UUID

    def send(self, conn: Connection) -> dict[str, Any]:
        names = dict(zip(self.target.key, self.key, strict=True))
        operation = ModelDatabaseOperationInput(
            operation_type=self.way,
            correlation_id=self.operation_id,
            entity_type=self.target.entity_type,
            entity=self.columns if self.way == "update" else names | self.columns,
            query_filters=None if self.way == "insert" else names,
            operation_id=self.operation_id,
        )
        return carry_out(conn, request_of(operation), operation_id=self.operation_id, limits=Limits())

    def at(self, conn: Connection) -> datetime:
        """When the database made it; where nothing is left of it, when it was claimed."""
        clocks = self.target.clocks_of(conn, self.key) or {}
        ids_claimed = "select claimed_at from operations where operation_id = %s"
        ((claimed_at,),) = conn.execute(ids_claimed, [self.operation_id]).fetchall()
        texts = [text for text in clocks.values() if text.endswith(self.operation_id.hex)]
        times = {YEAR_ONE + timedelta(microseconds=int(text[-48:-32], 16)) for text in texts}
        assert len(times) < 2 and all(claimed_at <= at < claimed_at + MINUTE for at in times)
        return times.pop() if times else claimed_at

    def tell(self, fold: Fold, conn: Connection, *, inserts: bool) -> None:
        key = self.key if len(self.key) > 1 else self.key[0]
        fold.write(
            self.target.table,
            key,
            self.columns,
            at=self.at(conn),
            operation_id=self.operation_id,
            inserts=inserts,
        )


@dataclass(frozen=True)
class DrawnWrite:
    """A write before it has a world, as `Drawn` is an operation."""

    target: Target
    way: Way
    key: tuple[KeyOf | str, ...]
    fields: dict[str, Any]

    def in_world(self, world: World) -> Write:
        key = tuple(part.in_world(world) if isinstance(part, KeyOf) else part for part in self.key)
        names: dict[str, Any] = dict(zip(self.target.key, key, strict=True))
        entity = ENTITY_MODELS[self.target.entity_type].model_validate(
            names | self.target.required | keyed(self.fields, world)
        )
        return Write(self.target, self.way, key, {name: getattr(entity, name) for name in self.fields}, uuid7())


@st.composite
def writes(draw: st.DrawFn, target: Target, ways: Sequence[Way]) -> DrawnWrite:
    way = draw(st.sampled_from(ways))
    strategies = {**FIELDS[target.data_class], **target.more}
    without = {*target.key, *(() if way == "insert" else ("started_at",))}
    columns = sorted(FIELDS[target.data_class].keys() - without)
    names = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=5, unique=True))
    names += [name for name in target.more if draw(st.booleans())]
    fields: dict[str, Any] = {} if way == "update" else dict(target.required)
    for name in names:
        may_be_null = takes_null(target.entity_type, name) and name != "started_at"
        fields[name] = None if may_be_null and draw(st.integers(0, 3)) == 0 else draw(strategies[name])
    return DrawnWrite(target, way, draw(target.keys), fields)


@st.composite
def histories(draw: st.DrawFn, target: Target, ways: Sequence[Way]) -> list[Drawn | DrawnWrite]:
    """Events that happened before and after all writes, and writes, in the order of their arrival."""
    events = draw(operation_sets(max_size=8, of=target.events))
    for position, event in enumerate(events):
        dated = {name: draw(st.sampled_from(WHENS)) for name in event.fields if name == "last_aggregation_timestamp"}
        events[position] = replace(event, occurred_at=draw(st.sampled_from(WHENS)), fields=event.fields | dated)
    among = draw(st.lists(writes(target, ways), min_size=1, max_size=6))
    return draw(st.permutations([*events, *among]))


@pytest.mark.parametrize("target", TARGETS)
def test_the_newest_write_of_a_field_stays_whichever_way_it_came(store: Store, target: Target) -> None:
    @examples(120)
    @given(history=histories(target, ("insert", "update", "upsert")), order=st.integers(0, 2**32 - 1))
    def check(history: list[Drawn | DrawnWrite], order: int) -> None:
        world, conn = store.world(), store.conn
        told: list[Operation | tuple[Write, bool]] = []
        for item in (one.in_world(world) for one in history):
            if isinstance(item, Write):
                clocks = target.clocks_of(conn, item.key)
                answer = item.send(conn)
                again = item.send(conn)
                assert again | {"execution_time_ms": 0} == answer | {"execution_time_ms": 0}
                if took_effect(item, answer, clocks):
                    told.append((item, clocks is None))
            else:
                assert [outcome.status for outcome in apply(conn, [item])] == ["applied"]
                told.append(item)
        note(f"as the fold is told: {told}")
        random.Random(order).shuffle(told)
        assert differences(conn, folded(conn, told).rows()) == []

    check()


def took_effect(write: Write, answer: dict[str, Any], clocks: dict[str, str] | None) -> bool:
    """Whether it did, which depends on the row that it met: none, one that was only opened, or one that was told."""
    if write.way == "insert" and clocks:
        assert answer["error_code"] == "CONFLICT", answer
        return False
    assert answer["success"], answer
    assert answer["rows_affected"] == (0 if write.way == "update" and clocks is None else 1)
    return bool(answer["rows_affected"])


def folded(conn: Connection, told: Sequence[Operation | tuple[Write, bool]]) -> Fold:
    fold = Fold()
    for item in told:
        if isinstance(item, Operation):
            fold.add(item)
        else:
            write, inserts = item
            write.tell(fold, conn, inserts=inserts)
    return fold


@pytest.mark.parametrize("target", TARGETS)
def test_so_it_does_when_all_come_at_the_same_time(store: Store, target: Target) -> None:
    """Without upserts, whose answer does not say whether there was a row."""

    @examples(40)
    @given(history=histories(target, ("insert", "update")))
    def check(history: list[Drawn | DrawnWrite]) -> None:
        world = store.world()
        items = [one.in_world(world) for one in history]

        def work(position: int) -> list[Operation | tuple[Write, bool]]:
            conn = store.connections[position]
            told: list[Operation | tuple[Write, bool]] = []
            for item in items[position :: len(store.connections)]:
                if isinstance(item, Operation):
                    assert [outcome.status for outcome in apply(conn, [item])] == ["applied"]
                    told.append(item)
                else:
                    answer = item.send(conn)
                    assert answer["success"] or answer["error_code"] == "CONFLICT", answer
                    if answer["rows_affected"]:
                        told.append((item, item.way == "insert"))
            return told

        with ThreadPoolExecutor(len(store.connections)) as threads:
            shares = list(threads.map(work, range(len(store.connections))))
        told = [item for share in shares for item in share]
        assert differences(store.conn, folded(store.conn, told).rows()) == []

    check()
    assert store.deadlocks() == 0


WORKFLOW_ID, BRIDGE_ID = uuid7(), uuid7()


@pytest.mark.parametrize(
    ("target", "key", "column", "event"),
    [
        pytest.param(WORKFLOWS, (WORKFLOW_ID,), "namespace", partial(execution, WORKFLOW_ID), id="workflow"),
        pytest.param(BRIDGES, (BRIDGE_ID, "tests"), "node_type", partial(bridge_state, BRIDGE_ID), id="bridge"),
        pytest.param(NODES, ("n",), "node_version", partial(heartbeat, "n"), id="node"),
    ],
)
def test_every_write_of_a_row_raises_its_version_once(
    store: Store, target: Target, key: tuple[Any, ...], column: str, event: Callable[..., Operation]
) -> None:
    query = "select row_version from {} where {} = %s"
    version = sql.SQL(query).format(sql.Identifier(target.table), sql.Identifier(target.key[0]))
    made, newer = event(occurred_at=START - MINUTE), event(occurred_at=START)
    write = Write(target, "update", key, {column: "written"}, uuid7())
    steps = (
        partial(apply, store.conn, [made]),
        partial(apply, store.conn, [newer]),
        partial(write.send, store.conn),
    )
    found = []
    for step in steps:
        for _ in range(2):
            step()
            found.append(store.conn.execute(version, key[:1]).fetchone())
    assert found == [(1,), (1,), (2,), (2,), (3,), (3,)]
