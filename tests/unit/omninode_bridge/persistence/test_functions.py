"""The persistence functions: what they send, what they refuse before that, and what they make of each answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal
from uuid import uuid4

import pytest

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence import (
    DatabaseAdapterProtocol,
    ModelDatabaseOperationInput,
    ModelDatabaseOperationOutput,
    ModelWorkflowExecution,
    create_bridge_state,
    create_workflow_execution,
    delete_bridge_state,
    delete_workflow_execution,
    get_bridge_state,
    get_workflow_execution,
    list_bridge_states,
    list_workflow_executions,
    update_bridge_state,
    update_workflow_execution,
    upsert_bridge_state,
)
from omninode_bridge.persistence.models import request_of

KEY = uuid4()
TRACE = uuid4()
BRIDGE: dict[str, Any] = {"bridge_id": str(KEY), "namespace": "tests", "current_fsm_state": "IDLE", "row_version": 3}
WORKFLOW: dict[str, Any] = {
    "id": str(KEY),
    "correlation_id": str(KEY),
    "workflow_type": "stamping",
    "current_state": "PENDING",
    "namespace": "tests",
}
BRIDGE_FUNCTIONS: list[Callable[..., Awaitable[Any]]] = [update_bridge_state, get_bridge_state, delete_bridge_state]
WORKFLOW_FUNCTIONS: list[Callable[..., Awaitable[Any]]] = [
    update_workflow_execution,
    get_workflow_execution,
    delete_workflow_execution,
]


class Node:
    """An adapter that gives the answers it was told, in their order, and keeps what it was asked."""

    def __init__(self, *answers: ModelDatabaseOperationOutput | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[ModelDatabaseOperationInput] = []

    async def process(self, operation_input: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        self.asked.append(operation_input)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def request(self) -> dict[str, Any]:
        (one,) = self.asked
        return request_of(one)


def answer(rows_affected: int = 1, **fields: Any) -> ModelDatabaseOperationOutput:
    given = {"success": True, "operation_type": "any", "correlation_id": TRACE, "execution_time_ms": 1}
    return ModelDatabaseOperationOutput.model_validate(given | {"rows_affected": rows_affected} | fields)


def written(row: dict[str, Any]) -> ModelDatabaseOperationOutput:
    return answer(result_data={"rows": [row]})


def found(*rows: dict[str, Any]) -> ModelDatabaseOperationOutput:
    return answer(len(rows), result_data={"items": list(rows)})


def failed(code: str | None, message: str | None = "no") -> ModelDatabaseOperationOutput:
    return answer(0, success=False, error_code=code, error_message=message)


def call(function: Callable[..., Awaitable[Any]], node: object, **arguments: Any) -> Any:
    """The function's result; the key, the trace id and an update are given where the test says nothing else."""
    bridge = function in (*BRIDGE_FUNCTIONS, create_bridge_state, upsert_bridge_state, list_bridge_states)
    given: dict[str, Any] = {"correlation_id": TRACE} if bridge else {"request_correlation_id": TRACE}
    if function in (create_bridge_state, upsert_bridge_state):
        given |= {"bridge_id": KEY, "namespace": "tests", "current_fsm_state": "idle"}
    elif function is create_workflow_execution:
        given |= {"workflow_type": "stamping", "current_state": "pending", "namespace": "tests"}
    elif function in (update_bridge_state, update_workflow_execution):
        state = "current_fsm_state" if bridge else "current_state"
        given |= {"updates": {state: "processing"}}
    if function not in (list_bridge_states, list_workflow_executions):
        given |= {"bridge_id" if bridge else "correlation_id": KEY}

    async def run() -> Any:
        return await function(node=node, **given | arguments)

    return asyncio.run(run())


def error_of(function: Callable[..., Awaitable[Any]], node: object, **arguments: Any) -> OnexError:
    with pytest.raises(OnexError) as caught:
        call(function, node, **arguments)
    return caught.value


