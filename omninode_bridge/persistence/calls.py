"""One call of a persistence function: what it checks, what it asks its node, what it makes of the answer.

OnexErrors come through, with the function's name and the ids in their context; anything else that is raised becomes an
INTERNAL_ERROR. Payloads are in no context.
"""

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from pydantic import ValidationError

from omninode_bridge.contract.enums import EnumCoreErrorCode, EnumDatabaseOperationType, EnumEntityType
from omninode_bridge.contract.errors import OnexError, invalid, quoted
from omninode_bridge.contract.names import check_name
from omninode_bridge.contract.wire import error_text
from omninode_bridge.persistence.entities import MADE_BY_DATABASE, Entity, checked_fields, columns_of
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, json_value

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Entity)
T = TypeVar("T")
_CODES = frozenset(EnumCoreErrorCode)


class Answer(NamedTuple):
    """What a node says of an operation that succeeded. Nodes of another make, and the doubles of tests, may leave out
    or fill in anything: what is not what it should be is taken as not said.

    rows_affected  None: not said
    """

    rows_affected: int | None
    result_data: Mapping[str, Any]


class Call:
    """A function's call under its way.

    function  its name, for messages and contexts
    ids       what the call is about and its trace id, by the names that the function has for them
    trace     which of the ids is the trace id
    missing   what to say where there is no such row
    """

    def __init__(
        self,
        function: str,
        entity_type: EnumEntityType,
        node: object,
        ids: Mapping[str, object],
        *,
        trace: str,
        missing: str,
    ) -> None:
        self.function = function
        self.context = {"operation": function} | {
            name: quoted(str(value))[1:-1]  # short and printable, whatever was given for an id
            for name, value in ids.items()
            if value is not None
        }
        self._entity_type = entity_type
        self._node = node
        self._trace = trace, ids[trace]
        self._missing = missing

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Let nothing but OnexErrors out, each with this call's context."""
        try:
            yield
        except OnexError as error:
            error.context = self.context | error.context
            raise
        except Exception as error:
            # Only its type: what it says may hold addresses and values.
            message = f"Unexpected error in {self.function}: {type(error).__name__}"
            raise OnexError(EnumCoreErrorCode.INTERNAL_ERROR, message, self.context, error) from error

    # ---- asking ---------------------------------------------------------------------------------------------------

    async def write(self, operation_type: EnumDatabaseOperationType, **fields: Any) -> Answer:
        """The answer to a write. Raises OnexError when it did not succeed."""
        return await self._ask(operation_type, EnumCoreErrorCode.DATABASE_OPERATION_ERROR, fields)

    async def change(self, operation_type: EnumDatabaseOperationType, **fields: Any) -> Answer:
        """The answer to a write of rows that are there. Raises OnexError NOT_FOUND as well, where none is."""
        answer = await self.write(operation_type, **fields)
        if answer.rows_affected == 0:
            raise not_found(self._missing)
        return answer

    async def items(self, **fields: Any) -> list[Any]:
        """The rows that a query answers. Raises OnexError when it did not succeed."""
        code = EnumCoreErrorCode.DATABASE_QUERY_ERROR
        answer = await self._ask(EnumDatabaseOperationType.QUERY, code, fields)
        return list(answer.result_data.get("items") or ())

    async def present_items(self, **fields: Any) -> list[Any]:
        """The same, where there must be one. Raises OnexError NOT_FOUND as well."""
        items = await self.items(**fields)
        if not items:
            raise not_found(self._missing)
        return items

    async def _ask(
        self, operation_type: EnumDatabaseOperationType, code: EnumCoreErrorCode, fields: Mapping[str, Any]
    ) -> Answer:
        fields = {**fields, "operation_type": operation_type, "entity_type": self._entity_type}
        trace_id = checked_id(*self._trace)
        return await ask(self._node, self.function, otherwise=code, correlation_id=trace_id, **fields)


