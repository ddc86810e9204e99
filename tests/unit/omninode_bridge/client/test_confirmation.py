"""Reading what a worker stored."""

from typing import Any

import orjson
import pytest

from omninode_bridge.client.confirmation import OddAnswerError, read_confirmation
from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.wire import encode_outcomes

IDS = [uuid7(), uuid7(), uuid7()]
OUTCOMES = [
    Outcome(IDS[0], "applied"),
    Outcome(IDS[1], "refused", "FUTURE", "occurred_at: ahead"),
    Outcome(IDS[2], "duplicate"),
]


def stored(status: str, result: Any) -> bytes:
    return orjson.dumps({"status": status, "result": result, "traceback": None, "children": [], "task_id": "t"})


def test_a_result_gives_each_operation_its_outcome() -> None:
    assert read_confirmation(stored("SUCCESS", encode_outcomes(OUTCOMES)), IDS) == OUTCOMES


@pytest.mark.parametrize("status", ["STARTED", "RETRY", "PENDING"])
def test_an_unfinished_task_says_nothing_yet(status: str) -> None:
    assert read_confirmation(stored(status, None), IDS) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"not JSON",
        b"[]",
        b"{}",
        stored("FAILURE", {"exc_type": "RuntimeError", "exc_message": ["secret"]}),
        stored("REVOKED", None),
        stored("SUCCESS", None),
        stored("SUCCESS", {"operations": 2, "applied": 2, "rest": []}),
        stored("SUCCESS", {"operations": 3, "applied": 2}),
        stored("SUCCESS", {"operations": 3, "applied": 2, "rest": [[7, "duplicate"]]}),
        stored("SUCCESS", {"operations": 3, "applied": 2, "rest": [7]}),
    ],
)
def test_anything_else_is_no_confirmation(raw: bytes) -> None:
    with pytest.raises(OddAnswerError) as caught:
        read_confirmation(raw, IDS)
    assert "secret" not in str(caught.value)
