"""A database operation and its answer, in the platform's shapes.

Both vocabularies are taken: the generic operations name an `entity_type`; the six `persist_*` ones bring their block
(`workflow_execution_data`, ...). Reports are operations too, with their parameters as `query_filters`.
"""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, field_validator

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.enums import EnumDatabaseOperationType
from omninode_bridge.contract.errors import invalid
from omninode_bridge.contract.json_values import plain
from omninode_bridge.contract.names import repeatable
from omninode_bridge.contract.operation_types import BLOCKS
from omninode_bridge.contract.values import OperationId
from omninode_bridge.persistence.entities import (
    ENTITY_MODELS,
    MADE_BY_DATABASE,
    Entity,
    entity_type_of,
    given_fields,
)

MAX_LIMIT = 1000
MAX_OFFSET = 100_000
MAX_BATCH_ROWS = 1000


class ModelDatabaseOperationInput(BaseModel):
    """One operation.

    correlation_id    for tracing; of a persist operation's workflow too, where its block names none
    entity            a model, or a dict of fields; an update takes a part of them
    query_filters     `column` or `column__operator`: eq, ne, gt, gte, lt, lte, in; of an upsert, the key's columns
    strict_jsonb_validation  False: JSON columns take, and rows show, any JSON; True: what their models say
    operation_id      a UUIDv7 under which a write counts once, however often it is sent; made when not given
    expected_version  an update's: the `row_version` that the row must have
    returning         writes answer the rows as they are afterwards, in `result_data["rows"]`
    page              a query's: "" for the first page, then what the last answer's `next_page` said
    """

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, validate_assignment=True, hide_input_in_errors=True
    )

    operation_type: str
    entity_type: str | None = None
    correlation_id: UUID = Field(default_factory=uuid4)
    entity: Any = None
    batch_entities: list[Any] | None = None
    query_filters: dict[str, Any] | None = None
    sort_by: str | None = None
    sort_order: Literal["asc", "desc"] = "desc"
    limit: int | None = Field(None, strict=True, ge=0, le=MAX_LIMIT)
    offset: int | None = Field(None, strict=True, ge=0, le=MAX_OFFSET)
    strict_jsonb_validation: bool = True
    operation_id: OperationId = Field(default_factory=uuid7)
    expected_version: int | None = Field(None, strict=True, ge=1)
    returning: bool = False
    page: str | None = None
    workflow_execution_data: dict[str, Any] | None = None
    workflow_step_data: dict[str, Any] | None = None
    bridge_state_data: dict[str, Any] | None = None
    fsm_transition_data: dict[str, Any] | None = None
    metadata_stamp_data: dict[str, Any] | None = None
    node_heartbeat_data: dict[str, Any] | None = None

    @field_validator("entity")
    @classmethod
    def _is_entity(cls, value: object) -> object:
        if value is not None and not isinstance(value, Entity | Mapping):
            raise ValueError("neither an entity's model nor a dict of fields")
        return value

    @field_validator("batch_entities")
    @classmethod
    def _are_entities(cls, value: list[object] | None) -> list[object] | None:
        for index, one in enumerate(value or ()):
            if not isinstance(one, Entity | Mapping):
                raise ValueError(f"[{index}]: neither an entity's model nor a dict of fields")
        return value


class ModelDatabaseOperationOutput(BaseModel):
    """What became of an operation. `error_code` is a value of EnumCoreErrorCode; None where it succeeded."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    success: bool
    operation_type: str
    correlation_id: UUID
    execution_time_ms: int = Field(ge=0)
    rows_affected: int = Field(0, ge=0)
    error_message: str | None = None
    result_data: dict[str, Any] | None = None
    error_code: str | None = None


def request_of(operation: ModelDatabaseOperationInput) -> dict[str, Any]:
    """The operation as it travels: JSON values, only what was given, without its id.

    Raises OnexError VALIDATION_ERROR for an entity that is not of the named type's model, for an `in` filter that is
    given no list, and for a value that JSON cannot carry.
    """
    _check_lists(operation.query_filters or {})
    request = {
        name: json_value(value, name)
        for name, value in operation
        if name in operation.model_fields_set and name not in ("operation_id", "entity", "batch_entities")
    }
    request["correlation_id"] = str(operation.correlation_id)
    request["operation_type"] = operation.operation_type.lower()
    if operation.entity is not None:
        request["entity"] = _fields(operation, operation.entity, "entity")
    if operation.batch_entities is not None:
        request["batch_entities"] = [
            _fields(operation, one, f"batch_entities[{index}]") for index, one in enumerate(operation.batch_entities)
        ]
    return request


def _check_lists(filters: Mapping[str, Any]) -> None:
    """Here, because tuples and sets travel as lists."""
    for name, value in filters.items():
        if name.endswith("__in") and not isinstance(value, list):
            raise invalid(f"{repeatable(name)}: not a list")


def _fields(operation: ModelDatabaseOperationInput, entity: Entity | Mapping[str, Any], where: str) -> dict[str, Any]:
    if isinstance(entity, Entity):
        wanted = ENTITY_MODELS[entity_type_of(operation.entity_type)]
        if type(entity) is not wanted:
            raise invalid(f"{where}: a {type(entity).__name__}, not a {wanted.__name__}")
        fields: dict[str, Any] = given_fields(entity)
        if operation.operation_type.lower() == EnumDatabaseOperationType.UPDATE:
            return {name: value for name, value in fields.items() if name not in MADE_BY_DATABASE}
        return fields
    fields = json_value(entity, where)
    return fields


def json_value(value: object, name: str) -> Any:
    """As `plain`. Raises OnexError VALIDATION_ERROR for a value that JSON cannot carry."""
    try:
        return plain(value, name)
    except ValueError as error:
        raise invalid(str(error)) from None


PERSIST_BLOCKS = {operation_type: block for block, operation_type in BLOCKS.items()}
