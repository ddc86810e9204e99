"""Metadata against its schemas, to the letter and as nodes send it."""

from typing import Any

import pytest

from omninode_bridge.contract.enums import EnumEntityType
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence.metadata_schemas import MetadataKind, check_metadata, validate

GOOD: list[tuple[MetadataKind, dict[str, Any]]] = [
    ("workflow", {"workflow_type": "stamping", "user_id": "u1", "steps_completed": 0, "custom_data": {"a": [1]}}),
    ("workflow", {"priority": 1, "tags": []}),
    ("workflow", {"priority": 10, "tags": ["a", "b"]}),
    ("workflow", {"anything": object.__name__, "else": None}),
    ("node", {"environment": "dev", "region": "eu", "deployment_id": "d", "author": "a", "description": ""}),
    ("node", {"environment": "staging", "version": "1.20.300"}),
    ("node", {"environment": "prod", "tags": ["gpu"]}),
    ("node", {"resource_limits": {"cpu_cores": 0.5, "memory_mb": 0, "max_connections": 20, "disks": 2}}),
    ("bridge", {"aggregation_window": "5m", "window_size_ms": 0, "batch_size": 1, "last_window_items": 0}),
    ("bridge", {"state_version": 0, "aggregation_type": "NAMESPACE_GROUPING"}),
    ("bridge", {"aggregation_type": "CUSTOM", "version": "1.0.0"}),
]
# Each with the field that is wrong; the second group is fine for the lenient form.
WRONG: list[tuple[MetadataKind, dict[str, Any], str]] = [
    ("workflow", {"workflow_type": 1}, "workflow_type"),
    ("workflow", {"priority": 0}, "priority"),
    ("workflow", {"priority": 11}, "priority"),
    ("workflow", {"priority": True}, "priority"),
    ("workflow", {"priority": 1.5}, "priority"),
    ("workflow", {"priority": " "}, "priority"),
    ("workflow", {"priority": {}}, "priority"),
    ("workflow", {"tags": "a"}, "tags"),
    ("workflow", {"tags": ["a", 1]}, "tags.1"),
    ("workflow", {"user_id": 7}, "user_id"),
    ("workflow", {"steps_completed": -1}, "steps_completed"),
    ("workflow", {"steps_completed": "3"}, "steps_completed"),
    ("workflow", {"custom_data": []}, "custom_data"),
    ("node", {"environment": 1}, "environment"),
    ("node", {"region": []}, "region"),
    ("node", {"version": 1}, "version"),
    ("node", {"tags": {"a": "b"}}, "tags"),
    ("node", {"resource_limits": 4}, "resource_limits"),
    ("node", {"resource_limits": {"cpu_cores": -1}}, "resource_limits.cpu_cores"),
    ("node", {"resource_limits": {"memory_mb": 0.5}}, "resource_limits.memory_mb"),
    ("node", {"resource_limits": {"max_connections": "9"}}, "resource_limits.max_connections"),
    ("bridge", {"aggregation_window": 5}, "aggregation_window"),
    ("bridge", {"window_size_ms": -1}, "window_size_ms"),
    ("bridge", {"batch_size": 0}, "batch_size"),
    ("bridge", {"last_window_items": None, "state_version": -1}, "state_version"),
    ("bridge", {"aggregation_type": "BY_COLOUR"}, "aggregation_type"),
    ("bridge", {"aggregation_type": 3}, "aggregation_type"),
]
LENIENT: list[tuple[MetadataKind, dict[str, Any], str]] = [
    ("workflow", {"priority": "high"}, "priority"),
    ("workflow", {"user_id": None}, "user_id"),
    ("node", {"environment": "production"}, "environment"),
    ("node", {"environment": "development"}, "environment"),
    ("node", {"version": "v1.2"}, "version"),
    ("bridge", {"aggregation_type": "time_window"}, "aggregation_type"),
    ("bridge", {"aggregation_type": "Time_Window"}, "aggregation_type"),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind, metadata", GOOD)
def test_what_the_schema_allows_is_fine(kind: MetadataKind, metadata: dict[str, Any], strict: bool) -> None:
    validate(kind, metadata, strict=strict)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind, metadata, field", WRONG)
def test_what_is_wrong_is_named(kind: MetadataKind, metadata: dict[str, Any], field: str, strict: bool) -> None:
    with pytest.raises(ValueError, match=r"^Metadata validation failed: ") as caught:
        validate(kind, metadata, strict=strict)
    assert f"{field}: " in str(caught.value)


@pytest.mark.parametrize("kind, metadata, field", LENIENT)
def test_what_nodes_send_is_fine_unless_the_schema_is_to_be_kept_to_the_letter(
    kind: MetadataKind, metadata: dict[str, Any], field: str
) -> None:
    validate(kind, metadata, strict=False)
    with pytest.raises(ValueError, match=f"^Metadata validation failed: {field}: "):
        validate(kind, metadata)


@pytest.mark.parametrize("kind", ["workflow", "node", "bridge"])
def test_nothing_is_not_looked_at_and_something_must_be_an_object(kind: MetadataKind) -> None:
    validate(kind, {})
    validate(kind, None)
    with pytest.raises(ValueError, match=r"^Metadata validation failed: "):
        validate(kind, [1])  # type: ignore[arg-type]  # what is refused


def test_wrong_values_are_not_repeated() -> None:
    with pytest.raises(ValueError, match="Metadata validation failed") as caught:
        validate("node", {"environment": "'; drop table x"})
    assert "drop" not in str(caught.value)


@pytest.mark.parametrize(
    "entity_type, fields, where",
    [
        ("workflow_execution", {"metadata": {"priority": 99}}, "metadata: Metadata validation failed: priority: "),
        ("node_heartbeat", {"metadata": {"tags": 1}}, "metadata: Metadata validation failed: tags: "),
        ("bridge_state", {"aggregation_metadata": {"batch_size": 0}}, "aggregation_metadata: Metadata validation"),
    ],
)
def test_an_entitys_column_is_checked_leniently(entity_type: str, fields: dict[str, Any], where: str) -> None:
    with pytest.raises(OnexError) as caught:
        check_metadata(EnumEntityType(entity_type), fields)
    assert caught.value.error_code == "VALIDATION_ERROR"
    assert caught.value.message.startswith(where)


def test_columns_without_a_schema_are_left_alone() -> None:
    check_metadata(EnumEntityType.BRIDGE_STATE, {"metadata": {"aggregation_type": 1}})
    check_metadata(EnumEntityType.FSM_TRANSITION, {"metadata": {"priority": 99}})
    check_metadata(EnumEntityType.WORKFLOW_EXECUTION, {"current_state": "PENDING"})
    check_metadata(EnumEntityType.WORKFLOW_EXECUTION, {"metadata": {"priority": "high"}})
