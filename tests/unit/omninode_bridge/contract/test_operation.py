"""The operations: what they take, and that they cannot be changed."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from omninode_bridge.bus.envelope import DLQ_SUFFIX
from omninode_bridge.contract.intent_operation import FsmTransitionIntentData, PublishEventData
from omninode_bridge.contract.operation import (
    Data,
    EventData,
    NodeHeartbeatData,
    Operation,
    PersistWorkflowStep,
    WorkflowStepData,
)
from omninode_bridge.contract.operation_types import BLOCKS, OPERATION_CLASSES, PERSIST_TYPES, operation_of
from omninode_bridge.contract.values import MAX_TOPIC_CHARS

ID = "0f4e1a52-7f7c-4c39-8c3c-000000000001"
LEAST: dict[str, dict[str, Any]] = {
    "persist_workflow_execution": {"correlation_id": ID, "current_state": "pending"},
    "persist_workflow_step": {"workflow_id": ID, "step_name": "s", "step_order": 0, "status": "completed"},
    "persist_bridge_state": {"bridge_id": ID, "namespace": "n", "current_fsm_state": "idle"},
    "persist_fsm_transition": {"entity_id": ID, "entity_type": "workflow", "to_state": "a", "transition_event": "e"},
    "persist_metadata_stamp": {"stamp_data": {}},
    "update_node_heartbeat": {"node_id": "n", "health_status": "healthy"},
    "record_event": {"event_type": "e", "payload": {}},
    "publish_event": {"event_type": "e", "payload": {}},
    "persist_state": {"aggregation_id": ID, "current_fsm_state": "unknown", "namespaces": {}},
    "persist_fsm_transition_intent": {
        "entity_id": ID,
        "entity_type": "order",
        "to_state": "a",
        "transition_event": "e",
    },
    "recover_fsm_states": {},
    "answer_query": {"query": {}},
    "database_operation": {"request": {}},
}


def data_class(name: str) -> type[Data]:
    found: Any = OPERATION_CLASSES[name].model_fields["data"].annotation
    assert issubclass(found, Data)
    cls: type[Data] = found
    return cls


@pytest.mark.parametrize("name", OPERATION_CLASSES)
class TestEveryOperation:
    def test_needs_its_few_fields_and_no_other(self, name: str) -> None:
        data = data_class(name).model_validate(LEAST[name])
        operation = operation_of(data)
        assert isinstance(operation, OPERATION_CLASSES[name]) and operation.operation_type == name
        assert operation.data is data
        for field in LEAST[name]:
            with pytest.raises(ValidationError, match=field):
                data_class(name).model_validate({k: v for k, v in LEAST[name].items() if k != field})

    def test_takes_none_for_what_is_not_given(self, name: str) -> None:
        cls = data_class(name)
        optional = {field: None for field in cls.model_fields if field not in LEAST[name]}
        data = cls.model_validate({**LEAST[name], **optional})
        assert data == cls.model_validate(LEAST[name])

    def test_refuses_fields_that_nobody_knows(self, name: str) -> None:
        with pytest.raises(ValidationError, match="surprise"):
            data_class(name).model_validate({**LEAST[name], "surprise": 1})

    def test_cannot_be_changed(self, name: str) -> None:
        operation = operation_of(data_class(name).model_validate(LEAST[name]))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(operation, "digest", "0" * 32)  # noqa: B010  # mypy knows that it is read-only
        with pytest.raises(ValidationError, match="frozen"):
            setattr(operation.data, next(iter(data_class(name).model_fields)), None)

    def test_takes_no_other_operations_type(self, name: str) -> None:
        with pytest.raises(ValidationError, match="operation_type"):
            OPERATION_CLASSES[name].model_validate({"operation_type": "refusal", "data": LEAST[name]})


def test_an_operation_is_given_an_id_and_a_time() -> None:
    data = NodeHeartbeatData(node_id="n", health_status="healthy")
    one, other = operation_of(data), operation_of(data)
    assert one.operation_id.version == 7 and one.operation_id != other.operation_id
    assert abs((datetime.now(UTC) - one.occurred_at).total_seconds()) < 60


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("operation_id", uuid4()),
        ("operation_id", "x"),
        ("correlation_id", "x"),
        ("occurred_at", datetime(2026, 1, 1)),  # noqa: DTZ001  # that is the point
        ("occurred_at", None),
        ("digest", "x"),
        ("event", {"event_type": "e"}),
        ("surprise", 1),
    ],
)
def test_what_an_operation_carries_is_checked(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        operation_of(NodeHeartbeatData(node_id="n", health_status="healthy"), **{field: value})


def test_an_operation_takes_only_the_data_of_its_type() -> None:
    with pytest.raises(ValidationError, match="data"):
        PersistWorkflowStep.model_validate({"data": NodeHeartbeatData(node_id="n", health_status="healthy")})


def test_the_six_persist_operations_have_a_block_and_no_other() -> None:
    assert set(BLOCKS.values()) == set(PERSIST_TYPES) and len(BLOCKS) == 6
    assert BLOCKS["workflow_step_data"] == "persist_workflow_step"
    assert EventData.BLOCK not in BLOCKS


@pytest.mark.parametrize(
    ("from_state", "to_state", "allowed"),
    [
        (None, "PENDING", True),
        (None, "PROCESSING", True),
        (None, "COMPLETED", False),
        ("pending", "processing", True),
        ("PENDING", "FAILED", True),
        ("PENDING", "COMPLETED", False),
        ("PROCESSING", "COMPLETED", True),
        ("PROCESSING", "FAILED", True),
        ("PROCESSING", "PENDING", False),
        ("PROCESSING", "PROCESSING", False),
        ("COMPLETED", "FAILED", False),
        ("ELSEWHERE", "PROCESSING", False),
    ],
)
def test_an_intent_moves_a_workflow_only_as_workflows_move(
    from_state: str | None, to_state: str, allowed: bool
) -> None:
    fields = {"entity_id": ID, "transition_event": "e", "from_state": from_state, "to_state": to_state}
    free = FsmTransitionIntentData.model_validate({**fields, "entity_type": "order"})
    assert free.to_state == to_state.upper()
    if allowed:
        FsmTransitionIntentData.model_validate({**fields, "entity_type": "workflow"})
    else:
        with pytest.raises(ValidationError, match="is no move of a workflow"):
            FsmTransitionIntentData.model_validate({**fields, "entity_type": "workflow"})


def test_an_event_is_published_only_on_a_topic_that_has_a_dead_letter_topic() -> None:
    longest = MAX_TOPIC_CHARS - len(DLQ_SUFFIX)
    assert PublishEventData(event_type="e", payload={}, topic="t" * longest).topic == "t" * longest
    with pytest.raises(ValidationError, match="topic"):
        PublishEventData(event_type="e", payload={}, topic="t" * (longest + 1))


def test_data_normalises_what_it_is_given() -> None:
    data = WorkflowStepData.model_validate({**LEAST["persist_workflow_step"], "step_name": " s ", "step_order": 1})
    assert (data.step_name, data.status, str(data.workflow_id)) == ("s", "COMPLETED", ID)
    event = operation_of(EventData(event_type="e", payload={"a": None}))
    assert isinstance(event, Operation) and event.model_dump(exclude_none=True)["data"]["payload"] == {"a": None}
