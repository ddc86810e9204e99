"""A gradual rollout: what the variable may say, and who is taken."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from omninode_bridge import OnexError, StoreEffect
from omninode_bridge.intents.rollout import share_of, takes

URL = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("value", "share"),
    [("true", 1), (" True ", 1), ("FALSE", 0), (True, 1), (False, 0), ("0.25", 0.25), (0.25, 0.25), ("1", 1), (0, 0)],
)
def test_a_share_is_a_word_or_a_number(value: Any, share: float) -> None:
    assert share_of(value) == share


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yes",
        "25%",
        "1.5",
        "-0.1",
        "nan",
        "0_1",
        "1_0",
        "\u0660.\u0665",
        -1,
        2,
        float("nan"),
        10**400,
        None,
        [],
        b"1",
    ],
)
def test_any_other_share_is_refused_by_the_variables_name(value: Any) -> None:
    with pytest.raises(OnexError, match=r"ENABLE_INTENT_PUBLISHER: .* is neither true nor false nor a share"):
        share_of(value)


def test_who_is_in_stays_in_while_the_share_grows() -> None:
    ids = [uuid4() for _ in range(4000)]
    before: set[UUID] = set()
    for share in (0.0, 0.1, 0.25, 0.5, 1.0):
        taken = {id_ for id_ in ids if takes(id_, share=share)}
        assert before <= taken and abs(len(taken) / len(ids) - share) < 0.04
        before = taken
    assert before == set(ids)


def test_the_same_aggregation_is_taken_by_every_process_however_its_id_is_written() -> None:
    id_ = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
    # A hash that changed would move half of the aggregations at an upgrade, in the midst of a rollout.
    assert [takes(id_, share=share) for share in (0.38, 0.39)] == [False, True]
    for written in (id_.hex, f"{{{id_}}}", str(id_).upper(), f" {id_} ", f"{{{id_.hex.upper()}}}", id_.urn):
        assert takes(written, share=0.39) and not takes(written, share=0.38), written
    assert takes(" Agg-1 ", share=0.5) == takes("agg-1", share=0.5)


def test_a_store_effect_comes_from_the_variables_that_it_is_given() -> None:
    environ = {"OMNINODE_BROKER_URL": URL}
    assert not StoreEffect.from_environment(environ).takes("a")
    assert not StoreEffect.from_environment(environ | {"ENABLE_INTENT_PUBLISHER": ""}).takes("a")
    assert StoreEffect.from_environment(environ | {"ENABLE_INTENT_PUBLISHER": "true"}).takes("a")
    assert StoreEffect(URL).takes("a")
    more = {"OMNINODE_RESULT_BACKEND_URL": "redis://127.0.0.1:2/0", "OMNINODE_BROKER_KEY_PREFIX": "p_"}
    settings = StoreEffect.from_environment(environ | more)._client._client._route.settings()
    assert settings["result_backend"] == more["OMNINODE_RESULT_BACKEND_URL"]
    assert settings["broker_transport_options"]["global_keyprefix"] == "p_"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "OMNINODE_BROKER_URL"),
        ({"OMNINODE_BROKER_URL": ""}, "OMNINODE_BROKER_URL"),
        ({"OMNINODE_BROKER_URL": "amqp://x"}, "result_backend_url"),
        ({"OMNINODE_BROKER_URL": URL, "ENABLE_INTENT_PUBLISHER": "maybe"}, "ENABLE_INTENT_PUBLISHER"),
    ],
)
def test_a_missing_or_wrong_variable_is_named(environ: dict[str, str], name: str) -> None:
    with pytest.raises(OnexError, match=name):
        StoreEffect.from_environment(environ)
