"""How the tests are dealt out to several processes."""

import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.checkout import CHECKOUT
from tests.conftest import pytest_make_parametrize_id
from tests.portions import APART, KINDS, PROCESSES_PER_CORE, processes, rank


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["tests"], int(2 * PROCESSES_PER_CORE)),
        (["tests/unit", "tests/unit/test_house.py"], int(2 * PROCESSES_PER_CORE)),
        (["tests/unit/test_house.py"], 0),
        (["tests/unit/test_house.py::test_x[a/b]", "tests/unit/test_portions.py"], 0),
        ([], int(2 * PROCESSES_PER_CORE)),
    ],
)
def test_single_files_and_tests_run_in_this_process_and_all_others_in_several(
    arguments: list[str], wanted: int
) -> None:
    assert processes(2, arguments) == wanted


def test_the_shared_fleet_comes_first_to_those_who_have_it_and_last_to_the_others() -> None:
    shared = "tests/acceptance/fleet/test_stack.py"
    others = [*APART, *(f"{path}test_x.py" for path in KINDS[1:])]
    assert all(rank(shared, with_fleet=True) < rank(other, with_fleet=True) for other in others)
    assert all(rank(shared, with_fleet=False) > rank(other, with_fleet=False) for other in others)
    assert sorted(others, key=lambda one: rank(one, with_fleet=False)) == others


def test_what_stands_apart_is_there_and_asks_no_shared_fleet() -> None:
    for path in APART:
        assert not re.search(r"def test_\w+\([^)]*\b(stack|empty)\b", (CHECKOUT / path).read_text(encoding="utf-8"))


def test_a_moment_or_an_id_names_no_test_because_each_process_would_make_another_one() -> None:
    moment, one = datetime.now(UTC).isoformat(), str(uuid4())
    assert {pytest_make_parametrize_id(val, "given") for val in (moment, one, one.upper(), f"eta-{moment}")} == {
        "given"
    }
    assert {pytest_make_parametrize_id(val, "given") for val in ("2026", "a-b", "", 5, None)} == {None}