# ---- what is sent ---------------------------------------------------------------------------------------------------


def test_a_create_sends_what_was_given_and_answers_the_row() -> None:
    node = Node(written(BRIDGE | {"created_at": "2026-01-02T03:04:05+00:00"}))
    row = call(create_bridge_state, node, aggregation_metadata={"batch_size": 2})
    assert (row.row_version, row.created_at) == (3, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert node.request["entity"] == {
        "bridge_id": str(KEY),
        "namespace": "tests",
        "current_fsm_state": "IDLE",
        "total_workflows_processed": 0,
        "total_items_aggregated": 0,
        "aggregation_metadata": {"batch_size": 2},
    }
    assert (node.request["operation_type"], node.request["entity_type"]) == ("insert", "bridge_state")
    assert (node.request["correlation_id"], node.request["returning"]) == (str(TRACE), True)


def test_a_created_workflow_has_no_start_unless_one_is_given() -> None:
    node = Node(written(WORKFLOW))
    call(create_workflow_execution, node)
    assert set(node.request["entity"]) == {"correlation_id", "workflow_type", "current_state", "namespace"}
    at = datetime(2026, 1, 2, tzinfo=UTC)
    node = Node(written(WORKFLOW))
    call(create_workflow_execution, node, started_at=at, metadata={"priority": "high"})
    assert datetime.fromisoformat(node.request["entity"]["started_at"]) == at
    assert node.request["correlation_id"] == str(TRACE) != node.request["entity"]["correlation_id"]


def test_an_upsert_writes_defaults_too_and_names_the_key() -> None:
    node = Node(written(BRIDGE))
    call(upsert_bridge_state, node, total_items_aggregated=7)
    assert node.request["entity"] == {
        "bridge_id": str(KEY),
        "namespace": "tests",
        "current_fsm_state": "IDLE",
        "total_workflows_processed": 0,
        "total_items_aggregated": 7,
        "aggregation_metadata": {},
        "last_aggregation_timestamp": None,
    }
    assert node.request["query_filters"] == {"bridge_id": str(KEY), "namespace": "tests"}
    node = Node(written(BRIDGE))
    call(upsert_bridge_state, node, total_items_aggregated=None, total_workflows_processed=None)
    assert (node.request["entity"]["total_items_aggregated"], node.request["entity"]["total_workflows_processed"]) == (
        0,
        0,
    )


class Phase(Enum):
    BUSY = "busy"


@pytest.mark.parametrize("function", [create_bridge_state, upsert_bridge_state, update_bridge_state])
def test_json_may_hold_instants_ids_and_enum_members(function: Callable[..., Awaitable[Any]]) -> None:
    """As it may where an operation is given to the adapter; and a state may be a member of an enum of the caller's."""
    at, node = datetime(2026, 1, 2, tzinfo=UTC), Node(written(BRIDGE))
    metadata = {"at": at, "ids": (KEY,), "phase": Phase.BUSY}
    given: dict[str, Any] = {"current_fsm_state": Phase.BUSY, "aggregation_metadata": metadata}
    call(function, node, **({"updates": given} if function is update_bridge_state else given))
    entity = node.request["entity"]
    assert entity["aggregation_metadata"] == {"at": at.isoformat(), "ids": [str(KEY)], "phase": "busy"}
    assert entity["current_fsm_state"] == "BUSY"
    wrong = {"aggregation_metadata": {"a": [object()]}}
    error = error_of(function, Node(), **({"updates": wrong} if function is update_bridge_state else wrong))
    assert error.message == "aggregation_metadata.a[0]: object is not a JSON value"


def test_an_update_is_one_operation_with_the_given_fields_alone() -> None:
    node = Node(written(WORKFLOW))
    updates = {"completed_at": datetime(2026, 1, 2, tzinfo=UTC), "error_message": None, "current_state": "completed"}
    row = call(update_workflow_execution, node, updates=updates, expected_version=4)
    assert isinstance(row, ModelWorkflowExecution)
    sent = node.request
    assert sent["operation_type"] == "update" and sent["expected_version"] == 4
    assert sent["query_filters"] == {"correlation_id": str(KEY)}
    assert set(sent["entity"]) == set(updates)
    assert (sent["entity"]["error_message"], sent["entity"]["current_state"]) == (None, "COMPLETED")


@pytest.mark.parametrize("function", BRIDGE_FUNCTIONS)
def test_a_namespace_is_part_of_a_bridges_key(function: Callable[..., Awaitable[Any]]) -> None:
    node = Node(answer(result_data={"items": [BRIDGE], "rows": [BRIDGE]}))
    call(function, node, namespace=" tests ")
    assert node.request["query_filters"] == {"bridge_id": str(KEY), "namespace": "tests"}


def test_a_list_passes_on_filters_bounds_and_order() -> None:
    node = Node(found(BRIDGE, BRIDGE))
    given = {"filters": {"namespace__in": ["a"]}, "limit": 50, "offset": 3, "sort_by": "namespace", "sort_order": "asc"}
    assert len(call(list_bridge_states, node, **given)) == 2
    asked = node.asked[0]
    assert (asked.limit, asked.offset, asked.sort_by, asked.sort_order) == (50, 3, "namespace", "asc")
    assert asked.query_filters == {"namespace__in": ["a"]}


def test_a_list_is_the_newest_hundred_and_may_be_empty() -> None:
    node = Node(found())
    assert call(list_workflow_executions, node) == []
    asked = node.asked[0]
    assert (asked.limit, asked.offset, asked.sort_by, asked.sort_order) == (100, 0, "created_at", "desc")
    assert asked.query_filters is None


def test_a_delete_answers_true() -> None:
    assert call(delete_bridge_state, Node(answer())) is True
    assert call(delete_workflow_execution, Node(answer())) is True


def test_ids_may_be_text() -> None:
    node = Node(found(WORKFLOW))
    call(get_workflow_execution, node, correlation_id=str(KEY), request_correlation_id=str(TRACE))
    assert node.request["query_filters"] == {"correlation_id": str(KEY)}
    assert node.request["correlation_id"] == str(TRACE)


# ---- an adapter that answers no rows --------------------------------------------------------------------------------


def test_without_rows_a_create_answers_what_was_sent() -> None:
    row = call(create_bridge_state, Node(answer(result_data={"id": str(KEY)})))
    assert (row.bridge_id, row.namespace, row.current_fsm_state) == (KEY, "tests", "IDLE")


def test_without_rows_an_update_reads_the_row() -> None:
    node = Node(answer(), found(BRIDGE))
    assert call(update_bridge_state, node).row_version == 3
    assert [one.operation_type for one in node.asked] == ["update", "query"]


# ---- refused before anything is sent --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", BRIDGE_FUNCTIONS + WORKFLOW_FUNCTIONS)
@pytest.mark.parametrize("value, what", [(None, "cannot be None"), ("  ", "cannot be empty"), ("x", "not a UUID")])
def test_an_id_must_be_one(function: Callable[..., Awaitable[Any]], value: object, what: str) -> None:
    for name in ("correlation_id", "bridge_id" if function in BRIDGE_FUNCTIONS else "request_correlation_id"):
        node = Node()
        error = error_of(function, node, **{name: value})
        assert (error.error_code, error.message) == (EnumCoreErrorCode.VALIDATION_ERROR, f"{name}{_joint(what)}{what}")
        assert node.asked == []


def _joint(what: str) -> Literal[" ", ": "]:
    return " " if what.startswith("cannot") else ": "


@pytest.mark.parametrize("function", [create_bridge_state, upsert_bridge_state, create_workflow_execution])
@pytest.mark.parametrize("value, what", [(None, " cannot be None"), (" \t", " cannot be empty"), (7, ": not text")])
def test_text_that_is_required_must_be_there(function: Callable[..., Awaitable[Any]], value: object, what: str) -> None:
    state = "current_state" if function is create_workflow_execution else "current_fsm_state"
    for name in ("namespace", state):
        node = Node()
        error = error_of(function, node, **{name: value})
        assert (error.error_code, error.message) == (EnumCoreErrorCode.VALIDATION_ERROR, name + what)
        assert node.asked == []


@pytest.mark.parametrize("updates", [None, {}])
def test_an_update_must_hold_something(updates: object) -> None:
    error = error_of(update_bridge_state, Node(), updates=updates)
    assert error.message == "updates dictionary cannot be empty"


@pytest.mark.parametrize(
    "updates, message",
    [
        ({"colour": 1}, "updates.colour: no field of bridge_state"),
        ({"row_version": 1}, "updates.row_version: cannot be updated"),
        ({"created_at": None}, "updates.created_at: cannot be updated"),
        ({"bridge_id": uuid4()}, "updates.bridge_id: cannot be updated"),
        ({"namespace": "other"}, "updates.namespace: cannot be updated"),
        ({"current_fsm_state": None}, "current_fsm_state: "),
        ({"total_items_aggregated": -1}, "total_items_aggregated: "),
        ({"total_items_aggregated": "1"}, "total_items_aggregated: "),
        ([("version", 2)], "updates: not a dictionary"),
    ],
)
def test_an_update_names_the_field_that_is_wrong(updates: object, message: str) -> None:
    node = Node()
    error = error_of(update_bridge_state, node, updates=updates, namespace="tests")
    assert error.error_code is EnumCoreErrorCode.VALIDATION_ERROR
    assert error.message.startswith(message)
    assert node.asked == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("id; drop table x", "contains invalid characters"),
        ("naïve", "contains invalid characters"),
        ("", "must be a non-empty string"),
        (7, "must be a non-empty string"),
        ("a" * 64, "is too long"),
    ],
)
def test_a_name_that_is_no_identifier_is_refused_and_not_repeated(name: object, problem: str) -> None:
    error = error_of(update_workflow_execution, Node(), updates={name: 1})
    assert error.error_code is EnumCoreErrorCode.VALIDATION_ERROR
    assert error.message.startswith(f"updates: SQL identifier {problem}")
    assert name in ("", 7) or str(name) not in str(error)


