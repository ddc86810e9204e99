"""Filters: which names, operators and values are taken, and that what is refused is not repeated."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from omninode_bridge.contract.errors import OnexError
from store.generic.entities import ENTITIES
from store.generic.filters import MAX_FILTERS, MAX_LISTED, conditions

WORKFLOW = ENTITIES["workflow_execution"]
BRIDGE = ENTITIES["bridge_state"]
ID = "01890000-0000-7000-8000-000000000001"


def refusal(filters: Any) -> str:
    with pytest.raises(OnexError) as caught:
        conditions(WORKFLOW, filters)
    assert caught.value.error_code == "VALIDATION_ERROR"
    return caught.value.message


@pytest.mark.parametrize(
    ("filters", "text", "values"),
    [
        ({}, "true", []),
        ({"namespace": "a"}, '"namespace" = %s::text', ["a"]),
        ({"namespace__ne": "a"}, '"namespace" <> %s::text', ["a"]),
        ({"session_id": None}, '"session_id" is null', []),
        ({"session_id__ne": None}, '"session_id" is not null', []),
        ({"correlation_id": ID}, '"correlation_id" = %s::uuid', [UUID(ID)]),
        ({"execution_time_ms__in": []}, '"execution_time_ms" = any(%s::bigint[])', [[]]),
        (
            {"execution_time_ms__gte": 1, "execution_time_ms__lt": 9},
            '"execution_time_ms" >= %s::bigint and "execution_time_ms" < %s::bigint',
            [1, 9],
        ),
        (
            {"created_at__gt": "2026-11-01T01:00:00+01:00"},
            '"created_at" > %s::timestamptz',
            [datetime(2026, 11, 1, tzinfo=UTC)],
        ),
    ],
)
def test_filters_are_a_condition_and_its_values(filters: dict[str, Any], text: str, values: list[Any]) -> None:
    condition, given = conditions(WORKFLOW, filters)
    assert (condition, given) == (text, values)


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("", "SQL identifier must be a non-empty string"),
        (7, "SQL identifier must be a non-empty string"),
        ("n" * 64, "SQL identifier is too long"),
        ("1namespace", "SQL identifier contains invalid characters"),
        ("name space", "SQL identifier contains invalid characters"),
        ("namespace\n", "SQL identifier contains invalid characters"),
        ("namespace%20", "SQL identifier contains invalid characters"),
        ("namespace/**/", "SQL identifier contains invalid characters"),
        ("näme", "SQL identifier contains invalid characters"),
        ("namespace; DROP TABLE operations--", "SQL identifier contains invalid characters"),
        ('namespace" = "namespace', "SQL identifier contains invalid characters"),
    ],
)
def test_a_name_that_is_no_identifier_is_refused_and_not_repeated(name: Any, phrase: str) -> None:
    message = f"query_filters: {phrase}"
    assert refusal({name: "x"}).startswith(message)
    if isinstance(name, str):
        assert refusal({f"{name}__in": ["x"]}).startswith(message) or name == ""
        assert name == "" or name not in refusal({name: "x"})


@pytest.mark.parametrize("operator", ["like", "isnull", "EQ", "eq ", "DROP_TABLE", "", "; drop table x"])
def test_an_operator_that_is_none_is_refused_before_its_column_is_looked_for(operator: str) -> None:
    for column in ("namespace", "nobody"):
        message = refusal({f"{column}__{operator}": "x"})
        assert message.startswith(f"{column}: Unsupported operator")
        assert "drop table" not in message


def test_an_operator_is_what_follows_the_last_two_underscores() -> None:
    assert "'a__b': no column" in refusal({"a__b__eq": 1})
    assert "'__eq': no column" in refusal({"__eq": 1})


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"clocks": {}}, "'clocks': no column of workflow_executions"),
        ({"namespace": ["a"]}, "namespace: not a value that text"),
        ({"namespace": 1}, "namespace: not a value"),
        ({"namespace__in": ("a",)}, "namespace__in: not a list"),
        ({"namespace__in": "a"}, "namespace__in: not a list"),
        ({"namespace__in": ["a"] * (MAX_LISTED + 1)}, "namespace__in: not a list of at most"),
        ({"namespace__in": ["a", None]}, "namespace__in: null is in no list"),
        ({"started_at__gt": None}, "started_at__gt: null has no order"),
        ({"metadata__gt": {}}, "metadata: has no order"),
        ({"metadata": {"a": float("nan")}}, "metadata: not a value"),
        ({"execution_time_ms": 1.5}, "execution_time_ms: not a value"),
        ({"execution_time_ms": True}, "execution_time_ms: not a value"),
        ({"correlation_id": "' or 1=1 --"}, "correlation_id: not a value that uuid"),
        ({"created_at": "now()"}, "created_at: not a value"),
        ({f"f{number}": 1 for number in range(MAX_FILTERS + 1)}, "query_filters: not an object of at most"),
        ([("namespace", "a")], "query_filters: not an object"),
    ],
)
def test_what_is_wrong_with_a_filter_is_named(filters: Any, message: str) -> None:
    assert message in refusal(filters)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400, "1", True])
def test_a_number_is_finite_and_of_a_sensible_size(value: Any) -> None:
    with pytest.raises(OnexError, match="items_per_second: not a value that numeric"):
        conditions(BRIDGE, {"items_per_second": value})


@pytest.mark.parametrize(
    ("entity_type", "filters", "values"),
    [
        ("bridge_state", {"current_fsm_state": " processing "}, ["PROCESSING"]),
        ("bridge_state", {"current_fsm_state__ne": "processing"}, ["PROCESSING"]),
        ("bridge_state", {"current_fsm_state__gte": "processing"}, ["PROCESSING"]),
        ("bridge_state", {"aggregation_type__in": ["File_Type", "x"]}, [["file_type", "x"]]),
        ("bridge_state", {"unique_file_types": [" pdf"]}, [["pdf"]]),
        ("node_heartbeat", {"health_status": "critical", "node_type": "Effect"}, ["UNHEALTHY", "effect"]),
        ("node_health_metrics", {"health_status__in": ["recovering"]}, [["DEGRADED"]]),
        ("fsm_transition", {"entity_type": "Workflow", "from_state": None}, ["workflow_execution"]),
        ("metadata_stamp", {"file_hash": "ABC0"}, ["abc0"]),
        ("workflow_execution", {"namespace": " a b ", "workflow_type__lt": "B"}, ["a b", "B"]),
    ],
)
def test_text_is_compared_as_a_write_of_its_column_puts_it(
    entity_type: str, filters: dict[str, Any], values: list[Any]
) -> None:
    assert conditions(ENTITIES[entity_type], filters)[1] == values


@pytest.mark.parametrize(
    ("entity_type", "column", "value"),
    [
        ("metadata_stamp", "file_hash", "No Hash"),
        ("bridge_state", "current_fsm_state", "x" * 51),
        ("workflow_execution", "namespace", "  "),
        ("bridge_state", "unique_file_types", ["", " a"]),
    ],
)
def test_text_that_no_write_would_take_is_compared_as_it_is(entity_type: str, column: str, value: Any) -> None:
    assert conditions(ENTITIES[entity_type], {column: value})[1] == [value]


def test_lists_are_compared_whole_or_not_at_all() -> None:
    condition, values = conditions(BRIDGE, {"unique_file_types": ["a", "b"]})
    assert (condition, values) == ('"unique_file_types" = %s::text[]', [["a", "b"]])
    with pytest.raises(OnexError, match="unique_file_types: a list itself"):
        conditions(BRIDGE, {"unique_file_types__in": [["a"]]})
