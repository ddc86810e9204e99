"""A query that comes over the bus is answered there, once."""

import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge import FleetClient, WorkflowExecutionData
from tests.acceptance.consuming import consumer_of
from tests.conftest import Stack
from tests.deadline import wait_until
from worker.bus import BusMessage, open_bus
from worker.settings import Settings

pytestmark = pytest.mark.acceptance
REQUESTS = "dev.omninode_bridge.onex.evt.query-requested.v1"
ANSWERS = r"^dev[.]omninode-bridge[.]database[.]query-(completed|failed)[.]v1$"


def request(correlation_id: str, payload: object = None, **query: Any) -> BusMessage:
    value = {
        "envelope_version": "1.0",
        "event_id": str(uuid4()),
        "event_type": "QUERY_REQUESTED",
        "event_timestamp": "2026-11-01T10:00:00+00:00",
        "source_node_id": "orchestrator-1",
        "correlation_id": correlation_id,
        "payload": payload or query,
    }
    return BusMessage(REQUESTS, correlation_id, json.dumps(value).encode())


def test_a_query_on_the_bus_is_answered_on_the_bus(empty: Stack) -> None:
    settings = Settings.load(
        broker_url=empty.env["OMNINODE_BROKER_URL"], database_url=empty.env["OMNINODE_DATABASE_URL"]
    )
    workflow, asked, wrong, unreadable = uuid4(), str(uuid4()), str(uuid4()), str(uuid4())
    named = f"asker {asked}"  # no UUID, and nevertheless where the answer is looked for
    with FleetClient(settings.broker_url) as client:
        client.submit(WorkflowExecutionData(correlation_id=workflow, current_state="PROCESSING", namespace="n"))
    bus = open_bus(settings)
    good = request(asked, entity_type="workflow_execution", filters={"correlation_id": str(workflow)}, limit=5)
    bad = request(wrong, entity_type="workflow_execution", filters={"nobody": 1})
    no_query = request(unreadable, payload="text")
    mine = request(named, entity_type="workflow_execution", limit=1)
    delivered = bus.publish([good, bad, good, no_query, mine, no_query], timeout_s=10)
    assert [one.status for one in delivered] == ["published"] * 6

    consumer = bus.consumer(f"asker-{asked}", [ANSWERS], on_lost=lambda lost: None)
    answers: dict[str, list[dict[str, Any]]] = {asked: [], wrong: [], unreadable: [], named: []}

    def answered() -> bool:
        for record in consumer.poll(100, 0.2):
            if record.key in answers:
                assert record.value is not None
                answers[record.key].append(json.loads(record.value) | {"topic": record.topic})
        return all(answers.values())

    with consumer_of(empty, group=f"queries-{asked}"):
        wait_until(answered, seconds=60, what="all queries are answered")
    consumer.close()
    bus.close()

    (found,) = answers[asked]
    assert found["topic"].endswith("query-completed.v1") and found["correlation_id"] == asked
    assert found["success"] is True and found["rows_affected"] == 1
    assert found["rows"][0]["correlation_id"] == str(workflow) and found["rows"][0]["namespace"] == "n"
    assert found["execution_time_ms"] > 0 and found["timestamp"]
    (refused,) = answers[wrong]
    assert refused["topic"].endswith("query-failed.v1") and refused["success"] is False
    assert "'nobody': no column" in refused["error"]
    (failed,) = answers[unreadable]
    assert failed["topic"].endswith("query-failed.v1") and failed["correlation_id"] == unreadable
    assert (failed["success"], failed["error"]) == (False, "VALIDATION_ERROR: payload: not an object")
    (own,) = answers[named]
    assert own["topic"].endswith("query-completed.v1") and own["correlation_id"] == named
    with psycopg.connect(settings.database_url) as conn:
        sent = conn.execute("select count(*) from event_logs where event_type like 'query\\_%' and direction = 'out'")
        assert sent.fetchone() == (4,), "asked twice under one id, answered once"