def test_the_rows_own_key_may_be_among_the_updates() -> None:
    node = Node(written(BRIDGE))
    call(update_bridge_state, node, updates={"bridge_id": str(KEY).upper(), "version": 2})
    assert node.request["entity"] == {"bridge_id": str(KEY), "version": 2}


def test_a_namespace_among_the_updates_must_be_the_rows_own_even_if_none_is_named() -> None:
    node = Node(found(BRIDGE), written(BRIDGE))
    assert call(update_bridge_state, node, updates={"namespace": "tests", "version": 2}).row_version == 3
    node = Node(found(BRIDGE))
    error = error_of(update_bridge_state, node, updates={"namespace": "other", "version": 2})
    assert error.message == "updates.namespace: cannot be updated, it is the row's key"
    assert [one.operation_type for one in node.asked] == ["query"]


@pytest.mark.parametrize("bounds", [{"limit": 1001}, {"offset": -1}, {"limit": True}, {"sort_order": "up"}])
def test_a_page_beyond_the_bounds_is_refused_by_name(bounds: dict[str, Any]) -> None:
    node = Node()
    error = error_of(list_bridge_states, node, **bounds)
    assert error.error_code is EnumCoreErrorCode.VALIDATION_ERROR
    assert error.message.startswith(next(iter(bounds)))
    assert node.asked == []


