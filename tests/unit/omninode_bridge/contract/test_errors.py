"""The public error."""

import pickle

import pytest

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import QUOTED_CHARS, OnexError, invalid, quoted


def test_an_error_says_its_code_and_its_message() -> None:
    cause = ValueError("why")
    error = OnexError(EnumCoreErrorCode.NOT_FOUND, "no such row", {"id": 1}, cause)
    assert str(error) == "NOT_FOUND: no such row"
    assert (error.error_code, error.message, error.context) == ("NOT_FOUND", "no such row", {"id": 1})
    assert error.original_error is error.__cause__ is cause


def test_an_error_without_a_code_is_a_failed_database_operation() -> None:
    error = OnexError(message="Failed", context={"id": 1})
    assert (error.error_code, str(error)) == ("DATABASE_OPERATION_ERROR", "DATABASE_OPERATION_ERROR: Failed")
    assert error.context == {"id": 1}


def test_an_error_survives_pickling_without_its_cause() -> None:
    error = pickle.loads(pickle.dumps(OnexError(EnumCoreErrorCode.CONFLICT, "m", {"a": 1}, ValueError("why"))))
    assert (type(error), str(error), error.context, error.original_error) == (OnexError, "CONFLICT: m", {"a": 1}, None)


def test_the_context_is_a_copy() -> None:
    context = {"a": 1}
    error = OnexError(EnumCoreErrorCode.CONFLICT, "m", context)
    context["a"] = 2
    assert error.context == {"a": 1}


def test_invalid_input_is_a_validation_error() -> None:
    assert (invalid("field: wrong", n=1).error_code, invalid("field: wrong", n=1).context) == (
        "VALIDATION_ERROR",
        {"n": 1},
    )


@pytest.mark.parametrize("value", ["x" * 1000, "\ud800\n\0\x1b[31m", 5, None, ["a"] * 1000])
def test_a_quoted_value_is_short_and_printable(value: object) -> None:
    text = quoted(value)
    assert text.isascii() and text.isprintable()
    assert len(text) <= 10 * QUOTED_CHARS + 5  # an escape takes up to ten characters
    assert quoted("x" * 1000) == ascii("x" * QUOTED_CHARS + "...")
