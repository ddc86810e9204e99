"""Tasks, the worker's connections and its breaker, with rows that PostgreSQL cannot take, and without PostgreSQL."""

import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import psycopg
import pytest
from celery.result import EagerResult

import tasks.database
import tasks.housekeeping
import tasks.queries
from omninode_bridge.client.broker import QUERIES_QUEUE
from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.operation_types import operation_of
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.query_operation import DatabaseOperationData
from omninode_bridge.contract.wire import decode_outcomes, encode, encode_batch
from store.housekeeping.job import Batch
from tasks.housekeeping import Chore
from tests.factories import contribution, count, execution, heartbeat, publish_event, step, store_connection
from tests.integration.tasks.intent_tasks import Fleet, fleet_on
from tests.poison import END_BACKEND, HANG, MARK, RAISE_INTERNAL_ERROR, heal, spoil

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as connection:
        yield connection


@pytest.fixture
def fleet(database: str) -> Iterator[Fleet]:
    with fleet_on(database) as one:
        tasks.database.register(one.app, one.gate)
        tasks.queries.register(one.app, one.gate, max_bytes=1_000_000)
        yield one


def send(fleet: Fleet, task: str, queue: str, *items: Operation) -> list[Outcome]:
    text = encode_batch([encode(item) for item in items])
    answer = fleet.call(task, text, queue=queue)
    assert not isinstance(answer, EagerResult), "the message went back"
    return decode_outcomes(answer, [item.operation_id for item in items])


def persist(fleet: Fleet, *items: Operation) -> list[str | None]:
    return [outcome.code for outcome in send(fleet, "persist_batch", "persist", *items)]


def breaker(fleet: Fleet) -> dict[str, Any]:
    state: dict[str, Any] = fleet.gate.state()["breaker"]
    return state


@pytest.mark.parametrize("what", [RAISE_INTERNAL_ERROR, END_BACKEND], ids=["internal error", "ends its backend"])
def test_poison_is_set_aside_and_the_breaker_stays_closed(fleet: Fleet, conn: Conn, what: str) -> None:
    spoil(conn, "workflow_steps", what, column="step_name")
    for _ in range(3):
        bad = [step(step_name=MARK), step(step_name=MARK)]
        batch = [step(), bad[0], *(heartbeat(f"n{n}") for n in range(10)), bad[1], execution()]
        assert persist(fleet, *batch) == [None, "POISON", *([None] * 10), "POISON", None]
        assert persist(fleet, step(step_name=MARK)) == ["POISON"]
    assert breaker(fleet)["opened_count"] == 0
    assert count(conn, "dead_letters") == 9


def test_other_messages_pass_while_a_row_is_being_looked_for(fleet: Fleet, conn: Conn) -> None:
    spoil(conn, "workflow_steps", RAISE_INTERNAL_ERROR, column="step_name")
    ended = threading.Event()
    codes: list[list[str | None]] = []

    def poisoned() -> None:
        codes.append(persist(fleet, *[step() for _ in range(20)], step(step_name=MARK)))
        ended.set()

    thread = threading.Thread(target=poisoned)
    thread.start()
    passed = 0
    while not ended.is_set():
        assert persist(fleet, step(), heartbeat()) == [None, None]
        passed += 1
    thread.join(20)
    assert passed > 1 and codes == [[None] * 20 + ["POISON"]]


def test_an_intent_that_fails_does_not_keep_its_list_from_an_answer(fleet: Fleet, conn: Conn) -> None:
    spoil(conn, "bridge_states", RAISE_INTERNAL_ERROR, column="namespace")
    one = {"total_workflows": 1, "total_items": 2, "total_size_bytes": 3}
    bad = contribution(namespaces={MARK: one})
    outcomes = fleet.batch(publish_event(), bad, contribution())
    assert [outcome.code for outcome in outcomes] == [None, "POISON", None]
    told = conn.execute("select count(*) from event_logs where event_type ilike '%operation_failed%'").fetchone()
    assert told == (1,)
    assert breaker(fleet)["opened_count"] == 0


def ask(fleet: Fleet, request: dict[str, Any]) -> Outcome:
    asked = operation_of(DatabaseOperationData(request=request | {"correlation_id": str(uuid4())}))
    (outcome,) = send(fleet, "database_operations", QUERIES_QUEUE, asked)
    return outcome


