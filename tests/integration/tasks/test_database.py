"""The tasks of generic operations, called as a worker calls them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

import tasks.database
from omninode_bridge.client.broker import QUERIES_QUEUE
from omninode_bridge.contract.clock import now, uuid7
from omninode_bridge.contract.operation_types import operation_of
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.query_operation import DatabaseOperation, DatabaseOperationData
from omninode_bridge.contract.wire import decode_outcomes, encode, encode_batch
from store.generic import carry_out as generic
from tests.integration.omninode_bridge.client.clients import heartbeat
from tests.integration.tasks.intent_tasks import Fleet, fleet_on
from worker.process.task_summary import RESULT_CHARS

SECRET = "a value that must not be shown"
NOWHERE = "postgresql://fleet:word@127.0.0.1:1/none"


@pytest.fixture
def fleet(database: str) -> Iterator[Fleet]:
    with fleet_on(database) as one:
        tasks.database.register(one.app, one.gate)
        yield one


def insert(**fields: Any) -> dict[str, Any]:
    state = {"bridge_id": str(uuid4()), "namespace": "ns", "current_fsm_state": "ACTIVE"}
    return {"operation_type": "insert", "entity_type": "bridge_state", "entity": state | fields}


def transition() -> dict[str, Any]:
    """What only the ledger keeps from being written twice."""
    move = {"entity_id": str(uuid4()), "entity_type": "order", "to_state": "A", "transition_event": "e"}
    return {"operation_type": "insert", "entity_type": "fsm_transition", "entity": move}


def count(entity_type: str = "bridge_state") -> dict[str, Any]:
    return {"operation_type": "count", "entity_type": entity_type}


def operation(request: dict[str, Any]) -> DatabaseOperation:
    found = operation_of(DatabaseOperationData(request=request | {"correlation_id": str(uuid4())}))
    assert isinstance(found, DatabaseOperation)
    return found


def batch(fleet: Fleet, *items: Any, **options: Any) -> list[Outcome]:
    text = encode_batch([encode(item) for item in items])
    answer = fleet.call("database_operations", text, queue=QUERIES_QUEUE, **options)
    return decode_outcomes(json.loads(json.dumps(answer)), [item.operation_id for item in items])


def ask(fleet: Fleet, *args: Any, **kwargs: Any) -> Any:
    return fleet.call("database_operation", *args, queue=QUERIES_QUEUE, **kwargs)


def answer_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.detail is not None
    return outcome.detail


# ---- a client's batch ------------------------------------------------------------------------------------------------


def test_each_operation_of_a_batch_has_its_answer_and_its_own_transaction(fleet: Fleet) -> None:
    wrong = insert(namespace=None)
    asked = [operation(request) for request in (insert(), wrong, insert(), count())]
    outcomes = batch(fleet, *asked)
    assert [one.status for one in outcomes] == ["applied", "refused", "applied", "applied"]
    answers = [answer_of(one) for one in outcomes]
    assert [one["success"] for one in answers] == [True, False, True, True]
    assert (outcomes[1].code, answers[1]["error_code"]) == ("VALIDATION_ERROR", "VALIDATION_ERROR")
    assert "namespace" in answers[1]["error_message"]
    assert answers[3]["result_data"] == {"count": 2}
    assert [one["correlation_id"] for one in answers] == [str(one.correlation_id or _trace(one)) for one in asked]


def _trace(one: DatabaseOperation) -> str:
    return str(one.data.request["correlation_id"])


def test_a_batch_that_comes_again_is_answered_the_same_and_written_once(fleet: Fleet) -> None:
    asked = [operation(transition()), operation(transition())]
    first, again = batch(fleet, *asked), batch(fleet, *asked)
    timeless = [[answer_of(one) | {"execution_time_ms": 0} for one in outcomes] for outcomes in (first, again)]
    assert timeless[0] == timeless[1]
    assert answer_of(batch(fleet, operation(count("fsm_transition")))[0])["result_data"] == {"count": 2}


def test_other_operations_and_what_does_not_parse_are_refused_without_a_dead_letter(
    fleet: Fleet, database: str
) -> None:
    other = operation_of(heartbeat())
    good = operation(insert())
    unreadable = encode(good).replace(b'"data":{"request"', b'"data":{"surprise":1,"request"')
    texts = [encode(other), unreadable, encode(operation(insert()))]
    answer = fleet.call("database_operations", encode_batch(texts), queue=QUERIES_QUEUE)
    assert (answer["operations"], answer["applied"]) == (3, 1)
    assert [(position, status, code) for position, status, code, _ in answer["rest"]] == [
        (0, "refused", "VALIDATION_ERROR"),
        (1, "refused", "VALIDATION_ERROR"),
    ]
    assert [message for *_, message in answer["rest"]] == [
        "operation_type: not taken by this task",
        "surprise: Extra inputs are not permitted",
    ]
    with psycopg.connect(database) as conn:
        assert conn.execute("select count(*) from dead_letters").fetchall() == [(0,)]


def test_a_defect_is_answered_and_harms_no_neighbour(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def carry_out(conn: Any, request: Any, **options: Any) -> dict[str, Any]:
        if request["operation_type"] == "insert":
            raise RuntimeError(SECRET)
        return real(conn, request, **options)

    real = generic.carry_out
    monkeypatch.setattr(generic, "carry_out", carry_out)
    defect, good = batch(fleet, operation(insert()), operation(count()))
    assert (defect.status, defect.code, defect.detail) == ("refused", "INTERNAL_ERROR", None)
    assert SECRET not in (defect.message or "")
    assert answer_of(good)["result_data"] == {"count": 0}


def test_the_operations_of_a_large_message_share_what_an_answer_may_weigh(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[int] = []

    def carry_out(conn: Any, request: Any, *, max_bytes: int, **options: Any) -> dict[str, Any]:
        shares.append(max_bytes)
        return real(conn, request, max_bytes=max_bytes, **options)

    real = generic.carry_out
    monkeypatch.setattr(generic, "carry_out", carry_out)
    for size in (1, 16, 64):
        batch(fleet, *[operation(count()) for _ in range(size)])
    assert sorted(set(shares)) == [2**20, 4 * 2**20]
    assert shares[:17] == [4 * 2**20] * 17


@pytest.mark.parametrize("operation_type", ["query", "update"])
def test_one_large_row_needs_a_share_that_holds_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, operation_type: str
) -> None:
    monkeypatch.setattr(tasks.database, "MAX_ANSWERS_BYTES", 8000)
    monkeypatch.setattr(generic, "MAX_BYTES", 2000)
    large = insert(configuration={"text": "x" * 3000})
    assert ask(fleet, large)["success"]
    asked: dict[str, Any] = {
        "operation_type": operation_type,
        "entity_type": "bridge_state",
        "query_filters": {"bridge_id": large["entity"]["bridge_id"]},
    }
    if operation_type == "update":
        asked |= {"entity": {"version": 2}, "returning": True}
    (alone,) = batch(fleet, operation(asked))
    assert alone.status == "applied"
    crowded, *others = batch(fleet, operation(asked), *[operation(count()) for _ in range(2)])
    assert (crowded.code, [one.status for one in others]) == ("VALIDATION_ERROR", ["applied"] * 2)
    assert str(8000 // 3) in answer_of(crowded)["error_message"]


# ---- one request of any producer -------------------------------------------------------------------------------------


def test_one_request_is_answered_with_its_output(fleet: Fleet) -> None:
    request = insert()
    for given in ((request,), (json.dumps(insert()),)):
        output = ask(fleet, *given)
        assert output["success"] and output["rows_affected"] == 1, output
    assert ask(fleet, **count())["result_data"] == {"count": 2}
    assert ask(fleet, count() | {"correlation_id": str(request["entity"]["bridge_id"])})["correlation_id"] == str(
        request["entity"]["bridge_id"]
    )


def test_text_is_read_as_exactly_as_what_celery_itself_reads(fleet: Fleet) -> None:
    assert ask(fleet, "\ufeff" + json.dumps(insert()))["success"]
    for n, problem in ((2**64, "integer of more than 64 bits"), (float("nan"), "not a finite number")):
        for given in (insert(configuration={"n": n}), json.dumps(insert(configuration={"n": n}))):
            output = ask(fleet, given)
            assert output["error_message"] == f"request: entity.configuration.n: {problem}"


def test_a_request_without_ids_has_them_from_its_task(fleet: Fleet) -> None:
    task_id = str(uuid4())
    first, again = (ask(fleet, transition_of_task, task_id=task_id) for transition_of_task in [transition()] * 2)
    assert first["success"] and first["correlation_id"] == task_id
    assert first["result_data"] == again["result_data"]
    assert ask(fleet, count("fsm_transition"))["result_data"] == {"count": 1}
    assert ask(fleet, count(), task_id="named by hand")["success"]


@pytest.mark.parametrize("days", [1, 2, 6])
def test_a_task_that_comes_again_on_another_day_is_the_same(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    request, task_id = transition(), str(uuid4())
    monkeypatch.setattr(tasks.database, "now", lambda: now() - timedelta(days=days))
    before = ask(fleet, request, task_id=task_id)
    monkeypatch.setattr(tasks.database, "now", lambda: datetime.now(UTC))
    after = ask(fleet, request, task_id=task_id)
    assert before["success"] and before["result_data"] == after["result_data"]
    assert ask(fleet, count("fsm_transition"))["result_data"] == {"count": 1}


def test_an_operation_id_may_stand_in_the_request(fleet: Fleet) -> None:
    given = transition() | {"operation_id": str(uuid7())}
    first, again = ask(fleet, given), ask(fleet, given)
    assert first["result_data"] == again["result_data"] == {"id": given["operation_id"]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["x"], "request: not a JSON object"),
        ("no JSON", "request: not a JSON object"),
        ({}, "operation_type"),
        (count() | {"operation_id": str(uuid4())}, "operation_id: not a UUID of version 7"),
        (count() | {"operation_id": 7}, "operation_id"),
        (count() | {"correlation_id": "x"}, "correlation_id"),
        (count() | {"query_filters": {"namespace": "\0"}}, "text with NUL"),
        (count() | {"query_filters": {"namespace": "x" * 2**20}}, "bytes, at most"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(fleet: Fleet, given: Any, message: str) -> None:
    output = ask(fleet, given)
    assert output.keys() == ask(fleet, count()).keys()
    assert (output["success"], output["error_code"], output["rows_affected"]) == (False, "VALIDATION_ERROR", 0)
    assert message in output["error_message"]


def test_a_wrong_queue_is_not_served(fleet: Fleet) -> None:
    with pytest.raises(Exception, match="not taken from the queue 'persist'"):
        fleet.call("database_operation", count(), queue="persist")


# ---- what others see of it -------------------------------------------------------------------------------------------


def test_the_beginning_of_a_result_shows_no_payload(fleet: Fleet) -> None:
    state = insert(aggregation_metadata={"secret": SECRET}) | {"returning": True}
    text = encode_batch([encode(operation(state))])
    answers = (
        fleet.call("database_operations", text, queue=QUERIES_QUEUE),
        ask(fleet, {"operation_type": "query", "entity_type": "bridge_state"}),
    )
    for answer in answers:
        assert SECRET in repr(answer) and "'success': True" in repr(answer)[:RESULT_CHARS]
        assert "result_data" not in repr(answer)[:RESULT_CHARS]


def test_a_worker_tells_how_it_finds_the_database(fleet: Fleet) -> None:
    output = ask(fleet, {"operation_type": "get_health_status"})
    health = output["result_data"]
    assert output["success"] and (health["healthy"], health["database_status"]) == (True, "HEALTHY")
    assert health["database_version"].startswith("PostgreSQL 18")
    assert health["connection_stats"]["pool_size"] == 2 and health["connection_stats"]["total_queries"] > 0
    assert (health["circuit_breaker_status"], health["error_message"]) == ("CLOSED", None)


def test_while_the_database_is_away_messages_go_back_and_health_says_so() -> None:
    with fleet_on(NOWHERE) as fleet:
        tasks.database.register(fleet.app, fleet.gate)
        assert ask(fleet, {**count(), "operation_id": str(uuid7())}).state == "REJECTED"
        assert ask(fleet, insert()).state == "REJECTED"
        health = ask(fleet, {"operation_type": "get_health_status"})["result_data"]
        assert (health["healthy"], health["database_status"]) == (False, "UNHEALTHY")
        assert health["error_message"] and "word" not in health["error_message"]
