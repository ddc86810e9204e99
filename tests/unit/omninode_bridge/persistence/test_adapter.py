"""What every adapter makes of an operation, with the way to the database replaced by a function."""

import asyncio
import logging
from collections import UserDict
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.names import NO_NAME
from omninode_bridge.persistence.adapter import DatabaseAdapter
from omninode_bridge.persistence.models import ModelDatabaseOperationInput, ModelDatabaseOperationOutput

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
ATTACK = "'; DROP TABLE users; --"
SECRET = "a value that must not be shown"


class Adapter(DatabaseAdapter):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.asked: list[tuple[Mapping[str, Any], UUID]] = []
        self._how = answer

    async def _answer(self, request: Mapping[str, Any], operation_id: UUID) -> Mapping[str, Any]:
        self.asked.append((request, operation_id))
        return self._how(request)

    async def _health(self, correlation_id: str) -> dict[str, Any]:
        raise OnexError(EnumCoreErrorCode.SERVICE_UNAVAILABLE, "nobody is there")

    async def shutdown(self) -> None:
        raise OnexError(EnumCoreErrorCode.TIMEOUT, "unfinished")


def success(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"success": True, "rows_affected": 1, "result_data": {"id": "x"}, "error_code": None, "error_message": None}


def failing(error: Exception) -> Answer:
    def fail(request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise error

    return fail


def process(adapter: Adapter, given: Any) -> ModelDatabaseOperationOutput:
    return asyncio.run(adapter.process(given))


def count(**fields: Any) -> ModelDatabaseOperationInput:
    return ModelDatabaseOperationInput(operation_type="COUNT", entity_type="bridge_state", **fields)


def test_an_operation_is_sent_as_its_request_and_answered_as_an_output() -> None:
    adapter, operation = Adapter(success), count(query_filters={"namespace": "n"})
    output = process(adapter, operation)
    ((request, operation_id),) = adapter.asked
    assert operation_id == operation.operation_id
    assert request == {
        "operation_type": "count",
        "entity_type": "bridge_state",
        "correlation_id": str(operation.correlation_id),
        "query_filters": {"namespace": "n"},
    }
    assert output == ModelDatabaseOperationOutput(
        success=True,
        operation_type="count",
        correlation_id=operation.correlation_id,
        execution_time_ms=output.execution_time_ms,
        rows_affected=1,
        result_data={"id": "x"},
    )
    assert output.execution_time_ms >= 1


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OnexError(EnumCoreErrorCode.SERVICE_UNAVAILABLE, "it is away"), "SERVICE_UNAVAILABLE", "it is away"),
        (KeyError(SECRET), "INTERNAL_ERROR", "operation: a defect; the log tells more"),
    ],
)
def test_whatever_is_raised_becomes_an_output(error: Exception, code: str, message: str) -> None:
    output = process(Adapter(failing(error)), count())
    assert (output.success, output.error_code, output.error_message) == (False, code, message)
    assert (output.rows_affected, output.result_data) == (0, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "operation_input: NoneType is no operation"),
        (7, "operation_input: int is no operation"),
        ({"operation_type": "count", "surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({}, "operation_type: Field required"),
        ({"operation_type": "insert", ATTACK: 1}, f"{NO_NAME}: Extra inputs are not permitted"),
    ],
)
def test_what_is_no_operation_is_refused_and_not_sent(given: object, message: str) -> None:
    adapter = Adapter(success)
    output = process(adapter, given)
    assert (output.error_code, output.error_message) == ("VALIDATION_ERROR", message)
    assert adapter.asked == []


class Unshowable:
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


class Unreadable(UserDict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"operation_type": "count", "correlation_id": Unshowable()}, "correlation_id: "),
        (Unreadable(operation_type="count"), "operation_input: cannot be read: RuntimeError"),
    ],
)
def test_what_cannot_even_be_read_is_answered_too(given: object, message: str) -> None:
    output = process(Adapter(success), given)
    assert output.error_code == "VALIDATION_ERROR" and (output.error_message or "").startswith(message)
    assert SECRET not in (output.error_message or "") and output.correlation_id == UUID(int=0)


def test_a_dict_is_taken_as_an_operation_and_a_wrong_one_keeps_its_trace() -> None:
    trace = uuid4()
    given = {"operation_type": "count", "entity_type": "bridge_state", "correlation_id": str(trace)}
    assert process(Adapter(success), given).success
    wrong = process(Adapter(success), given | {"limit": -1})
    assert (wrong.success, wrong.correlation_id) == (False, trace)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"correlation_id": UUID(int=0)}, "correlation_id: required, and not all zeros"),
        ({"query_filters": {"x": object()}}, "object is not a JSON value"),
        ({"query_filters": {"x": "y" * 2**20}}, "exceeds maximum"),
        ({"query_filters": {"namespace__in": ("a",)}}, "namespace__in: not a list"),
        ({"query_filters": {"namespace__in": {"a"}}}, "namespace__in: not a list"),
        ({"query_filters": {f"{ATTACK}__in": "a"}}, f"{NO_NAME}: not a list"),
    ],
)
def test_what_can_be_refused_here_is_not_sent(fields: dict[str, Any], message: str) -> None:
    adapter = Adapter(success)
    output = process(adapter, count(**fields))
    assert output.error_code == "VALIDATION_ERROR" and message in (output.error_message or "")
    assert adapter.asked == []


