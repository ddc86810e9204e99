"""Field types: what is normalised, what is refused."""

import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from omninode_bridge.contract import values
from omninode_bridge.contract.clock import is_uuid7
from omninode_bridge.contract.values import INT32_MAX, INT64_MAX, MAX_JSON_DEPTH, check_json


def valid(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


def refuse(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return str(caught.value.errors()[0]["msg"])


TEXTS = [
    (values.Name50, 50),
    (values.Name100, 100),
    (values.Name255, 255),
    (values.Url500, 500),
    (values.Message2000, 2000),
    (values.State, 50),
    (values.Health, 50),
    (values.NodeType, 100),
    (values.EntityType, 100),
    (values.AggregationType, 50),
    (values.MetadataVersion, 10),
]


@pytest.mark.parametrize(("kind", "max_chars"), TEXTS)
def test_text_is_bounded_stripped_and_storable(kind: Any, max_chars: int) -> None:
    assert len(valid(kind, "1" * max_chars)) == max_chars
    assert valid(kind, "  1 ") == "1"
    for bad in ("1" * (max_chars + 1), "a\0b", "\ud800", 5, b"a", True, ["a"]):
        refuse(kind, bad)


@pytest.mark.parametrize("kind", [kind for kind, _ in TEXTS if kind is not values.Message2000])
def test_a_name_is_never_empty(kind: Any) -> None:
    refuse(kind, "")
    refuse(kind, "   ")
    assert valid(values.Message2000, "") == ""


def test_text_that_grows_when_its_case_changes_is_still_bounded() -> None:
    refuse(values.State, "ß" * 50)
    assert valid(values.State, "ß" * 25) == "SS" * 25
    refuse(values.NodeType, "İ" * 100)


@pytest.mark.parametrize(
    ("kind", "value", "normal"),
    [
        (values.State, "processing", "PROCESSING"),
        (values.Health, "critical", "UNHEALTHY"),
        (values.Health, "Recovering", "DEGRADED"),
        (values.Health, "offline", "OFFLINE"),
        (values.NodeType, "EFFECT", "effect"),
        (values.EntityType, "Workflow", "workflow_execution"),
        (values.EntityType, "workflow_step", "workflow_step"),
        (values.AggregationType, "TIME_WINDOW", "time_window"),
        (values.FileHash, " AbC0 ", "abc0"),
        (values.Instant, "2026-11-20T12:00:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
    ],
)
def test_values_are_brought_to_one_form(kind: Any, value: object, normal: object) -> None:
    assert valid(kind, value) == normal


@pytest.mark.parametrize("value", ["", "xyz", "a" * 129, "a b", "0x1", 5, None])
def test_a_file_hash_is_one_to_128_hexadecimal_digits(value: object) -> None:
    refuse(values.FileHash, value)
    assert valid(values.FileHash, "a" * 128) == "a" * 128


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [(values.Count32, 0, INT32_MAX), (values.Count64, 0, INT64_MAX), (values.Version32, 1, INT32_MAX)],
)
def test_counts_fit_their_columns(kind: Any, low: int, high: int) -> None:
    assert (valid(kind, low), valid(kind, high)) == (low, high)
    for bad in (low - 1, high + 1, "1", 1.0, True, None):
        refuse(kind, bad)


def test_a_rate_fits_its_column() -> None:
    assert valid(values.Rate, 99_999_999.99) == 99_999_999.99
    assert valid(values.Rate, 0) == 0
    for bad in (-0.1, 100_000_000, math.nan, math.inf, "x", None):
        refuse(values.Rate, bad)


def test_a_naive_datetime_is_refused() -> None:
    assert "without time zone" in refuse(values.Instant, datetime(2026, 11, 20))  # noqa: DTZ001  # that is the point


@pytest.mark.parametrize("bad", ["0f4e1a52-7f7c-4c39-8c3c-000000000001", "x", 5])
def test_an_operation_id_is_a_uuid_of_version_7(bad: object) -> None:
    refuse(values.OperationId, bad)
    seven = "01936f00-0000-7000-8000-000000000000"
    assert valid(values.OperationId, seven) == UUID(seven)


@pytest.mark.parametrize("variant", ["7", "8", "b", "c", "f"])
@pytest.mark.parametrize("version", "0467f")
def test_version_7_means_what_the_standard_library_means(version: str, variant: str) -> None:
    id_ = UUID(f"01936f00-0000-{version}000-{variant}000-000000000000")
    assert is_uuid7(id_) == (id_.version == 7)


@pytest.mark.parametrize("bad", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 32 + "\n", 5])
def test_a_digest_is_32_lower_case_hexadecimal_digits(bad: object) -> None:
    refuse(values.Digest, bad)
    assert valid(values.Digest, "0123456789abcdef" * 2)


def objects(depth: int) -> dict[str, Any]:
    """So many in each other, and no list between them."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def nested(depth: int, leaf: object = None) -> Any:
    value: Any = [] if leaf is None else leaf
    for _ in range(depth - (leaf is None)):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        INT64_MAX,
        -INT64_MAX - 1,
        1.5,
        "ü☃",
        "",
        [],
        {},
        {"a": [None, {"b": "c"}]},
        nested(MAX_JSON_DEPTH),
    ],
)
def test_what_a_jsonb_column_holds_passes(value: object) -> None:
    check_json(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": "\0"}]}, r"^a\[1\]\.b: text with NUL$"),
        ({"a": "\ud800"}, "^a: text with a lone surrogate$"),
        ({"a\0": 1}, "^value: text with NUL$"),
        ({"a": {"\udfff": 1}}, "^a: text with a lone surrogate$"),
        ({"a": math.nan}, "^a: not a finite number$"),
        ({"a": -math.inf}, "^a: not a finite number$"),
        ({"a.b-c_1": math.nan}, "^a.b-c_1: not a finite number$"),
        ({"a": {"'; DROP TABLE users; --": math.nan}}, "^a.<a name that is none>: not a finite number$"),
        ([2**64], r"^\[0\]: integer of more than 64 bits$"),
        ([-(2**63) - 1], r"^\[0\]: integer of more than 64 bits$"),
        ({1: 2}, "^value: a key that is not text$"),
        ({"a": {"b"}}, "^a: set is not a JSON value$"),
        ({"a": (1,)}, "^a: tuple is not a JSON value$"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "^a: datetime is not a JSON value$"),
        (nested(MAX_JSON_DEPTH + 1), "nested more than 100 deep$"),
        (objects(2000), "nested more than 100 deep$"),
    ],
)
def test_what_a_jsonb_column_cannot_hold_is_refused_with_its_path(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_json(value)


def test_json_fields_are_objects_or_lists_of_such_values() -> None:
    assert valid(values.JsonObject, {"a": None}) == {"a": None}
    assert valid(values.JsonList, [1, {"a": 2}]) == [1, {"a": 2}]
    bad: object
    for bad in ([], "{}", None, {"a": math.nan}, {"a": "\0"}):
        refuse(values.JsonObject, bad)
    for bad in ({}, "[]", None, [math.nan]):
        refuse(values.JsonList, bad)
