"""The reference fold, rule by rule, with examples that can be worked out by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from omninode_bridge.contract.operation import (
    BridgeStateData,
    Data,
    EventData,
    NodeHeartbeatData,
    Operation,
    WorkflowExecutionData,
)
from omninode_bridge.contract.operation_types import operation_of
from store.write.fold import APPENDED, MERGED, Fold
from store.write.told import Row, Rows
from tests.factories import (
    bridge_state,
    contribution,
    execution,
    heartbeat,
    publish_event,
    stamp,
    step,
    transition,
    transition_intent,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORKFLOW = UUID("0f4e1a52-7f7c-4c39-8c3c-000000000001")
BRIDGE = UUID("0f4e1a52-7f7c-4c39-8c3c-000000000002")
LOW, HIGH = UUID("019aa000-0000-7000-8000-000000000001"), UUID("019aa000-0000-7000-8000-000000000002")


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def fold(*operations: Operation, **options: Any) -> Rows:
    """The rows of the operations; the same whichever way round they come."""
    forwards, backwards = Fold(**options), Fold(**options)
    for operation in operations:
        forwards.add(operation)
    for operation in (*reversed(operations), *operations):
        backwards.add(operation)
    assert forwards.rows() == backwards.rows()
    return forwards.rows()


def workflow(*operations: Operation) -> Row:
    return fold(*operations)["workflow_executions"][WORKFLOW]


def test_the_newest_value_of_a_field_stays_and_null_is_not_given() -> None:
    row = workflow(
        execution(WORKFLOW, occurred_at=at(1), namespace="old", error_message="kept"),
        execution(WORKFLOW, occurred_at=at(2), namespace="new", error_message=None),
    )
    assert (row["namespace"], row["error_message"]) == ("new", "kept")


def test_of_two_at_the_same_instant_the_greater_id_is_newer() -> None:
    row = workflow(
        execution(WORKFLOW, occurred_at=NOON, operation_id=HIGH, namespace="high"),
        execution(WORKFLOW, occurred_at=NOON, operation_id=LOW, namespace="low"),
    )
    assert row["namespace"] == "high"


@pytest.mark.parametrize(
    ("earlier", "later", "stays"),
    [
        ("PROCESSING", "PENDING", "PROCESSING"),
        ("COMPLETED", "PROCESSING", "COMPLETED"),
        ("COMPLETED", "FAILED", "FAILED"),
        ("FAILED", "COMPLETED", "COMPLETED"),
        ("PAUSED", "PROCESSING", "PROCESSING"),
        ("PROCESSING", "PAUSED", "PAUSED"),
    ],
)
def test_the_rank_of_a_workflow_state_counts_before_its_time(earlier: str, later: str, stays: str) -> None:
    row = workflow(
        execution(WORKFLOW, state=earlier, occurred_at=at(1)), execution(WORKFLOW, state=later, occurred_at=at(2))
    )
    assert row["current_state"] == stays


def test_a_workflow_started_when_it_was_first_said_to_have() -> None:
    row = workflow(
        execution(WORKFLOW, occurred_at=at(9), started_at=at(3)),
        execution(WORKFLOW, occurred_at=at(1), started_at=at(5)),
        execution(WORKFLOW, occurred_at=at(10)),
    )
    assert row["started_at"] == at(3)


def test_each_key_of_metadata_has_its_own_newest_value_and_null_is_one() -> None:
    row = workflow(
        execution(WORKFLOW, occurred_at=at(1), metadata={"a": 1, "b": 1, "c": 1}),
        execution(WORKFLOW, occurred_at=at(2), metadata={"b": None, "c.d": 2}),
    )
    assert row["metadata"] == {"a": 1, "b": None, "c": 1, "c.d": 2}


@pytest.mark.parametrize("mention", [step(WORKFLOW), stamp(WORKFLOW)], ids=["step", "stamp"])
def test_a_step_or_stamp_opens_its_workflow_and_tells_nothing_of_it(mention: Operation) -> None:
    opened = workflow(mention)
    assert opened == {
        "id": WORKFLOW,
        "correlation_id": WORKFLOW,
        "workflow_type": "unknown",
        "current_state": "PENDING",
        "namespace": "unknown",
        "metadata": {},
        "workflow_steps": [],
        "workflow_steps_executed": 0,
        "input_data": {},
        "output_data": {},
        "error_info": {},
        **dict.fromkeys(NEVER_DEFAULTED),
    }
    told = execution(WORKFLOW, namespace="told")
    assert workflow(mention, told) == workflow(told)


NEVER_DEFAULTED = (
    "started_at",
    "completed_at",
    "execution_time_ms",
    "error_message",
    "stamp_id",
    "file_hash",
    "session_id",
    "workflow_id",
    "hash_generation_time_ms",
    "intelligence_data",
)


def test_every_field_of_a_workflow_and_of_a_node_reaches_its_row() -> None:
    assert set(WorkflowExecutionData.model_fields) | {"id"} == set(workflow(execution(WORKFLOW)))
    (row,) = fold(heartbeat())["node_registrations"].values()
    assert set(NodeHeartbeatData.model_fields) | {"deregistered_at"} == set(row)


def test_a_stamp_without_a_workflow_opens_none() -> None:
    rows = fold(stamp(None))
    assert not rows["workflow_executions"] and len(rows["metadata_stamps"]) == 1


def test_steps_and_stamps_are_dated_by_themselves_else_by_their_operation() -> None:
    dated, undated = step(created_at=at(1), occurred_at=at(5)), step(occurred_at=at(5))
    rows = fold(dated, undated, stamp(occurred_at=at(7)))
    assert rows["workflow_steps"][dated.operation_id]["created_at"] == at(1)
    assert rows["workflow_steps"][undated.operation_id]["created_at"] == at(5)
    (stamped,) = rows["metadata_stamps"].values()
    assert (stamped["created_at"], stamped["metadata_version"]) == (at(7), "0.1")


def test_a_machine_stands_where_its_newest_transition_went_and_counts_each_once() -> None:
    operations = [
        transition(WORKFLOW, from_state="PENDING", to_state="PROCESSING", occurred_at=at(1)),
        transition(WORKFLOW, from_state="PROCESSING", to_state="COMPLETED", occurred_at=at(2), operation_id=LOW),
        transition(WORKFLOW, from_state="COMPLETED", to_state="PENDING", occurred_at=at(2), operation_id=HIGH),
    ]
    row = fold(*operations)["fsm_states"]["workflow_execution", WORKFLOW]
    assert (row["current_state"], row["previous_state"]) == ("COMPLETED", "PROCESSING"), "the rank breaks the tie"
    assert (row["transition_count"], row["last_transition_at"]) == (3, at(2))


def test_the_newest_snapshot_of_a_bridge_wins_whole() -> None:
    rows = fold(
        bridge_state(BRIDGE, occurred_at=at(9), last_aggregation_timestamp=at(1), total_size_bytes=1, version=7),
        bridge_state(BRIDGE, occurred_at=at(2), unique_file_types=["pdf"]),
    )
    row = rows["bridge_states"][BRIDGE, "tests"]
    assert (row["total_size_bytes"], row["version"], row["unique_file_types"]) == (0, 1, ["pdf"])
    assert (row["last_aggregation_timestamp"], row["aggregation_type"]) == (None, "namespace_grouping")


def test_a_machine_keeps_what_its_newest_transition_said_beside_it() -> None:
    def metadata(**fields: Any) -> Any:
        older = transition(WORKFLOW, to_state="PROCESSING", occurred_at=at(1), metadata={"older": True})
        newer = transition_intent(WORKFLOW, from_state="PROCESSING", to_state="FAILED", occurred_at=at(2), **fields)
        return fold(older, newer)["fsm_states"]["workflow_execution", WORKFLOW]["metadata"]

    assert metadata(metadata={"m": 1}, transition_data={"d": 1}) == {"m": 1}
    assert metadata(transition_data={"d": 1}) == {"d": 1}
    assert metadata(metadata={}, transition_data={"d": 1}) == {}, "given, and empty"
    assert metadata() == {}


def test_an_intended_transition_is_a_transition() -> None:
    operations = [
        transition(WORKFLOW, to_state="PENDING", occurred_at=at(1)),
        transition_intent(WORKFLOW, from_state="PENDING", to_state="PROCESSING", occurred_at=at(2)),
    ]
    rows = fold(*operations)
    assert set(rows["fsm_transitions"]) == {one.operation_id for one in operations}
    assert rows["fsm_states"]["workflow_execution", WORKFLOW]["transition_count"] == 2


def test_an_event_to_publish_makes_no_row_of_these_tables() -> None:
    assert not any(fold(publish_event()).values())


def test_contributions_are_added_and_the_newest_says_the_rest() -> None:
    rows = fold(
        contribution(BRIDGE, current_fsm_state="NEW", occurred_at=at(2), namespaces={"tests": {"total_items": 3}}),
        contribution(BRIDGE, current_fsm_state="OLD", occurred_at=at(1), namespaces={"tests": OF_ALL, "other": {}}),
    )["bridge_states"]
    row = rows[BRIDGE, "tests"]
    assert totals(row) == (1, 5, 3) and (row["current_fsm_state"], row["aggregation_metadata"]) == ("NEW", {})
    assert row["last_aggregation_timestamp"] == at(2)
    assert (row["version"], row["aggregation_type"], row["metadata"]) == (1, "namespace_grouping", {})
    assert totals(rows[BRIDGE, "other"]) == (0, 0, 0) and rows[BRIDGE, "other"]["current_fsm_state"] == "OLD"


OF_ALL = {"total_workflows": 1, "total_items": 2, "total_size_bytes": 3, "metadata": {"a": 1}}


def totals(row: Row) -> tuple[int, int, int]:
    return row["total_workflows_processed"], row["total_items_aggregated"], row["total_size_bytes"]


@pytest.mark.parametrize(
    ("minute", "state", "metadata", "timestamp"), [(1, "SNAPSHOT", {"s": 1}, at(2)), (3, "ADDED", {"a": 1}, at(3))]
)
def test_a_contribution_stands_on_top_of_the_newest_snapshot(
    minute: int, state: str, metadata: Row, timestamp: datetime
) -> None:
    """What both kinds say is the later one's, the rest the snapshot's."""
    newest = {"total_items_aggregated": 10, "aggregation_metadata": {"s": 1}, "version": 7}
    row = fold(
        bridge_state(BRIDGE, occurred_at=at(0), total_items_aggregated=900, total_size_bytes=900, node_type="old"),
        bridge_state(BRIDGE, last_aggregation_timestamp=at(2), current_fsm_state="SNAPSHOT", **newest),
        contribution(BRIDGE, current_fsm_state="ADDED", occurred_at=at(minute), namespaces={"tests": OF_ALL}),
    )["bridge_states"][BRIDGE, "tests"]
    assert totals(row) == (1, 12, 3) and (row["version"], row["node_type"]) == (7, None)
    assert (row["current_fsm_state"], row["aggregation_metadata"]) == (state, metadata)
    assert row["last_aggregation_timestamp"] == timestamp


@pytest.mark.parametrize(
    ("given", "kept"), [(2.675, "2.68"), (0.125, "0.13"), (1e-9, "0.00"), (99_999_999.99, "99999999.99"), (3, "3.00")]
)
def test_a_rate_is_kept_to_hundredths(given: float, kept: str) -> None:
    data = BridgeStateData(bridge_id=BRIDGE, namespace="n", current_fsm_state="IDLE", items_per_second=given)
    assert fold(operation_of(data))["bridge_states"][BRIDGE, "n"]["items_per_second"] == Decimal(kept)


def test_a_node_is_as_its_newest_heartbeat_says_and_keeps_what_that_leaves_out() -> None:
    rows = fold(
        heartbeat("n", occurred_at=at(1), node_type="Reducer", node_version="1"),
        heartbeat("n", occurred_at=at(3), last_heartbeat=at(2)),
        heartbeat("n", occurred_at=at(2), node_version="2", last_heartbeat=at(8)),
    )
    row = rows["node_registrations"]["n"]
    assert (row["node_type"], row["node_version"], row["last_heartbeat"]) == ("reducer", "2", at(2))


def test_an_event_is_kept_whether_or_not_it_became_an_operation() -> None:
    event = EventData(event_type="e", payload={"a": 1}, envelope={"metadata": {"namespace": "n"}})
    became, recorded = step(event=event), operation_of(event, correlation_id=WORKFLOW)
    rows = fold(became, recorded)["event_logs"]
    assert set(rows) == {became.operation_id, recorded.operation_id}
    assert rows[recorded.operation_id]["metadata"] == {"namespace": "n"}
    assert rows[recorded.operation_id]["correlation_id"] == WORKFLOW
    assert set(fold(became, recorded, log_consumed_events=False)["event_logs"]) == {recorded.operation_id}


def test_what_was_drained_is_not_there_again_and_nothing_is_counted_twice() -> None:
    one, two, moved = step(WORKFLOW), step(WORKFLOW), transition(WORKFLOW)
    piecewise = Fold()
    for operation in (one, moved):
        piecewise.add(operation)
    first = piecewise.drain()
    for operation in (one, moved, two):
        piecewise.add(operation)
    rest, whole = piecewise.rows(), fold(one, moved, two)
    assert set(first) == set(APPENDED) and set(rest) == {*APPENDED, *MERGED}
    assert first["workflow_steps"] | rest["workflow_steps"] == whole["workflow_steps"]
    assert not first["workflow_steps"].keys() & rest["workflow_steps"].keys()
    assert [rest[table] for table in MERGED] == [whole[table] for table in MERGED]


def test_what_the_fold_does_not_know_is_an_error() -> None:
    class Unknown(Data):
        pass

    with pytest.raises(TypeError, match="Unknown"):
        Fold().add(step().model_copy(update={"data": Unknown()}))


def written(*operations: Operation, writes: tuple[Row, ...], table: str, key: Any) -> Row:
    """The row of the operations and generic writes; the same whichever of them come first."""
    folds = Fold(), Fold()
    for fold_, backwards in zip(folds, (False, True), strict=True):
        if backwards:
            for write in reversed(writes):
                fold_.write(table, key, **write)
        for operation in operations:
            fold_.add(operation)
        for write in writes:
            fold_.write(table, key, **write)
    one, other = (fold_.rows()[table][key] for fold_ in folds)
    assert one == other
    return one


def generic(minute: int, *, inserts: bool = False, **columns: Any) -> Row:
    number = UUID(int=HIGH.int + minute)
    return {"columns": columns, "at": at(minute), "operation_id": number, "inserts": inserts}


def test_a_generic_write_takes_its_place_among_the_events_by_its_time() -> None:
    row = written(
        execution(WORKFLOW, occurred_at=at(1), namespace="old", workflow_type="old", file_hash="aa"),
        execution(WORKFLOW, occurred_at=at(3), workflow_type="new"),
        writes=(generic(2, namespace="written", workflow_type="written", file_hash=None),),
        table="workflow_executions",
        key=WORKFLOW,
    )
    assert (row["namespace"], row["workflow_type"], row["file_hash"]) == ("written", "new", None)


@pytest.mark.parametrize(("state", "stays"), [("PROCESSING", "COMPLETED"), ("FAILED", "FAILED")])
def test_a_generic_write_of_a_workflow_state_has_its_rank_counted_first(state: str, stays: str) -> None:
    told = execution(WORKFLOW, state="COMPLETED", occurred_at=at(1))
    writes = (generic(2, current_state=state),)
    assert written(told, writes=writes, table="workflow_executions", key=WORKFLOW)["current_state"] == stays


def test_a_generic_write_replaces_metadata_and_later_keys_stand_on_top_of_it() -> None:
    row = written(
        execution(WORKFLOW, occurred_at=at(1), metadata={"a": "early", "b": "early"}),
        execution(WORKFLOW, occurred_at=at(5), metadata={"c": "late"}),
        writes=(generic(2, metadata={"gone": 1}), generic(3, metadata={"a": "written", "c": "written"})),
        table="workflow_executions",
        key=WORKFLOW,
    )
    assert row["metadata"] == {"a": "written", "c": "late"}


def test_a_generic_insert_tells_a_start_which_an_earlier_one_may_lower() -> None:
    row = written(
        step(WORKFLOW),
        execution(WORKFLOW, occurred_at=at(9), started_at=at(4)),
        writes=(generic(2, inserts=True, current_state="PENDING", started_at=at(6)),),
        table="workflow_executions",
        key=WORKFLOW,
    )
    assert row["started_at"] == at(4)


def test_a_generic_insert_of_a_bridge_is_a_snapshot_and_an_update_one_of_its_columns() -> None:
    def bridge(*writes: Row) -> Row:
        older = bridge_state(BRIDGE, occurred_at=at(1), node_type="older", total_items_aggregated=5)
        added = contribution(BRIDGE, current_fsm_state="ADDED", occurred_at=at(4), namespaces={"tests": OF_ALL})
        return written(older, added, writes=writes, table="bridge_states", key=(BRIDGE, "tests"))

    update = bridge(generic(3, total_items_aggregated=7, current_fsm_state="WRITTEN"))
    assert (update["node_type"], update["total_items_aggregated"]) == ("older", 9)
    assert update["current_fsm_state"] == "ADDED"
    insert = bridge(generic(3, inserts=True, current_fsm_state="WRITTEN", aggregation_type=None))
    assert (insert["node_type"], insert["total_items_aggregated"], insert["aggregation_type"]) == (None, 2, None)
    both = bridge(generic(5, version=8, current_fsm_state="WRITTEN"), generic(3, inserts=True, current_fsm_state="X"))
    assert (both["version"], both["current_fsm_state"], both["aggregation_metadata"]) == (8, "WRITTEN", {"a": 1})


def test_a_newer_snapshot_replaces_what_was_written_before_it() -> None:
    newer = bridge_state(BRIDGE, occurred_at=at(4), node_type="newer")
    writes = (generic(3, node_type="written", version=8), generic(5, configuration={"written": 1}))
    row = written(newer, writes=writes, table="bridge_states", key=(BRIDGE, "tests"))
    assert (row["node_type"], row["version"], row["configuration"]) == ("newer", 1, {"written": 1})


def test_a_node_s_health_and_heartbeat_are_written_apart() -> None:
    beats = heartbeat("n", occurred_at=at(1), health_status="HEALTHY"), heartbeat("n", occurred_at=at(3))
    row = written(*beats, writes=(generic(4, health_status="UNHEALTHY"),), table="node_registrations", key="n")
    assert (row["health_status"], row["last_heartbeat"]) == ("UNHEALTHY", at(3))


def test_the_fold_takes_no_generic_write_of_what_is_only_appended() -> None:
    with pytest.raises(TypeError, match="workflow_steps"):
        Fold().write("workflow_steps", WORKFLOW, **generic(1, status="DONE"))
