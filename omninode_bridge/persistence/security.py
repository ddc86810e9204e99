"""What an operation must have before an adapter sends it anywhere: a trace id, its content, a bounded size.

Values are data and are not looked at: they travel as parameters, and SQL knows no names but those of the entities.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from omninode_bridge.contract.errors import invalid
from omninode_bridge.contract.values import MAX_OPERATION_BYTES
from omninode_bridge.persistence.models import PERSIST_BLOCKS, ModelDatabaseOperationInput, request_of

log = logging.getLogger(__name__)

# What stands around an operation while it travels, ids and times, has less than 1 KiB: what is let through here, the
# fleet takes as well.
MAX_BYTES = MAX_OPERATION_BYTES - 1024
WARN_SHARE = 0.8  # of the size that is allowed
_NEEDS = {
    "insert": "entity",
    "update": "entity",
    "upsert": "entity",
    "batch_insert": "batch_entities",
    **PERSIST_BLOCKS,
}


@dataclass(slots=True)
class ValidationResult:
    """What was found. `details`: `size_bytes`, `max_bytes`."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        return not self.errors


def validate_operation(
    operation: ModelDatabaseOperationInput, request: Mapping[str, Any] | None = None, *, strict: bool = True
) -> ValidationResult:
    """Check what every operation needs, whatever it is about.

    request  what `request_of` says of the operation, for those who have it already
    strict   raise OnexError VALIDATION_ERROR with all that is wrong, joined by "; "; otherwise it is in the result

    Raises OnexError VALIDATION_ERROR in any case for what `request_of` refuses. Warnings are logged, too.
    """
    result = ValidationResult()
    if not operation.correlation_id or not operation.correlation_id.int:
        result.errors.append("correlation_id: required, and not all zeros")
    needed = _NEEDS.get(operation.operation_type.lower())
    if needed is not None and not _is_there(operation, needed):
        result.errors.append(f"{needed}: required for {operation.operation_type.lower()}")
    _check_size(request_of(operation) if request is None else request, result)
    for warning in result.warnings:
        log.warning("%s (correlation id %s)", warning, operation.correlation_id)
    if strict and result.errors:
        raise invalid("; ".join(result.errors), correlation_id=str(operation.correlation_id))
    return result


def _is_there(operation: ModelDatabaseOperationInput, needed: str) -> bool:
    """An entity without fields is there: what it lacks is for the entity's own check to say."""
    value = getattr(operation, needed)
    return bool(value) if isinstance(value, list) else value is not None


def _check_size(request: Mapping[str, Any], result: ValidationResult) -> None:
    size = len(orjson.dumps(request))
    result.details = {"size_bytes": size, "max_bytes": MAX_BYTES}
    if size > MAX_BYTES:
        result.errors.append(f"operation: {size} bytes of JSON, which exceeds maximum {MAX_BYTES}")
    elif size > WARN_SHARE * MAX_BYTES:
        result.warnings.append(f"operation: {size} bytes of JSON, of {MAX_BYTES} allowed")
