"""What an operation must have before it is sent."""

import logging
from typing import Any
from uuid import UUID, uuid4

import pytest

from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence import ModelDatabaseOperationInput
from omninode_bridge.persistence.models import request_of
from omninode_bridge.persistence.security import MAX_BYTES, validate_operation


def operation(operation_type: str = "insert", **fields: Any) -> ModelDatabaseOperationInput:
    given: dict[str, Any] = {"entity_type": "workflow_execution", "correlation_id": uuid4()}
    return ModelDatabaseOperationInput(operation_type=operation_type, **given | fields)


def of_size(size_bytes: int) -> ModelDatabaseOperationInput:
    """An operation whose JSON has this many bytes."""
    empty = operation(entity={"error_message": ""})
    rest = validate_operation(empty).details["size_bytes"]
    return empty.model_copy(update={"entity": {"error_message": "x" * (size_bytes - rest)}})


def test_a_complete_operation_is_valid() -> None:
    result = validate_operation(operation(entity={"current_state": "PENDING"}))
    assert (result.valid, result.errors, result.warnings) == (True, [], [])
    assert 0 < result.details["size_bytes"] < result.details["max_bytes"] == MAX_BYTES


def test_a_trace_id_of_zeros_is_refused() -> None:
    result = validate_operation(operation("query", correlation_id=UUID(int=0)), strict=False)
    assert not result.valid
    assert result.errors[0].startswith("correlation_id: ")


@pytest.mark.parametrize(
    "operation_type, needed",
    [
        ("insert", "entity"),
        ("UPDATE", "entity"),
        ("upsert", "entity"),
        ("batch_insert", "batch_entities"),
        ("persist_workflow_step", "workflow_step_data"),
        ("update_node_heartbeat", "node_heartbeat_data"),
    ],
)
def test_what_an_operation_is_about_must_be_there(operation_type: str, needed: str) -> None:
    with pytest.raises(OnexError, match=f"{needed}: required for {operation_type.lower()}") as caught:
        validate_operation(operation(operation_type))
    assert caught.value.error_code == "VALIDATION_ERROR"


def test_an_empty_batch_is_not_there_and_an_empty_entity_is() -> None:
    assert not validate_operation(operation("batch_insert", batch_entities=[]), strict=False).valid
    assert validate_operation(operation("update", entity={})).valid


@pytest.mark.parametrize("operation_type", ["query", "count", "exists", "delete", "trace_workflow", "batch_update"])
def test_other_operations_need_no_content(operation_type: str) -> None:
    assert validate_operation(operation(operation_type)).valid


def test_the_size_is_bounded_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert validate_operation(of_size(MAX_BYTES)).valid
    with pytest.raises(OnexError, match="exceeds maximum"):
        validate_operation(of_size(MAX_BYTES + 1))
    assert validate_operation(of_size(int(MAX_BYTES * 0.8))).warnings == []
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        (warning,) = validate_operation(of_size(int(MAX_BYTES * 0.81))).warnings
    assert warning in caplog.text
    assert "xxx" not in caplog.text


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(OnexError) as caught:
        validate_operation(operation("insert", correlation_id=UUID(int=0)))
    assert caught.value.message.count("; ") == 1
    assert caught.value.message.startswith("correlation_id: ") and "entity: required" in caught.value.message


def test_values_are_data() -> None:
    hostile = operation(entity={"error_message": "'; drop table workflow_executions; --"})
    assert validate_operation(hostile, request_of(hostile)).valid