async def ask(node: object, function: str, *, otherwise: EnumCoreErrorCode, **fields: Any) -> Answer:
    """The answer of a node to an operation of these fields; those that are None are not given.

    Raises OnexError when it did not succeed, with the code that the node says, else with `otherwise`.
    """
    process = getattr(node, "process", None)
    if not callable(process):
        raise invalid("node: has no method process")
    try:
        given = {name: value for name, value in fields.items() if value is not None}
        operation = ModelDatabaseOperationInput(**given)
    except ValidationError as error:
        raise invalid(error_text(error)) from None
    output = await process(operation)
    success, took_ms = output.success, _said(output, "execution_time_ms", int)
    took = "" if took_ms is None else f", {took_ms} ms"
    text = f"{function}: {'done' if success else 'failed'}{took} (correlation id {operation.correlation_id})"
    await _debug(getattr(node, "_logger", None), text)
    if not success:
        code, message = (_said(output, name, str) for name in ("error_code", "error_message"))
        raise OnexError(EnumCoreErrorCode(code) if code in _CODES else otherwise, message or f"{function} failed")
    return Answer(_said(output, "rows_affected", int), _said(output, "result_data", dict) or {})


def _said(output: object, name: str, kind: type[T]) -> T | None:
    value = getattr(output, name, None)
    return value if isinstance(value, kind) else None


async def _debug(logger: object, text: str) -> None:
    """A line in the node's log, whatever kind of logger that is; in the log here where it has none."""
    debug = getattr(logger, "debug", None)
    if not callable(debug):
        log.debug(text)
        return
    try:
        written = debug(text)
        if inspect.isawaitable(written):  # of a logger that is asynchronous, as a double may be
            await written
    except Exception:  # what was done is done, whatever somebody's logger makes of it
        log.debug(text, exc_info=True)


def checked_id(name: str, value: object) -> UUID:
    """An id that must be given. Raises OnexError VALIDATION_ERROR that names it."""
    if isinstance(value, UUID):
        return value
    if not value:
        raise invalid(f"{name} cannot be None")
    if isinstance(value, str):
        if not value.strip():
            raise invalid(f"{name} cannot be empty")
        try:
            return UUID(value.strip())
        except ValueError:
            pass
    raise invalid(f"{name}: not a UUID")


def checked_text(name: str, value: object) -> str:
    """Text that must be given, stripped. Raises OnexError VALIDATION_ERROR that names it."""
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        raise invalid(f"{name} cannot be None")
    if not isinstance(value, str):
        raise invalid(f"{name}: not text")
    if not value.strip():
        raise invalid(f"{name} cannot be empty")
    return value.strip()


def checked_values(entity_type: EnumEntityType, fields: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
    """Fields of Python values, checked as `checked_fields` does; instants, UUIDs and enum members may stand in JSON."""
    return checked_fields(entity_type, json_value(fields, "fields"), partial=partial)


def checked_updates(
    entity_type: EnumEntityType, updates: Mapping[str, Any] | None, key: Mapping[str, object]
) -> dict[str, Any]:
    """The fields of an update, checked. Those of the key may be among them when they are the row's own.

    Raises OnexError VALIDATION_ERROR that names what is wrong: nothing given, no such field, one that cannot be
    updated, a value that does not fit.
    """
    if updates is not None and not isinstance(updates, Mapping):
        raise invalid("updates: not a dictionary")
    if not updates:
        raise invalid("updates dictionary cannot be empty")
    columns = columns_of(entity_type)
    for name in updates:
        if check_name(name, "updates") not in columns:
            raise invalid(f"updates.{name}: no field of {entity_type}")
        if name in MADE_BY_DATABASE:
            raise invalid(f"updates.{name}: cannot be updated, the database makes it")
    fields = checked_values(entity_type, updates, partial=True)
    for name, value in key.items():
        if name in fields and fields[name] != str(value):
            raise invalid(f"updates.{name}: cannot be updated, it is the row's key")
    return fields


def written_row(model: type[E], answer: Answer) -> E | None:
    """The row as it is after the write; None from a node that answers no rows.

    Raises OnexError NOT_FOUND for a write that was carried out before, and whose row was deleted since.
    """
    rows = answer.result_data.get("rows")
    if rows is None:
        return None
    if not rows:
        raise not_found("operation_id: the row that it wrote has been deleted since")
    return row_of(model, rows[0])


def not_found(message: str) -> OnexError:
    return OnexError(EnumCoreErrorCode.NOT_FOUND, message)


def row_of(model: type[E], row: object) -> E:
    """The row as its model; columns that the model does not have, as those of a newer fleet, are passed over.

    Raises OnexError DATABASE_QUERY_ERROR, with the fields' names, for a row that is not one of the model's.
    """
    try:
        return model.model_validate(row, extra="ignore")
    except ValidationError as error:
        message = f"the row does not fit {model.__name__}: {error_text(error)}"
        raise OnexError(EnumCoreErrorCode.DATABASE_QUERY_ERROR, message) from None
