"""The tasks of intents as any Celery producer sees them that knows nothing but the broker's URL."""

import gc
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from celery import Celery

from tests.acceptance.flower import done_in_flower, flower
from tests.conftest import Stack
from tests.deadline import wait_until

pytestmark = pytest.mark.acceptance

ANSWER_S = 20
SECRET = "a value that must not be shown"


@pytest.fixture
def producer(stack: Stack) -> Iterator[Celery]:
    """A Celery app without a line of configuration."""
    url = stack.env["OMNINODE_BROKER_URL"]
    app = Celery("producer", broker=url, backend=url, set_as_current=False)
    yield app
    gc.collect()  # results that nobody holds any more say good-bye to the broker while there is one
    app.close()


def ask(app: Celery, task: str, *args: Any, queue: str | None = None, **kwargs: Any) -> Any:
    return app.send_task(f"omninode.{task}", args=args, kwargs=kwargs, queue=queue).get(timeout=ANSWER_S)


def timestamp() -> str:
    return datetime.now(UTC).isoformat()


def publish_event(aggregation_id: str) -> dict[str, Any]:
    return {"event_type": "AGGREGATION_STARTED", "aggregation_id": aggregation_id, "timestamp": timestamp()}


def persist_state(aggregation_id: str) -> dict[str, Any]:
    counts = {"total_stamps": 100, "total_size_bytes": 1024, "unique_workflows_count": 10, "file_types": [SECRET]}
    return {
        "aggregated_data": {"omninode.services.metadata": counts},
        "fsm_states": {str(uuid4()): "COMPLETED"},
        "aggregation_id": aggregation_id,
        "timestamp": timestamp(),
    }


def persist_transition(workflow_id: str) -> dict[str, Any]:
    record = {"from_state": "PENDING", "to_state": "PROCESSING", "trigger": "started", "timestamp": timestamp()}
    return {"workflow_id": workflow_id, "transition_record": record}


def test_intents_are_carried_out_and_their_events_are_on_the_bus(empty: Stack, producer: Celery) -> None:
    aggregation, workflow = str(uuid4()), str(uuid4())
    results = ask(
        producer,
        "execute_intents",
        [
            {"intent_type": "PublishEvent", "payload": publish_event(aggregation)},
            {"intent_type": "PersistState", "payload": persist_state(aggregation), "priority": 1},
            {"intent_type": "PersistFSMTransition", "payload": persist_transition(workflow), "priority": 1},
        ],
        fail_fast=True,
    )
    assert [result["success"] for result in results] == [True] * 3
    assert results[1]["total_items"] == 100
    with psycopg.connect(empty.env["OMNINODE_DATABASE_URL"], autocommit=True) as conn:
        of = "select total_items_aggregated from bridge_states where bridge_id = %s"
        assert conn.execute(of, (aggregation,)).fetchone() == (100,)
        pending = "select count(*) from event_logs where direction = 'out' and status <> 'published'"
        wait_until(lambda: conn.execute(pending).fetchone() == (0,), seconds=20, what="everything is on the bus")
    recovered = ask(producer, "recover_fsm_states", {"recovery_id": str(uuid4()), "request_all_workflows": True})
    assert recovered["recovered_states"][workflow]["current_state"] == "PROCESSING"


def test_an_answer_knows_that_its_event_is_on_the_bus(empty: Stack, producer: Celery) -> None:
    def published() -> bool:
        result = ask(producer, "publish_event", publish_event(str(uuid4())))
        assert result["success"]
        return bool(result["event_published"])

    wait_until(published, seconds=30, what="the relay publishes within the wait")


def test_each_intent_is_a_task_of_its_own_name(empty: Stack, producer: Celery) -> None:
    given = {
        "publish_event": publish_event(str(uuid4())),
        "persist_state": persist_state(str(uuid4())),
        "persist_fsm_transition_intent": persist_transition(str(uuid4())),
        "recover_fsm_states": {},
    }
    for task, payload in given.items():
        for queue in ("intents", None):
            assert ask(producer, task, payload, queue=queue)["success"], task
        assert ask(producer, task, **payload)["success"], task
        with pytest.raises(Exception, match="not taken from the queue 'persist'"):
            ask(producer, task, payload, queue="persist")


def test_flower_shows_what_kinds_of_intents_there_were_and_no_payload(empty: Stack, producer: Celery) -> None:
    whole = [{"intent_type": "PersistState", "payload": persist_state(str(uuid4()))} for _ in range(2)]
    event = {"intent_type": "PublishEvent", "payload": publish_event(str(uuid4())) | {"secret": SECRET}}
    sent = producer.send_task("omninode.execute_intents", args=[[event, *whole], False], queue="intents")
    sent.get(timeout=ANSWER_S)
    listed = wait_until(lambda: done_in_flower(empty, sent.id), seconds=20, what="Flower knows the task")
    assert listed["name"] == "omninode.execute_intents"
    assert (listed["args"], listed["kwargs"]) == ("3 operations: 2 persist_state, 1 publish_event", "{}")
    assert SECRET not in json.dumps(flower(empty, "/api/tasks"))