def insert(namespace: str) -> dict[str, Any]:
    state = {"bridge_id": str(uuid4()), "namespace": namespace, "current_fsm_state": "ACTIVE"}
    return {"operation_type": "insert", "entity_type": "bridge_state", "entity": state}


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (RAISE_INTERNAL_ERROR, "DATABASE_OPERATION_ERROR"),
        (END_BACKEND, "DATABASE_OPERATION_ERROR"),
    ],
    ids=["internal error", "ends its backend"],
)
def test_a_generic_write_that_fails_is_answered(fleet: Fleet, conn: Conn, what: str, code: str) -> None:
    spoil(conn, "bridge_states", what, column="namespace")
    for _ in range(6):
        assert ask(fleet, insert(MARK)).code == code
    assert ask(fleet, insert("good")).status == "applied"
    assert breaker(fleet)["opened_count"] == 0
    assert conn.execute("select namespace from bridge_states").fetchall() == [("good",)]


def test_a_generic_write_to_a_table_without_its_grant_is_answered_while_others_go_on(fleet: Fleet, conn: Conn) -> None:
    conn.execute("alter table metadata_stamps rename to elsewhere")
    stamp = {"stamp_data": {}, "namespace": "n"}
    outcome = ask(fleet, {"operation_type": "insert", "entity_type": "metadata_stamp", "entity": stamp})
    assert outcome.code == "DATABASE_OPERATION_ERROR" and "42P01" in (outcome.message or "")
    assert ask(fleet, insert("good")).status == "applied"
    assert breaker(fleet)["opened_count"] == 0


def test_an_outage_is_a_pause_that_sets_nothing_aside(fleet: Fleet, conn: Conn) -> None:
    spoil(conn, "operations", RAISE_INTERNAL_ERROR, column="digest", always=True)
    batch = [step(), step()]
    text = encode_batch([encode(item) for item in batch])
    for _ in range(5):
        assert fleet.call("persist_batch", text, queue="persist").state == "REJECTED"
    assert fleet.gate.paused, "nothing is taken, so nothing goes round in circles"
    heal(conn, "operations")
    assert count(conn, "dead_letters") == 0 and count(conn, "operation_attempts") == 0


def test_a_server_that_ends_every_connection_is_an_outage(fleet: Fleet, conn: Conn) -> None:
    """It lets nobody work, though it lets everybody in."""
    spoil(conn, "operations", END_BACKEND, column="digest", always=True)
    text = encode_batch([encode(step()) for _ in range(100)])
    asked_before = fleet.gate.pool.statistics().requests_total
    for _ in range(5):
        assert fleet.call("persist_batch", text, queue="persist").state == "REJECTED"
    assert fleet.gate.paused
    assert fleet.gate.pool.statistics().requests_total - asked_before < 60, "it is not looked for in every row"
    heal(conn, "operations")
    assert count(conn, "dead_letters") == 0


def test_a_hanging_statement_is_a_row_s_fault_only_while_others_pass(database: str, conn: Conn) -> None:
    conn.execute(f"alter database {conn.info.dbname} set statement_timeout = '1s'")
    spoil(conn, "workflow_steps", HANG, column="step_name")
    with fleet_on(database) as fleet:
        object.__setattr__(fleet.gate.pool.config, "statement_timeout_ms", 500)
        assert persist(fleet, step(), step(step_name=MARK), heartbeat()) == [None, "POISON", None]
        assert breaker(fleet)["opened_count"] == 0


def test_a_message_that_ended_its_workers_is_set_aside_by_its_operations(
    fleet: Fleet, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet.gate, "deaths", lambda task_id: 3)
    assert persist(fleet, step(), step()) == ["POISON", "POISON"]
    asked = operation_of(DatabaseOperationData(request=insert("n") | {"correlation_id": str(uuid7())}))
    assert [outcome.code for outcome in send(fleet, "database_operations", QUERIES_QUEUE, asked)] == ["POISON"]
    assert count(conn, "workflow_steps") == 0 and count(conn, "bridge_states") == 0
    assert conn.execute("select distinct code from dead_letters").fetchall() == [("POISON",)]


def test_a_schedule_s_job_that_a_row_ends_says_so_and_harms_nobody_else(fleet: Fleet, conn: Conn) -> None:
    def job(c: Conn) -> Batch:
        c.execute("do $$ begin raise exception using errcode = 'XX000'; end $$")
        return Batch(rows=0, more=False)

    fleet.app.send_task = Mock()
    chore = Chore("something", "omninode.keep_something", lambda: job, expires_s=60, period_s=60)
    tasks.housekeeping.register(fleet.app, fleet.gate, [chore], slice_s=1)
    for _ in range(6):
        assert fleet.call("keep_something", "2026-03-01T12:00:00+00:00", queue="housekeeping") is None
    ((outcome, error),) = conn.execute("select outcome, error from schedule_ticks where name = 'something'").fetchall()
    assert outcome == "failed" and error.startswith("InternalError")
    assert breaker(fleet)["opened_count"] == 0
    assert persist(fleet, step()) == [None]
