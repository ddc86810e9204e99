"""The persistence functions with nodes of another make: rows of a newer fleet, other outputs, doubles of tests."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError

from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence import (
    DatabaseAdapterProtocol,
    ModelBridgeState,
    ModelDatabaseOperationInput,
    ModelDatabaseOperationOutput,
    create_bridge_state,
    delete_bridge_state,
    get_bridge_state,
    list_bridge_states,
    list_nodes,
    update_bridge_state,
)
from omninode_bridge.persistence.entities import Entity
from omninode_bridge.persistence.queries import find_failed_workflows
from tests.unit.omninode_bridge.persistence.test_functions import (
    BRIDGE,
    KEY,
    Node,
    answer,
    call,
    error_of,
    found,
    written,
)

NEWER = BRIDGE | {"a_column_of_tomorrow": {"any": "thing"}}
SECRET = "a value that must not be shown"


class PlatformOutput(BaseModel):
    """An output without an error code."""

    success: bool = True
    operation_type: str = "any"
    correlation_id: UUID = KEY
    execution_time_ms: int = 1
    rows_affected: int = 1
    error_message: str | None = None
    result_data: dict[str, Any] | None = None


def answering(output: object) -> MagicMock:
    return MagicMock(process=AsyncMock(return_value=output))


# ---- rows of a newer fleet ------------------------------------------------------------------------------------------


def test_columns_that_the_model_does_not_have_are_passed_over() -> None:
    assert call(create_bridge_state, Node(written(NEWER))) == ModelBridgeState.model_validate(BRIDGE)
    assert call(update_bridge_state, Node(written(NEWER))).row_version == 3
    assert call(get_bridge_state, Node(found(NEWER))).row_version == 3
    assert len(call(list_bridge_states, Node(found(NEWER, NEWER)))) == 2


def test_nodes_may_have_more_columns_too() -> None:
    row = {"node_id": "n", "health": "HEALTHY", "reported_health": "HEALTHY", "age_s": 1.0, "tomorrow": 1}
    node = Node(answer(result_data={"items": [row]}))
    (one,) = asyncio.run(list_nodes(node=node))
    assert one.node_id == "n"


def test_what_is_given_is_still_checked_by_name() -> None:
    with pytest.raises(ValidationError, match="tomorrow"):
        ModelBridgeState.model_validate(BRIDGE | {"tomorrow": 1})
    assert error_of(update_bridge_state, Node(), updates={"tomorrow": 1}).message.startswith("updates.tomorrow: ")


# ---- outputs of another make ----------------------------------------------------------------------------------------

FAILURES = [
    PlatformOutput(success=False, error_message="the disk is full"),
    SimpleNamespace(success=False, rows_affected=0, result_data=None, error_message="the disk is full"),
    MagicMock(success=False, error_message="the disk is full"),
]
SUCCESSES = [
    PlatformOutput(result_data={"items": [BRIDGE]}),
    SimpleNamespace(success=True, rows_affected=1, result_data={"items": [BRIDGE]}, error_message=None),
    MagicMock(success=True, rows_affected=1, result_data={"items": [BRIDGE]}),
]
WRITES: list[Callable[..., Awaitable[Any]]] = [create_bridge_state, update_bridge_state, delete_bridge_state]
READS: list[Callable[..., Awaitable[Any]]] = [get_bridge_state, list_bridge_states]


@pytest.mark.parametrize("output", SUCCESSES, ids=lambda output: type(output).__name__)
@pytest.mark.parametrize("function", WRITES + READS)
def test_an_output_of_another_make_is_taken(function: Callable[..., Awaitable[Any]], output: object) -> None:
    result = call(function, answering(output))
    (row,) = result if isinstance(result, list) else [result]
    assert row is True or (row.bridge_id, row.namespace) == (KEY, "tests")


@pytest.mark.parametrize("output", FAILURES, ids=lambda output: type(output).__name__)
@pytest.mark.parametrize("function", WRITES + READS)
def test_a_failure_without_a_code_has_that_of_its_kind(function: Callable[..., Awaitable[Any]], output: object) -> None:
    error = error_of(function, answering(output))
    code = "DATABASE_OPERATION_ERROR" if function in WRITES else "DATABASE_QUERY_ERROR"
    assert (error.error_code, error.message) == (code, "the disk is full")


def test_what_a_double_does_not_say_is_not_made_up() -> None:
    bare = MagicMock(success=True)  # everything else of it is another mock
    assert call(create_bridge_state, answering(bare)).bridge_id == KEY
    assert call(delete_bridge_state, answering(bare)) is True
    assert call(list_bridge_states, answering(bare)) == []
    assert asyncio.run(find_failed_workflows(node=answering(bare))) == []
    failed = error_of(create_bridge_state, answering(MagicMock(success=False)))
    assert (failed.error_code, failed.message) == ("DATABASE_OPERATION_ERROR", "create_bridge_state failed")
    assert error_of(create_bridge_state, answering(None)).error_code == "INTERNAL_ERROR"


# ---- nodes of another make ------------------------------------------------------------------------------------------


class ByKeyword:
    """As the protocol says it, with the parameter's name."""

    async def process(self, operation_input: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        return written(BRIDGE)


def test_the_operation_may_be_given_by_name() -> None:
    async def ask(node: DatabaseAdapterProtocol) -> bool:
        operation = ModelDatabaseOperationInput(operation_type="count", entity_type="bridge_state")
        return (await node.process(operation_input=operation)).success

    assert asyncio.run(ask(ByKeyword()))


@pytest.mark.parametrize(
    "node",
    [
        AsyncMock(),
        AsyncMock(spec=DatabaseAdapterProtocol),
        MagicMock(spec=DatabaseAdapterProtocol),
        create_autospec(DatabaseAdapterProtocol, instance=True),
    ],
    ids=["AsyncMock", "AsyncMock of the protocol", "MagicMock of the protocol", "autospec"],
)
def test_a_mock_is_a_node(node: Any) -> None:
    """Nothing is left behind, either: of a coroutine that nobody awaits Python warns, and warnings are errors here."""
    node.process.return_value = PlatformOutput()
    assert call(create_bridge_state, node).bridge_id == KEY


def test_whatever_has_a_method_debug_is_a_logger() -> None:
    lines: list[str] = []
    node = Node(answer())
    node._logger = SimpleNamespace(debug=lines.append)  # type: ignore[attr-defined]  # a node may have one
    call(delete_bridge_state, node)
    (line,) = lines
    assert line.startswith("delete_bridge_state: done, 1 ms (correlation id ")
    mute = Node(answer())
    mute._logger = None  # type: ignore[attr-defined]
    assert call(delete_bridge_state, mute) is True


@pytest.mark.parametrize("mock", [MagicMock, AsyncMock])
def test_a_logger_that_fails_makes_no_error_of_what_was_done(mock: type[MagicMock]) -> None:
    node = Node(answer())
    node._logger = SimpleNamespace(debug=mock(side_effect=OSError("no space left")))  # type: ignore[attr-defined]
    assert call(delete_bridge_state, node) is True
    node._logger.debug.assert_called_once()  # type: ignore[attr-defined]


# ---- what errors show -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (ModelBridgeState, {"bridge_id": SECRET, "namespace": "n", "current_fsm_state": "IDLE"}),
        (ModelDatabaseOperationInput, {"operation_type": "count", "limit": SECRET}),
        (ModelDatabaseOperationOutput, {"success": SECRET}),
        *((model, {"row_version": SECRET}) for model in Entity.__subclasses__()),
    ],
)
def test_a_models_own_error_names_fields_and_shows_no_values(model: type[BaseModel], given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(given)
    assert SECRET not in str(caught.value) and "Input should be" in str(caught.value)


def test_an_error_of_the_nodes_own_comes_through() -> None:
    raised = OnexError(message="Failed")
    assert error_of(get_bridge_state, MagicMock(process=AsyncMock(side_effect=raised))) is raised