def test_something_that_cannot_process_is_no_node() -> None:
    assert error_of(get_bridge_state, object()).message == "node: has no method process"
    assert isinstance(Node(), DatabaseAdapterProtocol)
    assert not isinstance(object(), DatabaseAdapterProtocol)


# ---- what became of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", BRIDGE_FUNCTIONS + WORKFLOW_FUNCTIONS)
def test_no_row_is_not_found(function: Callable[..., Awaitable[Any]]) -> None:
    error = error_of(function, Node(answer(0, result_data={"items": []})))
    assert error.error_code is EnumCoreErrorCode.NOT_FOUND


def test_a_get_among_several_namespaces_is_a_conflict_that_names_them() -> None:
    rows = [BRIDGE | {"namespace": name} for name in ("north", "south")]
    node = Node(found(*rows))
    error = error_of(get_bridge_state, node)
    assert error.error_code is EnumCoreErrorCode.CONFLICT
    assert (node.request["limit"], node.request["sort_by"]) == (11, "namespace")
    assert "'north', 'south'" in error.message and "more" not in error.message
    rows = [BRIDGE | {"namespace": f"n{n:02}"} for n in range(11)]
    assert "'n09', and more" in error_of(get_bridge_state, Node(found(*rows))).message


@pytest.mark.parametrize(
    "function, default",
    [
        (create_bridge_state, "DATABASE_OPERATION_ERROR"),
        (update_workflow_execution, "DATABASE_OPERATION_ERROR"),
        (delete_bridge_state, "DATABASE_OPERATION_ERROR"),
        (get_workflow_execution, "DATABASE_QUERY_ERROR"),
        (list_bridge_states, "DATABASE_QUERY_ERROR"),
    ],
)
def test_a_failed_operation_raises_its_code_or_else_that_of_its_kind(
    function: Callable[..., Awaitable[Any]], default: str
) -> None:
    told = error_of(function, Node(failed("CONFLICT", "correlation_id: is there")))
    assert (told.error_code, told.message) == (EnumCoreErrorCode.CONFLICT, "correlation_id: is there")
    assert error_of(function, Node(failed(None))).error_code == default
    assert error_of(function, Node(failed("SOMETHING_ELSE", None))).error_code == default


