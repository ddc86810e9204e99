"""What every database adapter is, whichever way its operations take."""

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

from pydantic import ValidationError

from omninode_bridge.contract.call_log import performance
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.names import operation_name
from omninode_bridge.contract.wire import error_text
from omninode_bridge.persistence.health import HEALTH_OPERATION, HEALTHY, health_status
from omninode_bridge.persistence.metrics import AdapterMetrics
from omninode_bridge.persistence.models import (
    ModelDatabaseOperationInput,
    ModelDatabaseOperationOutput,
    request_of,
)
from omninode_bridge.persistence.security import validate_operation

NO_ID = UUID(int=0)  # the correlation id in the answer to an input that has none
NO_OPERATION = "unknown"  # the operation type in the answer to what could be none
HEALTH_TIMEOUT_S = 5.0
DEFECT = "operation: a defect; the log tells more"
TIMEOUT_S = 30.0  # how long one operation waits for its answer, unless the adapter is told otherwise


class DatabaseAdapter(ABC):
    """Takes operations from any number of tasks and event loops. A subclass says how they are answered.

    `initialize` and `shutdown` are what `async with` calls; a shutdown is final.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger(__name__)
        self._metrics = AdapterMetrics(now=time.monotonic())

    @abstractmethod
    async def _answer(self, request: Mapping[str, Any], operation_id: UUID) -> Mapping[str, Any]:
        """The answer's fields. Raises OnexError where there is none."""

    @abstractmethod
    async def _health(self, correlation_id: str) -> dict[str, Any]:
        """The health status, from who knows it. Raises OnexError where nobody says it."""

    def _state(self) -> Mapping[str, Any] | None:
        """Of breaker and pool, where they are here."""
        return None

    @abstractmethod
    async def shutdown(self) -> None:
        """Take no more operations and close the connections."""

    async def initialize(self) -> None:
        """Open the connections, so that the first operation finds them. A database that is away is only logged: the
        adapter serves as soon as it is back."""
        health = await self.get_health_status()
        fields = {"component": type(self).__name__} | {
            name: health[name] for name in ("database_status", "database_version", "error_message")
        }
        level = logging.INFO if health["database_status"] == HEALTHY else logging.WARNING
        self._logger.log(level, "adapter_initialized", extra={"fields": fields})

    async def process(
        self, operation_input: ModelDatabaseOperationInput | Mapping[str, Any]
    ) -> ModelDatabaseOperationOutput:
        """Carry out one operation. Nothing is raised: what went wrong is in the output, with a code to act on.

        A write may be given again with the same operation_id after TIMEOUT or SERVICE_UNAVAILABLE: it counts once.
        `execution_time_ms` is what the caller waited, rounded up.
        """
        started = time.perf_counter()
        try:
            operation = _input(operation_input)
        except OnexError as error:
            return self._end(_nameless(operation_input), _failed(error.error_code, error.message), started)
        return self._end(operation, await self._attempt(operation), started)

    async def get_health_status(self) -> dict[str, Any]:
        """How the database is, and the way to it (omninode_bridge.persistence.health); UNHEALTHY when nobody answers
        within a few seconds. Nothing is raised."""
        started, correlation_id = time.perf_counter(), str(uuid4())
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                health = await self._health(correlation_id)
        except TimeoutError:
            health = self._unhealthy(correlation_id, f"no answer within {HEALTH_TIMEOUT_S:g} s")
        except OnexError as error:
            health = self._unhealthy(correlation_id, str(error))
        return health | {"execution_time_ms": _ms_since(started)}

    async def get_metrics(self) -> dict[str, Any]:
        """What this adapter counted of its own calls: omninode_bridge.persistence.metrics.

        pool_efficiency  the share of operations that found a free connection at once; None where the pool is elsewhere
        """
        elsewhere = {"initialized": False, "current_state": None, "state_duration_seconds": None, "opened_count": None}
        return self._metrics.read(now=time.monotonic()) | {"pool_efficiency": None, "circuit_breaker": elsewhere}

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.shutdown()
            return
        try:
            await self.shutdown()
        except OnexError as unfinished:  # the block's own error is the one to see
            self._logger.warning("%s", unfinished)

    # ---- the platform's names for the operations that events become -------------------------------------------------

    async def _persist_workflow_execution(self, operation: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        return await self._process_as("persist_workflow_execution", operation)

    async def _persist_workflow_step(self, operation: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        return await self._process_as("persist_workflow_step", operation)

    async def _persist_bridge_state(self, operation: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        return await self._process_as("persist_bridge_state", operation)

    async def _persist_fsm_transition(self, operation: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        return await self._process_as("persist_fsm_transition", operation)

    async def _persist_metadata_stamp(self, operation: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        return await self._process_as("persist_metadata_stamp", operation)

    async def _update_node_heartbeat(self, operation: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        return await self._process_as("update_node_heartbeat", operation)

    # ---- inside -----------------------------------------------------------------------------------------------------

    async def _process_as(self, name: str, operation: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        if operation.operation_type.lower() == name:
            return await self.process(operation)
        error = _failed(EnumCoreErrorCode.VALIDATION_ERROR, f"operation_type: not {name}")
        return self._end(operation, error, time.perf_counter())

    async def _attempt(self, operation: ModelDatabaseOperationInput) -> Mapping[str, Any]:
        try:
            request = request_of(operation)
            if request["operation_type"] == HEALTH_OPERATION:
                return {"success": True, "result_data": await self.get_health_status()}
            validate_operation(operation, request)
            return await self._answer(request, operation.operation_id)
        except OnexError as error:
            return _failed(error.error_code, error.message)
        except Exception:
            self._logger.exception("operation_defect", extra={"fields": self._fields(operation)})
            return _failed(EnumCoreErrorCode.INTERNAL_ERROR, DEFECT)

    def _unhealthy(self, correlation_id: str, problem: str) -> dict[str, Any]:
        return health_status(
            state=self._state(),
            version=None,
            problem=problem,
            uptime_s=self._uptime_s(),
            took_ms=0.0,
            correlation_id=correlation_id,
        )

    def _uptime_s(self) -> float:
        return self._metrics.uptime_s(time.monotonic())

    def _end(
        self, operation: ModelDatabaseOperationInput, found: Mapping[str, Any], started: float
    ) -> ModelDatabaseOperationOutput:
        """The output, counted and logged."""
        took_ms = _ms_since(started)
        output = ModelDatabaseOperationOutput(
            success=found["success"],
            operation_type=operation_name(operation.operation_type) or NO_OPERATION,
            correlation_id=operation.correlation_id,
            execution_time_ms=math.ceil(took_ms),
            rows_affected=found.get("rows_affected", 0),
            result_data=found.get("result_data"),
            error_code=found.get("error_code"),
            error_message=found.get("error_message"),
        )
        code = None if output.success else output.error_code or EnumCoreErrorCode.INTERNAL_ERROR
        self._metrics.count(output.operation_type, took_ms=took_ms, error_code=code, now=time.monotonic())
        self._log(operation, output, took_ms)
        return output

    def _log(
        self, operation: ModelDatabaseOperationInput, output: ModelDatabaseOperationOutput, took_ms: float
    ) -> None:
        category, level = performance(took_ms)
        fields = self._fields(operation) | {"execution_time_ms": round(took_ms, 3), "performance_category": category}
        if output.success:
            told = {"operation_status": "completed", "rows_affected": output.rows_affected}
            self._logger.log(level, "operation_completed", extra={"fields": fields | told})
        else:
            told = {
                "operation_status": "failed",
                "error_type": output.error_code,
                "error_message": output.error_message,
            }
            self._logger.warning("operation_failed", extra={"fields": fields | told})

    def _fields(self, operation: ModelDatabaseOperationInput) -> dict[str, Any]:
        return {
            "correlation_id": str(operation.correlation_id),
            "operation": operation_name(operation.operation_type) or NO_OPERATION,
            "operation_id": str(operation.operation_id),
            "component": type(self).__name__,
            "node_type": "effect",
        }


def _input(given: object) -> ModelDatabaseOperationInput:
    """Raises OnexError VALIDATION_ERROR for what is no operation."""
    if isinstance(given, ModelDatabaseOperationInput):
        return given
    if not isinstance(given, Mapping):
        raise invalid(f"operation_input: {type(given).__name__} is no operation")
    try:
        return ModelDatabaseOperationInput.model_validate(dict(given))
    except ValidationError as error:
        raise invalid(error_text(error)) from None
    except Exception as error:  # whatever a mapping of somebody's raises when it is read
        raise invalid(f"operation_input: cannot be read: {type(error).__name__}") from None


def _nameless(given: object) -> ModelDatabaseOperationInput:
    """What the answer to a wrong input echoes."""
    name, correlation_id = "", NO_ID
    if isinstance(given, Mapping):
        with suppress(Exception):
            name = operation_name(given.get("operation_type"))
        with suppress(Exception):
            correlation_id = UUID(str(given.get("correlation_id")))
    return ModelDatabaseOperationInput(operation_type=name or NO_OPERATION, correlation_id=correlation_id)


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"success": False, "error_code": code, "error_message": message}


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
