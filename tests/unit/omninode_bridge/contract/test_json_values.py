"""Python values as JSON values."""

import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from omninode_bridge.contract.json_values import plain
from omninode_bridge.contract.names import NO_NAME

ATTACK = "'; DROP TABLE users; --"
ID = UUID("0f4e1a52-7f7c-4c39-8c3c-000000000001")
NAIVE = datetime.fromisoformat("2026-11-20T10:00:00")


class Colour(Enum):
    RED = "red"


def nested(key: object, depth: int) -> Mapping[object, Any]:
    value: Any = 1
    for _ in range(depth):
        value = {key: value}
    return {"deep": value}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({ATTACK: math.inf}, f"{NO_NAME}: not a finite number"),
        ({ATTACK: NAIVE}, f"{NO_NAME}: a datetime without time zone is not an instant"),
        ({"a": [{ATTACK: {"b": "\0"}}]}, f"a[0].{NO_NAME}.b: text with NUL"),
        ({"app.name-1": {ID: {Colour.RED: NAIVE}}}, f"app.name-1.{ID}.red: a datetime without time zone"),
        ({"app.name-1": {ID: {Colour.RED: math.nan}}}, f"app.name-1.{ID}.red: not a finite number"),
        ({ATTACK: object()}, f"{NO_NAME}: object is not a JSON value"),
        (nested(ATTACK, 101), f"deep.{NO_NAME}.{NO_NAME}."),
    ],
)
def test_a_fault_is_told_by_its_path_in_which_no_attack_is(value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        plain(value, "metadata")
    assert str(caught.value).startswith(message)
    assert "DROP" not in str(caught.value)