def test_an_error_carries_the_function_and_the_ids_and_nothing_else() -> None:
    error = error_of(create_bridge_state, Node(failed("CONFLICT")), aggregation_metadata={"secret": "s3cr3t"})
    assert error.context == {
        "operation": "create_bridge_state",
        "bridge_id": str(KEY),
        "namespace": "tests",
        "correlation_id": str(TRACE),
    }


def test_what_the_adapter_raises_comes_through_or_becomes_an_internal_error() -> None:
    raised = OnexError(EnumCoreErrorCode.SERVICE_UNAVAILABLE, "closed")
    assert error_of(get_bridge_state, Node(raised)) is raised
    bug = KeyError("postgresql://user:pass@host")
    error = error_of(get_workflow_execution, Node(bug))
    assert error.error_code is EnumCoreErrorCode.INTERNAL_ERROR
    assert error.original_error is bug
    assert "pass" not in str(error) and error.context["correlation_id"] == str(KEY)


def test_a_row_that_is_none_of_the_models_is_a_query_error_that_names_the_field() -> None:
    error = error_of(get_workflow_execution, Node(found(WORKFLOW | {"workflow_steps": {"a": 1}})))
    assert error.error_code is EnumCoreErrorCode.DATABASE_QUERY_ERROR
    assert "workflow_steps" in error.message


def test_a_call_is_logged_where_the_adapter_logs(caplog: pytest.LogCaptureFixture) -> None:
    class Talking(Node):
        _logger = logging.getLogger("bridge.database")

    with caplog.at_level(logging.DEBUG):
        call(delete_bridge_state, Talking(answer()))
        call(delete_bridge_state, Node(answer()))
    assert [one.name for one in caplog.records if "delete_bridge_state" in one.getMessage()] == [
        "bridge.database",
        "omninode_bridge.persistence.calls",
    ]


def test_ids_of_contexts_are_short_text_whatever_was_given() -> None:
    context = error_of(get_bridge_state, Node(), bridge_id=["x" * 999], namespace="\n").context
    assert len(context["bridge_id"]) < 50 and context["namespace"] == "\\n"