@pytest.mark.parametrize(
    "name",
    [
        "persist_workflow_execution",
        "persist_workflow_step",
        "persist_bridge_state",
        "persist_fsm_transition",
        "persist_metadata_stamp",
        "update_node_heartbeat",
    ],
)
def test_each_persist_operation_has_its_shorthand(name: str) -> None:
    adapter, shorthand = Adapter(success), f"_{name}"
    block = name.removeprefix("persist_").removeprefix("update_") + "_data"
    operation = ModelDatabaseOperationInput.model_validate({"operation_type": name, block: {"a": 1}})
    output = asyncio.run(getattr(adapter, shorthand)(operation))
    assert output.success and output.operation_type == name
    other = asyncio.run(getattr(adapter, shorthand)(count()))
    assert (other.error_code, other.error_message) == ("VALIDATION_ERROR", f"operation_type: not {name}")
    assert len(adapter.asked) == 1


def test_every_call_is_in_the_metrics() -> None:
    answers = iter([success, failing(OnexError(EnumCoreErrorCode.CONFLICT, "m")), failing(RuntimeError())])
    adapter = Adapter(lambda request: next(answers)(request))
    for given in (count(), count(), count(), None):
        process(adapter, given)
    metrics = asyncio.run(adapter.get_metrics())
    assert metrics["operations_by_type"] == {"count": 3, "unknown": 1}
    assert metrics["errors"]["errors_by_type"] == {"CONFLICT": 1, "INTERNAL_ERROR": 1, "VALIDATION_ERROR": 1}
    assert metrics["error_rate"] == 0.75
    assert metrics["pool_efficiency"] is None and metrics["circuit_breaker"]["initialized"] is False


@pytest.mark.parametrize("given", [ATTACK, "2nd", "q" * 64, "count.all", ""])
def test_what_is_no_operations_name_is_answered_counted_and_logged_as_unknown(
    given: str, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = Adapter(success)
    with caplog.at_level(logging.INFO):
        assert process(adapter, {"operation_type": given}).operation_type == "unknown"
        assert process(adapter, {"operation_type": given, "limit": True}).operation_type == "unknown"
    assert asyncio.run(adapter.get_metrics())["operations_by_type"] == {"unknown": 2}
    assert [record.__dict__["fields"]["operation"] for record in caplog.records] == ["unknown", "unknown"]


def test_an_input_that_its_model_refuses_keeps_its_operations_name() -> None:
    adapter = Adapter(success)
    output = process(adapter, {"operation_type": "Query", "limit": True})
    assert (output.operation_type, output.error_code) == ("query", "VALIDATION_ERROR")
    assert asyncio.run(adapter.get_metrics())["operations_by_type"] == {"query": 1}


def test_an_in_filter_takes_a_list() -> None:
    adapter = Adapter(success)
    assert process(adapter, count(query_filters={"namespace__in": ["a"], "within": ("a",)})).success
    ((request, _),) = adapter.asked
    assert request["query_filters"] == {"namespace__in": ["a"], "within": ["a"]}


def test_nobody_there_is_unhealthy_and_the_adapter_starts_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    adapter = Adapter(success)
    with caplog.at_level(logging.INFO):
        asyncio.run(adapter.initialize())
    health = asyncio.run(adapter.get_health_status())
    assert (health["healthy"], health["database_status"]) == (False, "UNHEALTHY")
    assert health["error_message"] == "SERVICE_UNAVAILABLE: nobody is there"
    (record,) = caplog.records
    assert (record.message, record.levelname) == ("adapter_initialized", "WARNING")


def test_health_can_be_asked_for_as_an_operation() -> None:
    output = process(Adapter(success), ModelDatabaseOperationInput(operation_type="get_health_status"))
    assert output.success and output.result_data is not None and output.result_data["database_status"] == "UNHEALTHY"


def test_the_blocks_own_error_is_the_one_to_see() -> None:
    async def use(error: Exception | None) -> None:
        async with Adapter(success):
            if error is not None:
                raise error

    with pytest.raises(KeyError):
        asyncio.run(use(KeyError()))
    with pytest.raises(OnexError, match="unfinished"):
        asyncio.run(use(None))


def test_the_log_tells_what_was_done_and_no_payload(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        operation = count(query_filters={"namespace": SECRET})
        process(Adapter(success), operation)
        process(Adapter(failing(OnexError(EnumCoreErrorCode.NOT_FOUND, "gone"))), operation)
    completed, failed = (record.__dict__["fields"] for record in caplog.records)
    assert [record.message for record in caplog.records] == ["operation_completed", "operation_failed"]
    assert completed["operation_status"] == "completed" and failed["operation_status"] == "failed"
    assert completed["correlation_id"] == str(operation.correlation_id) and completed["rows_affected"] == 1
    assert (failed["error_type"], completed["performance_category"]) == ("NOT_FOUND", "fast")
    assert SECRET not in str([record.__dict__ for record in caplog.records])
