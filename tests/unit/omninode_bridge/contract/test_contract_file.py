"""The contract file says what the code does, and nothing else."""

import importlib
import tomllib
from functools import reduce
from typing import Any, get_type_hints

import pytest
import yaml

from omninode_bridge import ModelIntentResult, StoreEffect
from omninode_bridge.bus.envelope import reducer_topic_name
from omninode_bridge.client.broker import INTENT_BATCH_TASK, queue_of
from omninode_bridge.contract.enums import EnumIntentType
from omninode_bridge.contract.operation_types import INTENT_TYPES
from omninode_bridge.intents.intents import OPERATION_TYPE_OF
from omninode_bridge.intents.results import RESULT_CLASSES
from tests.checkout import CHECKOUT

CONTRACT: dict[str, Any] = yaml.safe_load((CHECKOUT / "omninode_bridge" / "contract.yaml").read_text(encoding="utf-8"))


def named(path: str) -> Any:
    module, _, names = path.partition(":")
    return reduce(getattr, names.split("."), importlib.import_module(module))


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert CONTRACT["version"] == project["version"]
    assert named(CONTRACT["implementation"]) is StoreEffect


def test_every_capability_has_an_entry_point_that_exists() -> None:
    assert list(CONTRACT["entry_points"]) == CONTRACT["capabilities"]
    assert all(callable(named(path)) for path in CONTRACT["entry_points"].values())


def test_the_models_are_those_that_go_in_and_come_out() -> None:
    assert set(CONTRACT["io"]) == {"input_model", "output_model"}
    assert named(CONTRACT["io"]["output_model"]) is ModelIntentResult
    assert get_type_hints(StoreEffect.execute_intents)["return"] == list[ModelIntentResult]
    assert {"intent_type", "target", "payload", "priority"} < set(named(CONTRACT["io"]["input_model"]).model_fields)


def test_the_intents_are_all_there_are_with_their_targets_operations_and_results() -> None:
    intents = CONTRACT["intents"]
    assert [one["type"] for one in intents] == list(EnumIntentType)
    assert [one["operation"] for one in intents] == list(OPERATION_TYPE_OF.values()) == list(INTENT_TYPES)
    for one in intents:
        kind = EnumIntentType(one["type"])
        assert one["target"] == kind.target and named(one["result"]) is RESULT_CLASSES[kind]


def test_each_event_has_its_topic_and_what_intents_announce_is_among_them() -> None:
    events = {one["event_type"]: one["topic"] for one in CONTRACT["events"]}
    assert events == {name: reducer_topic_name(name) for name in events}
    announced = {one["announces"] for one in CONTRACT["intents"] if "announces" in one}
    assert set(events) == announced | {"operation_failed"}


def test_the_fleets_task_and_queue_are_those_that_the_client_uses() -> None:
    fleet = CONTRACT["dependencies"]["fleet"]
    assert (fleet["task"], fleet["queue"]) == (INTENT_BATCH_TASK, queue_of(INTENT_BATCH_TASK))


def test_the_variables_are_those_that_are_read() -> None:
    class Asked(dict[str, str]):
        """Notes what it is asked for."""

        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    asked: set[str] = set()
    StoreEffect.from_environment(Asked(OMNINODE_BROKER_URL="redis://127.0.0.1:1/0"))
    assert set(CONTRACT["dependencies"]["broker"]["configured_by"]) == asked - {"ENABLE_INTENT_PUBLISHER"}


def test_the_metrics_are_those_that_there_are() -> None:
    metrics = StoreEffect("redis://127.0.0.1:1/0").get_metrics()
    assert [one["name"] for one in CONTRACT["metrics"]] == list(metrics)
    assert {one["type"] for one in CONTRACT["metrics"]} == {"counter", "gauge"}


@pytest.mark.parametrize("name", ["publish_event_ms", "persist_state_ms", "persist_fsm_transition_ms"])
def test_the_figures_are_numbers_and_grow(name: str) -> None:
    figures = CONTRACT["performance"][name]
    assert 0 < figures["p95"] < figures["p99"]
