"""What the metadata of workflows, nodes and bridges may hold: a few known fields, and any others beside them.

strict   the platform's schema to the letter
lenient  what its nodes send, too: a priority in words, any environment and version, aggregation types in any case, null
         for "not given". Wrong types are refused all the same. Generic writes are held to this one.

Rows are never checked when they are read: what came by events may hold anything.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from omninode_bridge.contract.enums import EnumAggregationType, EnumEntityType
from omninode_bridge.contract.errors import invalid
from omninode_bridge.contract.wire import error_text

MetadataKind = Literal["workflow", "node", "bridge"]

# Defaults are never checked: None here means that the field may be missing, not that it may be null.
_Count = Annotated[int, Field(ge=0)]
_Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50)]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _priority(value: object) -> object:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10:
        raise ValueError("neither a whole number from 1 to 10 nor a word")
    return value


def _known_type(value: str) -> str:
    if value not in EnumAggregationType.__members__:
        raise ValueError("not one of " + ", ".join(EnumAggregationType.__members__))
    return value


_AggregationType = Annotated[str, AfterValidator(_known_type)]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _Workflow(_Schema):
    workflow_type: str = ""
    priority: Annotated[int, Field(ge=1, le=10)] = 1
    tags: list[str] = []
    user_id: str = ""
    steps_completed: _Count = 0
    custom_data: dict[str, Any] = {}


class _LenientWorkflow(_Workflow):
    priority: Annotated[Any, AfterValidator(_priority)] = 1


class _ResourceLimits(_Schema):
    cpu_cores: Annotated[float, Field(ge=0)] = 0
    memory_mb: _Count = 0
    max_connections: _Count = 0


class _Node(_Schema):
    environment: Literal["dev", "staging", "prod"] = "dev"
    region: str = ""
    deployment_id: str = ""
    version: Annotated[str, Field(pattern=r"\A[0-9]+\.[0-9]+\.[0-9]+\z")] = "0.0.0"
    author: str = ""
    description: str = ""
    tags: list[str] = []
    resource_limits: _ResourceLimits = _ResourceLimits()


class _LenientNode(_Node):
    environment: _Word = "dev"  # type: ignore[assignment]  # wider on purpose
    version: _Word = "0.0.0"


class _Bridge(_Schema):
    aggregation_window: str = ""
    window_size_ms: _Count = 0
    batch_size: Annotated[int, Field(ge=1)] = 1
    last_window_items: _Count = 0
    state_version: _Count = 0
    aggregation_type: _AggregationType = "CUSTOM"


class _LenientBridge(_Bridge):
    aggregation_type: Annotated[_AggregationType, BeforeValidator(_upper)] = "CUSTOM"


_STRICT: dict[MetadataKind, type[_Schema]] = {"workflow": _Workflow, "node": _Node, "bridge": _Bridge}
_LENIENT: dict[MetadataKind, type[_Schema]] = {
    "workflow": _LenientWorkflow,
    "node": _LenientNode,
    "bridge": _LenientBridge,
}

# The column of each entity that a schema is about.
_COLUMNS: dict[EnumEntityType, tuple[MetadataKind, str]] = {
    EnumEntityType.WORKFLOW_EXECUTION: ("workflow", "metadata"),
    EnumEntityType.NODE_HEARTBEAT: ("node", "metadata"),
    EnumEntityType.NODE_HEALTH_METRICS: ("node", "metadata"),
    EnumEntityType.BRIDGE_STATE: ("bridge", "aggregation_metadata"),
}


def validate(kind: MetadataKind, metadata: Mapping[str, Any] | None, *, strict: bool = True) -> None:
    """Raise ValueError "Metadata validation failed: ..." that names the fields which are wrong, without their values.

    None and {} are fine.
    """
    if not metadata:
        return
    if not isinstance(metadata, Mapping):
        raise ValueError(f"Metadata validation failed: {kind} metadata: not an object")
    schema = (_STRICT if strict else _LENIENT)[kind]
    if not strict:
        metadata = {name: value for name, value in metadata.items() if value is not None}
    try:
        schema.model_validate(metadata)
    except ValidationError as error:
        raise ValueError(f"Metadata validation failed: {error_text(error)}") from None


def check_metadata(entity_type: EnumEntityType, fields: Mapping[str, Any]) -> None:
    """Check an entity's fields that are to be written, leniently, in so far as a schema is about one of them.

    Raises OnexError VALIDATION_ERROR that names column and field.
    """
    if entity_type not in _COLUMNS:
        return
    kind, column = _COLUMNS[entity_type]
    try:
        validate(kind, fields.get(column), strict=False)
    except ValueError as error:
        raise invalid(f"{column}: {error}") from None
