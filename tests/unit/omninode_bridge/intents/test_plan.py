"""Which intents are carried out together, and in which order."""

from typing import Any

import pytest

from omninode_bridge.intents.plan import must_succeed, plan


def intents(*given: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"intent_type": kind, "priority": priority} for kind, priority in given]


P, S, F, R = "PublishEvent", "PersistState", "PersistFSMTransition", "RecoverFSMStates"


@pytest.mark.parametrize(
    ("given", "fail_fast", "expected"),
    [
        ([], False, []),
        ([(P, 0), (S, 1), (P, 0), (F, 1)], False, [[1, 3, 0, 2]]),
        ([(P, 0), (R, 2), (S, 1)], False, [[1], [2, 0]]),
        ([(S, 1), (R, 1), (F, 1)], False, [[0], [1], [2]]),
        ([(R, 2), (R, 2)], False, [[0], [1]]),
        ([(P, 0), (S, 2), (F, 2), (S, 1)], False, [[1, 2, 3, 0]]),
        ([(P, 0), (S, 2), (F, 2), (S, 1)], True, [[1], [2], [3, 0]]),
        ([(P, 1), (S, 1)], True, [[0, 1]]),
        ([("unknown", 5), (S, "high"), (P, -3), (F, None)], False, [[0, 1, 2, 3]]),
        ([("unknown", 5), (S, 1)], True, [[0], [1]]),
    ],
)
def test_the_highest_priority_comes_first_and_effects_go_together(
    given: list[tuple[str, Any]], fail_fast: bool, expected: list[list[int]]
) -> None:
    assert plan(intents(*given), fail_fast) == expected


def test_every_intent_stands_in_exactly_one_step() -> None:
    given = intents(*[((P, S, F, R)[n % 4], n % 3) for n in range(100)])
    for fail_fast in (False, True):
        assert sorted(n for step in plan(given, fail_fast) for n in step) == list(range(100))


def test_only_an_intent_of_a_priority_above_one_stops_the_others_and_only_when_asked() -> None:
    low, high = intents((S, 1), (S, 2))
    assert [must_succeed(one, asked) for one in (low, high) for asked in (False, True)] == [False, False, False, True]
