"""What the store effect answers for each intent and each end."""

from typing import Any

import pytest

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.enums import EnumIntentType
from omninode_bridge.contract.outcome import Outcome, Status
from omninode_bridge.intents.intents import intent_item
from omninode_bridge.intents.results import (
    ModelFSMResult,
    ModelIntentResult,
    ModelPersistStateResult,
    ModelPublishResult,
    result_of,
)
from tests.intent_payloads import AGGREGATION, WORKFLOW, flat_event, move, nested_event, state


def answer(
    intent: dict[str, Any],
    status: Status | None,
    code: str | None = None,
    message: str | None = None,
    *,
    detail: dict[str, Any] | None = None,
    **more: Any,
) -> ModelIntentResult:
    item = intent_item(intent)
    outcome = None if status is None else Outcome(item.operation_id, status, code, message, detail)
    result = result_of(intent, item, outcome, 1.5, **more)
    assert (result.intent_id, result.execution_time_ms) == (item.operation_id, 1.5)
    assert result.timestamp.tzinfo is not None
    return result


def test_a_published_event_tells_its_topic_its_id_and_whether_the_bus_has_it() -> None:
    intent = {"intent_type": "PUBLISH_EVENT", "payload": flat_event()}
    result = answer(intent, "applied", detail={"event_published": True})
    assert isinstance(result, ModelPublishResult)
    assert (result.success, result.error, result.event_published, result.dlq_fallback) == (True, None, True, False)
    assert (result.intent_type, result.event_type) == (EnumIntentType.PUBLISH_EVENT, "AGGREGATION_STARTED")
    assert (result.topic, result.event_id) == (
        "omninode_bridge.reducer.events.aggregation_started",
        str(result.intent_id),
    )
    named = answer({"intent_type": "PublishEvent", "payload": nested_event()}, "duplicate")
    assert isinstance(named, ModelPublishResult)
    assert (named.success, named.event_published, named.topic) == (True, False, nested_event()["topic"])


def test_a_persisted_state_tells_what_it_added() -> None:
    data = {"a": {"total_stamps": 3, "unique_workflows_count": 1}, "b": {"total_stamps": 4}}
    result = answer({"intent_type": "PersistState", "payload": state(aggregated_data=data)}, "applied")
    assert isinstance(result, ModelPersistStateResult)
    assert (result.namespaces_persisted, result.total_items, result.total_workflows) == (["a", "b"], 7, 1)
    assert result.aggregation_id == AGGREGATION


def test_a_refused_state_has_added_nothing() -> None:
    result = answer({"intent_type": "PersistState", "payload": state()}, "refused", "TOO_OLD", "occurred_at: old")
    assert isinstance(result, ModelPersistStateResult)
    assert (result.success, result.error) == (False, "TOO_OLD: occurred_at: old")
    assert (result.namespaces_persisted, result.total_items, result.aggregation_id) == ([], 0, AGGREGATION)


def test_a_persisted_move_tells_its_states_and_its_id() -> None:
    result = answer(
        {"intent_type": "PersistFSMTransition", "payload": move()}, "duplicate", detail={"event_published": True}
    )
    assert isinstance(result, ModelFSMResult)
    assert (result.success, result.workflow_id, result.transition_id) == (True, WORKFLOW, str(result.intent_id))
    assert (result.from_state, result.to_state, result.event_published) == ("PROCESSING", "COMPLETED", True)


def test_a_recovery_tells_what_it_found() -> None:
    found = {
        "recovered_states": {WORKFLOW: {"current_state": "COMPLETED"}},
        "total_recovered": 1,
        "failed": 0,
        "partial": True,
        "next_page": "p2",
    }
    result = answer({"intent_type": "RecoverFSMStates", "payload": {}}, "applied", detail=found)
    assert isinstance(result, ModelFSMResult) and {name: getattr(result, name) for name in found} == found


@pytest.mark.parametrize("kind", ["Persist", "", None])
def test_an_intent_of_an_unknown_type_is_answered_under_the_name_it_gave(kind: Any) -> None:
    result = answer({"intent_type": kind}, "refused", "VALIDATION_ERROR", "intent_type: no")
    assert type(result) is ModelIntentResult and result.intent_type == (kind or "") and not result.success


@pytest.mark.parametrize(("more", "error"), [({}, "skipped"), ({"error": "not confirmed"}, "not confirmed")])
def test_an_intent_without_outcome_says_why(more: dict[str, Any], error: str) -> None:
    for kind, payload in (("PublishEvent", flat_event()), ("PersistState", state()), ("RecoverFSMStates", None)):
        result = answer({"intent_type": kind, "payload": payload}, None, **more)
        assert (result.success, result.error) == (False, error)


def test_a_refused_intent_of_a_known_type_is_answered_by_its_own_model() -> None:
    result = answer({"intent_type": "PublishEvent", "payload": {"event_type": "A B"}}, "refused", "X", "y")
    assert isinstance(result, ModelPublishResult)
    assert (result.event_type, result.topic, result.error) == ("A B", None, "X: y")
    given = {"intent_type": "PersistState", "intent_id": uuid7()}
    assert isinstance(answer(given, "refused", "X", "y"), ModelPersistStateResult)


def test_results_go_through_json() -> None:
    result = answer({"intent_type": "PersistFSMTransition", "payload": move()}, "applied")
    assert ModelFSMResult.model_validate_json(result.model_dump_json()) == result
