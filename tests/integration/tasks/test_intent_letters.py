"""Intents that were refused: kept as dead letters, announced, and carried out once they are repaired."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest

from omninode_bridge.contract.clock import now
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.intents.intents import intent_item
from store.letters import find, retry
from store.write.apply import apply
from tests import factories
from tests.factories import count, store_connection
from tests.integration.tasks.intent_tasks import Fleet, fleet_on
from tests.intent_payloads import flat_event, refused, state


@pytest.fixture
def fleet(database: str) -> Iterator[Fleet]:
    with fleet_on(database) as one:
        yield one


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with store_connection(database) as opened:
        yield opened


def failures(conn: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Of each event operation_failed in the outbox: the intent type, and the id that its dead letter has."""
    found = conn.execute(
        "select event.payload->>'intent_type', letter.id::text from event_logs as event"
        " left join dead_letters as letter on letter.id::text = event.payload->>'operation_id'"
        " where event_type = 'operation_failed' and direction = 'out' order by 1, 2"
    )
    return found.fetchall()


def kept(conn: psycopg.Connection[Any], refusal: Refusal) -> dict[str, Any]:
    """Have the fleet refuse it, and give the intent that its letter holds."""
    (outcome,) = apply(conn, [refusal])
    assert (outcome.status, outcome.message) == ("refused", refusal.message)
    intent: dict[str, Any] = orjson.loads(find(conn, refusal.operation_id).payload or "")
    return intent


def test_a_repaired_intent_is_carried_out_under_the_id_of_its_letter(database: str) -> None:
    wrong = refused("PersistState", state(agregated=1, timestamp=now()))
    with store_connection(database) as conn:
        intent = kept(conn, wrong)
        letter = find(conn, wrong.operation_id)
        with pytest.raises(OnexError, match="agregated: Extra inputs"):
            retry(conn, letter)
        del intent["payload"]["agregated"]
        assert retry(conn, letter, payload=orjson.dumps(intent).decode()) == wrong.operation_id
        assert count(conn, "bridge_states") == 1
        (late,) = apply(conn, [wrong])
        assert late.status == "duplicate"


def test_the_letter_of_an_intent_holds_what_makes_the_same_refusal_again(database: str) -> None:
    wrong = refused("PersistState", state(aggregation_id="no", timestamp=now()), priority=1)
    with store_connection(database) as conn:
        assert intent_item(kept(conn, wrong)) == wrong


ODD = [None, 5, "x", [1], {}, {"intent_type": "Foo", "payload": state()}, {"intent_type": "Foo!!"}]


def test_every_refused_intent_is_kept_once_and_announced_once(fleet: Fleet, conn: psycopg.Connection[Any]) -> None:
    known = [
        {"intent_type": "RecoverFSMStates", "payload": {"limit": 0}},
        {"intent_type": "PublishEvent", "payload": {}},
        {"intent_type": "PersistState", "payload": 5},
        {"intent_type": "PersistFSMTransition"},
    ]
    for _ in range(2):
        results = fleet.call("execute_intents", ODD + known)
        assert not any(result["success"] for result in results)
    assert count(conn, "dead_letters") == len(ODD + known) == len({result["intent_id"] for result in results})
    told = failures(conn)
    assert sorted(id_ for _, id_ in told) == sorted(result["intent_id"] for result in results)
    types = [type_ for type_, _ in told]
    named = ["'Foo!!'", "Foo", "PersistFSMTransition", "PersistState", "PublishEvent", "RecoverFSMStates"]
    assert sorted(types) == sorted([""] * 5 + named)
    kept = {letter for (letter,) in conn.execute("select payload from dead_letters where operation_type = 'intent'")}
    assert {"null", "5", '"x"', "[1]", "{}"} < kept


@pytest.mark.parametrize("given", ["{", "[{}", [{}] * 1001])
def test_what_cannot_be_read_as_intents_is_announced_as_one_failure(
    fleet: Fleet, conn: psycopg.Connection[Any], given: Any
) -> None:
    fleet.call("execute_intents", given)
    assert count(conn, "dead_letters") == len(failures(conn)) == 1


def test_refusals_of_the_persist_queue_are_not_announced(fleet: Fleet, conn: psycopg.Connection[Any]) -> None:
    wrong = [{"operation_type": "intent"}, {"operation_type": "Foo"}, 5, {"operation_type": "persist_workflow_step"}]
    assert len(fleet.call("persist_batch", orjson.dumps(wrong).decode(), queue="persist")["rest"]) == 4
    assert (count(conn, "dead_letters"), failures(conn)) == (4, [])


@pytest.mark.parametrize("task", ["persist_state", "publish_event", "recover_fsm_states"])
def test_a_task_of_one_intent_refuses_another_by_name(fleet: Fleet, conn: psycopg.Connection[Any], task: str) -> None:
    move = factories.transition_intent()
    whole = {"intent_type": "persist_fsm_transition", "payload": {"workflow_id": str(move.operation_id)}, "lease": 1}
    result = fleet.call(task, whole)
    assert result["error"] == "VALIDATION_ERROR: intent_type: PersistFSMTransition is not taken by this task"
    assert result["intent_type"] == "PersistFSMTransition"
    assert [type_ for type_, _ in failures(conn)] == ["PersistFSMTransition"]


def test_a_field_of_a_payload_makes_it_no_intent(fleet: Fleet, conn: psycopg.Connection[Any]) -> None:
    about = {"aggregation_id": str(uuid4()), "timestamp": now().isoformat()}
    told = {"intent_type": "PersistState", "payload": {"n": 1}, "priority": "high"}
    result = fleet.call("publish_event", flat_event(**about, **told))
    assert result["success"], result["error"]
    ((published,),) = conn.execute("select payload from event_logs").fetchall()
    assert published == {"batch_size": 100, **about, **told}
    stray = fleet.call("persist_state", state(**about, intent_type="PersistState"))
    assert "intent_type: Extra inputs are not permitted" in stray["error"]
    whole = {"intent_type": None, "target": "t", "payload": state(**about), "lease_id": 7}
    assert fleet.call("persist_state", whole)["success"]
