"""One behaviour, two ways: every operation, in both vocabularies, through each of the adapters."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.persistence.adapter import DatabaseAdapter
from omninode_bridge.persistence.entities import ENTITY_MODELS, ModelBridgeState
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, ModelDatabaseOperationOutput
from tests.acceptance.adapters import done, process, run

pytestmark = pytest.mark.acceptance

Fields = dict[str, Any]


def state(**fields: Any) -> Fields:
    return {"bridge_id": str(uuid4()), "namespace": "ns", "current_fsm_state": "ACTIVE"} | fields


def workflow(**fields: Any) -> Fields:
    known = {"workflow_type": "metadata_stamping", "current_state": "PROCESSING", "namespace": "ns"}
    return {"correlation_id": str(uuid4())} | known | fields


def insert(adapter: DatabaseAdapter, entity_type: str, entity: Any, **fields: Any) -> Any:
    return done(adapter, "insert", entity_type=entity_type, entity=entity, **fields)


def items(adapter: DatabaseAdapter, entity_type: str, **fields: Any) -> list[Fields]:
    found: list[Fields] = done(adapter, "query", entity_type=entity_type, **fields)["items"]
    return found


def refused(output: ModelDatabaseOperationOutput) -> tuple[str | None, str]:
    assert not output.success and output.rows_affected == 0 and output.result_data is None
    return output.error_code, output.error_message or ""


# ---- generic operations ----------------------------------------------------------------------------------------------


def test_each_kind_of_row_is_inserted_and_read_as_its_model(adapter: DatabaseAdapter) -> None:
    execution = workflow()
    rows: dict[str, Fields] = {
        "workflow_execution": execution,
        "workflow_step": {
            "workflow_id": execution["correlation_id"],
            "step_name": "hash",
            "step_order": 1,
            "status": "COMPLETED",
        },
        "bridge_state": state(aggregation_metadata={"version": "1.0.0"}),
        "fsm_transition": {
            "entity_id": str(uuid4()),
            "entity_type": "order",
            "to_state": "A",
            "transition_event": "begun",
        },
        "metadata_stamp": {
            "workflow_id": execution["correlation_id"],
            "stamp_data": {"v": 1},
            "namespace": "ns",
            "file_hash": "ab12",
        },
        "node_heartbeat": {"node_id": "node-1", "node_type": "effect", "health_status": "HEALTHY"},
    }
    for entity_type, entity in rows.items():
        output = process(adapter, "insert", entity_type=entity_type, entity=entity)
        assert (output.success, output.operation_type, output.rows_affected) == (True, "insert", 1), output
        assert output.result_data is not None and output.result_data.keys() == {"id"}
        (item,) = items(adapter, entity_type)
        model: Any = next(cls for name, cls in ENTITY_MODELS.items() if name == entity_type)
        assert entity.items() <= model.model_validate(item).model_dump(mode="json").items()


def test_update_count_exists_and_delete_follow_the_filters(adapter: DatabaseAdapter) -> None:
    for n in range(3):
        insert(adapter, "bridge_state", state(total_items_aggregated=n, namespace=f"ns-{n % 2}"))
    named: Fields = {"entity_type": "bridge_state", "query_filters": {"namespace": "ns-0"}}
    assert done(adapter, "count", **named) == {"count": 2}
    assert done(adapter, "exists", **named) == {"exists": True}
    updated = process(adapter, "update", entity={"current_fsm_state": "IDLE"}, **named)
    assert (updated.rows_affected, updated.result_data) == (2, None)
    assert {one["current_fsm_state"] for one in items(adapter, **named)} == {"IDLE"}
    assert process(adapter, "delete", **named).rows_affected == 2
    assert done(adapter, "exists", **named) == {"exists": False}
    nothing = process(adapter, "delete", **named)
    assert nothing.success and nothing.rows_affected == 0
    assert done(adapter, "count", entity_type="bridge_state") == {"count": 1}


def test_an_upsert_makes_the_row_and_then_changes_it(adapter: DatabaseAdapter) -> None:
    bridge = state(total_items_aggregated=1)
    key = {"bridge_id": bridge["bridge_id"], "namespace": "ns"}
    for total in (1, 7):
        entity = ModelBridgeState.model_validate(bridge | {"total_items_aggregated": total})
        output = process(adapter, "upsert", entity_type="bridge_state", entity=entity, query_filters=key)
        assert output.success and output.rows_affected == 1 and output.result_data is not None
    (row,) = items(adapter, "bridge_state")
    assert (row["total_items_aggregated"], row["row_version"]) == (7, 2)


def test_a_batch_is_inserted_whole_or_not_at_all(adapter: DatabaseAdapter) -> None:
    batch = [state(total_items_aggregated=n) for n in range(100)]
    output = process(adapter, "batch_insert", entity_type="bridge_state", batch_entities=batch)
    assert output.rows_affected == 100 and output.result_data is not None
    assert len(set(output.result_data["ids"])) == 100
    again = [state() for _ in range(10)] + [batch[7]]
    code, _ = refused(process(adapter, "batch_insert", entity_type="bridge_state", batch_entities=again))
    assert code == "CONFLICT"
    assert done(adapter, "count", entity_type="bridge_state") == {"count": 100}


def test_pages_visit_each_row_once_by_offset_and_by_token(adapter: DatabaseAdapter) -> None:
    batch = [state(total_items_aggregated=n // 3) for n in range(20)]
    done(adapter, "batch_insert", entity_type="bridge_state", batch_entities=batch)
    sort: Fields = {"entity_type": "bridge_state", "sort_by": "total_items_aggregated", "sort_order": "asc", "limit": 6}
    by_offset = [one["bridge_id"] for offset in (0, 6, 12, 18) for one in items(adapter, **sort, offset=offset)]
    by_token: list[str] = []
    page: str | None = ""
    while page is not None:
        answer = done(adapter, "query", **sort, page=page)
        by_token += [one["bridge_id"] for one in answer["items"]]
        page = answer["next_page"]
    assert by_offset == by_token and len(set(by_token)) == 20


def test_null_is_set_and_found(adapter: DatabaseAdapter) -> None:
    insert(adapter, "workflow_execution", workflow(error_message="broken"))
    named: Fields = {"entity_type": "workflow_execution", "query_filters": {"error_message__ne": None}}
    assert done(adapter, "count", **named) == {"count": 1}
    assert process(adapter, "update", entity={"error_message": None}, **named).rows_affected == 1
    assert len(items(adapter, "workflow_execution", query_filters={"error_message": None})) == 1


def test_of_updates_that_expect_a_version_one_wins(adapter: DatabaseAdapter) -> None:
    bridge = state()
    (row,) = insert(adapter, "bridge_state", bridge, returning=True)["rows"]

    async def race() -> list[ModelDatabaseOperationOutput]:
        return await asyncio.gather(
            *[
                adapter.process(
                    ModelDatabaseOperationInput(
                        operation_type="update",
                        entity_type="bridge_state",
                        entity={"total_items_aggregated": n},
                        query_filters={"bridge_id": bridge["bridge_id"]},
                        expected_version=row["row_version"],
                    )
                )
                for n in range(1, 6)
            ]
        )

    outputs = run(race())
    assert [one.success for one in outputs].count(True) == 1
    assert {one.error_code for one in outputs if not one.success} == {"CONFLICT"}


# ---- the platform's other vocabulary ---------------------------------------------------------------------------------


def test_the_six_persist_operations_are_taken(adapter: DatabaseAdapter) -> None:
    trace = uuid4()
    blocks: dict[str, Fields] = {
        "persist_workflow_execution": {"workflow_type": "t", "current_state": "PROCESSING", "namespace": "n"},
        "persist_workflow_step": {
            "workflow_id": str(trace),
            "step_name": "s",
            "step_order": 1,
            "status": "COMPLETED",
        },
        "persist_bridge_state": state(),
        "persist_fsm_transition": {
            "entity_id": str(trace),
            "entity_type": "workflow",
            "to_state": "PROCESSING",
            "transition_event": "started",
        },
        "persist_metadata_stamp": {"workflow_id": str(trace), "stamp_data": {"v": 1}, "namespace": "n"},
        "update_node_heartbeat": {
            "node_id": "n",
            "health_status": "healthy",
            "last_heartbeat": datetime.now(UTC).isoformat(),
        },
    }
    for name, block in blocks.items():
        field = name.removeprefix("persist_").removeprefix("update_") + "_data"
        output = process(adapter, name, correlation_id=trace, **{field: block})
        assert (output.success, output.rows_affected, output.correlation_id) == (True, 1, trace), output
        assert output.operation_type == name
    (row,) = items(adapter, "workflow_execution")
    assert (row["correlation_id"], row["current_state"]) == (str(trace), "PROCESSING")
    for entity_type in ("workflow_step", "fsm_transition", "metadata_stamp", "node_heartbeat", "bridge_state"):
        assert done(adapter, "count", entity_type=entity_type) == {"count": 1}


def test_events_and_generic_operations_meet_in_the_same_row(adapter: DatabaseAdapter) -> None:
    trace = uuid4()
    started = {"workflow_type": "t", "current_state": "PROCESSING", "namespace": "n", "metadata": {"a": 1}}
    done(adapter, "persist_workflow_execution", correlation_id=trace, workflow_execution_data=started)
    named: Fields = {"entity_type": "workflow_execution", "query_filters": {"correlation_id": str(trace)}}
    done(adapter, "update", entity={"execution_time_ms": 5, "current_state": "COMPLETED"}, **named)
    done(adapter, "persist_workflow_execution", correlation_id=trace, workflow_execution_data=started)
    (row,) = items(adapter, **named)
    assert (row["current_state"], row["execution_time_ms"], row["metadata"]) == ("COMPLETED", 5, {"a": 1})


# ---- once ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation_type", ["insert", "persist_fsm_transition"])
def test_the_same_operation_id_counts_once_and_is_answered_the_same(
    adapter: DatabaseAdapter, operation_type: str
) -> None:
    move = {"entity_id": str(uuid4()), "entity_type": "order", "to_state": "A", "transition_event": "e"}
    named: Fields = {"entity_type": "fsm_transition", "entity": move, "fsm_transition_data": move}
    wanted = ("entity_type", "entity") if operation_type == "insert" else ("fsm_transition_data",)
    given = {name: named[name] for name in wanted} | {"operation_id": uuid7()}
    first, again = (process(adapter, operation_type, **given) for _ in range(2))
    same = {"execution_time_ms", "correlation_id"}
    assert first.success and first.model_dump(exclude=same) == again.model_dump(exclude=same)
    assert done(adapter, "count", entity_type="fsm_transition") == {"count": 1}


def test_a_refusal_is_answered_the_same_although_the_reason_is_gone(adapter: DatabaseAdapter) -> None:
    bridge, again = state(), {"operation_id": uuid7()}
    insert(adapter, "bridge_state", bridge)
    first = process(adapter, "insert", entity_type="bridge_state", entity=bridge, **again)
    done(adapter, "delete", entity_type="bridge_state", query_filters={"bridge_id": bridge["bridge_id"]})
    second = process(adapter, "insert", entity_type="bridge_state", entity=bridge, **again)
    assert refused(first) == refused(second) and first.error_code == "CONFLICT"


def test_of_twenty_that_create_the_same_row_at_once_one_succeeds(adapter: DatabaseAdapter) -> None:
    entity = state()

    async def create() -> ModelDatabaseOperationOutput:
        return await adapter.process(
            ModelDatabaseOperationInput(operation_type="insert", entity_type="bridge_state", entity=entity)
        )

    async def race() -> list[ModelDatabaseOperationOutput]:
        return await asyncio.gather(*[create() for _ in range(20)])

    outputs = run(race())
    assert [one.success for one in outputs].count(True) == 1
    assert {one.error_code for one in outputs if not one.success} == {"CONFLICT"}


def test_twenty_rows_are_created_at_once(adapter: DatabaseAdapter) -> None:
    async def create() -> list[ModelDatabaseOperationOutput]:
        made = [
            ModelDatabaseOperationInput(operation_type="insert", entity_type="workflow_execution", entity=workflow())
            for _ in range(20)
        ]
        return await asyncio.gather(*map(adapter.process, made))

    assert all(one.success for one in run(create()))
    assert done(adapter, "count", entity_type="workflow_execution") == {"count": 20}


# ---- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation_type", "fields", "code", "message"),
    [
        ("insert", {"entity_type": "nothing", "entity": {}}, "VALIDATION_ERROR", "entity_type: not one of"),
        ("insert", {"entity_type": "bridge_state"}, "VALIDATION_ERROR", "entity: "),
        ("insert", {"entity_type": "bridge_state", "entity": {"namespace": "n"}}, "VALIDATION_ERROR", "bridge_id"),
        ("update", {"entity_type": "bridge_state", "entity": {"version": 2}}, "VALIDATION_ERROR", "query_filters"),
        ("delete", {"entity_type": "bridge_state"}, "VALIDATION_ERROR", "query_filters"),
        ("exists", {"entity_type": "bridge_state"}, "VALIDATION_ERROR", "query_filters"),
        ("batch_insert", {"entity_type": "bridge_state", "batch_entities": []}, "VALIDATION_ERROR", "batch_entities"),
        (
            "query",
            {"entity_type": "bridge_state", "query_filters": {"namespace__like": "x"}},
            "VALIDATION_ERROR",
            "Unsupported operator",
        ),
        (
            "query",
            {"entity_type": "bridge_state", "sort_by": "namespace; drop table bridge_states"},
            "VALIDATION_ERROR",
            "SQL identifier contains invalid characters",
        ),
        (
            "upsert",
            {
                "entity_type": "bridge_state",
                "entity": {"bridge_id": str(uuid4())},
                "query_filters": {"bridge_id": 1},
            },
            "VALIDATION_ERROR",
            "at least one non-conflict column",
        ),
        (
            "insert",
            {
                "entity_type": "workflow_step",
                "entity": {"workflow_id": str(uuid4()), "step_name": "s", "step_order": 1, "status": "COMPLETED"},
            },
            "NOT_FOUND",
            "workflow",
        ),
        (
            "insert",
            {"entity_type": "bridge_state", "entity": state(), "operation_id": "old"},
            "TOO_OLD",
            "operation_id",
        ),
        ("health_check", {}, "VALIDATION_ERROR", "is not offered"),
        ("batch_update", {}, "VALIDATION_ERROR", "is not offered"),
        ("count", {"entity_type": "bridge_state", "correlation_id": UUID(int=0)}, "VALIDATION_ERROR", "correlation_id"),
    ],
)
def test_what_is_wrong_is_answered_and_said(
    adapter: DatabaseAdapter, operation_type: str, fields: Fields, code: str, message: str
) -> None:
    if fields.get("operation_id") == "old":
        fields = fields | {"operation_id": UUID("01700000-0000-7000-8000-000000000001")}
    found = refused(process(adapter, operation_type, **fields))
    assert found[0] == code and message in found[1], found
    assert "drop table" not in found[1]
    assert done(adapter, "count", entity_type="bridge_state") == {"count": 0}


def test_the_health_and_the_metrics_have_the_platforms_keys(adapter: DatabaseAdapter) -> None:
    async def use() -> tuple[Fields, Fields]:
        async with adapter:
            for given in (state(), state(), {}):
                operation = ModelDatabaseOperationInput(
                    operation_type="insert", entity_type="bridge_state", entity=given
                )
                await adapter.process(operation)
            return await adapter.get_health_status(), await adapter.get_metrics()

    health, metrics = run(use())
    assert (health["healthy"], health["success"], health["circuit_breaker_status"]) == (True, True, "CLOSED"), health
    assert health["database_version"].startswith("PostgreSQL ")
    stats = health["connection_stats"]
    assert stats["pool_size"] == stats["active_connections"] + stats["idle_connections"] > 0 < stats["total_queries"]
    assert health["execution_time_ms"] > 0 and health["connection_pool_size"] == stats["pool_size"]
    assert metrics["operations_by_type"] == {"insert": 3} and metrics["total_operations"] == 3
    assert metrics["errors"]["errors_by_type"] == {"VALIDATION_ERROR": 1}
    assert metrics["error_rate"] == pytest.approx(1 / 3) and metrics["avg_execution_times"]["insert"] > 0
    assert metrics["pool_efficiency"] is None or 0 <= metrics["pool_efficiency"] <= 1
    assert {"performance", "throughput", "circuit_breaker", "uptime_seconds"} <= metrics.keys()


def test_an_adapter_serves_one_event_loop_after_another_and_ends_for_good(adapter: DatabaseAdapter) -> None:
    for _ in range(3):
        assert done(adapter, "count", entity_type="bridge_state") == {"count": 0}
    run(adapter.shutdown())
    run(adapter.shutdown())
    assert refused(process(adapter, "count", entity_type="bridge_state"))[0] == "SERVICE_UNAVAILABLE"
    assert run(adapter.get_health_status())["database_status"] == "UNHEALTHY"
