"""Which names could be some, and what of others a message repeats."""

from typing import Any

import pytest

from omninode_bridge.contract.names import NO_NAME, operation_name, repeatable

ATTACK = "'; DROP TABLE users; --"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("query", "query"),
        (" Trace_Workflow ", "trace_workflow"),
        ("q" * 63, "q" * 63),
        ("q" * 64, ""),
        ("", ""),
        ("2query", ""),
        ("query.all", ""),
        ("quéry", ""),
        (ATTACK, ""),
        (None, ""),
        (["query"], ""),
    ],
)
def test_an_operation_has_a_name_or_none(given: object, name: str) -> None:
    assert operation_name(given) == name


@pytest.mark.parametrize("name", ["node_id", "app.kubernetes.io-name", "0", "N" * 63])
def test_names_with_dots_and_dashes_are_repeated(name: str) -> None:
    assert repeatable(name) == name


@pytest.mark.parametrize("name", ["", "N" * 64, "a b", "a\n", "näme", "a'", "<b>", "$1", ATTACK, ("x",)])
def test_what_is_no_name_is_not_repeated(name: Any) -> None:
    assert repeatable(name) == NO_NAME
