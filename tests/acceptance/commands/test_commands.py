"""The `fleet` commands that an operator types, against a fleet that runs."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from omninode_bridge import FleetClient, NodeHeartbeatData, UpdateNodeHeartbeat
from omninode_bridge.contract.clock import uuid7
from tests import factories
from tests.conftest import Stack, fleet
from worker.settings import ROOT

pytestmark = pytest.mark.acceptance

QUEUES = {"persist", "intents", "queries", "housekeeping", "celery"}
CONFIRMED_S = 20


@pytest.fixture
def conn(empty: Stack) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty.env["OMNINODE_DATABASE_URL"], autocommit=True) as opened:
        yield opened


@pytest.fixture
def client(empty: Stack) -> Iterator[FleetClient]:
    with FleetClient(empty.env["OMNINODE_BROKER_URL"]) as opened:
        yield opened


def early_heartbeat(node_id: str) -> UpdateNodeHeartbeat:
    """What any client may submit and the fleet refuses: it is ahead of the database's clock."""
    data = NodeHeartbeatData(node_id=node_id, health_status="HEALTHY")
    return UpdateNodeHeartbeat(data=data, occurred_at=datetime.now(UTC) + timedelta(hours=3))


def refused(client: FleetClient, node_id: str) -> UUID:
    """The id of an operation that the fleet has refused and kept."""
    handle = client.submit(early_heartbeat(node_id))
    assert handle.result(CONFIRMED_S).code == "FUTURE"
    return handle.operation_id


def run(stack: Stack, *words: str | Path, code: int = 0) -> str:
    """The command's output. The command must end with that exit code."""
    done = fleet(*words, environment=stack.env)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def listed(stack: Stack, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(stack, "dlq", "list", "--json", *words).splitlines()]


# ---- status, health -------------------------------------------------------------------------------------------------


def test_the_status_tells_of_queues_workers_ledger_and_dead_letters(empty: Stack, client: FleetClient) -> None:
    for handle in client.submit_many([NodeHeartbeatData(node_id=f"n{n}", health_status="HEALTHY") for n in range(6)]):
        assert handle.result(CONFIRMED_S).committed
    refused(client, "early")
    status = json.loads(run(empty, "status", "--json", "--window", "60"))
    assert status["problems"] == []
    assert set(status["queues"]) == QUEUES and None not in status["queues"].values()
    assert sorted(name.partition("@")[0] for name in status["workers"]) == ["worker1", "worker2"]
    ledger = status["store"]["ledger"]
    assert set(ledger) == {"window_s", "outcomes", "by_type", "rate_per_s"}
    assert ledger["outcomes"] == {"applied": 6, "refused FUTURE": 1}
    assert ledger["rate_per_s"] == pytest.approx(7 / 60)
    assert [(group["code"], group["letters"]) for group in status["store"]["open_letters"]] == [("FUTURE", 1)]
    assert status["store"]["outbox"] == {"pending": 0, "oldest_s": None, "refused": 0}


def test_the_plain_status_names_the_same(empty: Stack, client: FleetClient) -> None:
    refused(client, "early")
    lines = run(empty, "status", "--window", "60").splitlines()
    first_words = {line.split()[0] for line in lines if line.strip()}
    assert first_words >= {*QUEUES, "ledger:", "refused", "FUTURE", "outbox:"}
    workers = [line.split() for line in lines if line.strip().startswith(("worker1@", "worker2@"))]
    assert len(workers) == 2 and all("consuming" in words and "closed" in words for words in workers)


def test_health_is_silent_about_a_healthy_fleet(stack: Stack) -> None:
    assert run(stack, "health") == ""


def test_health_names_what_does_not_answer(stack: Stack) -> None:
    away = {"OMNINODE_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}
    done = fleet("health", environment={**stack.env, **away})
    assert done.returncode == 1
    assert done.stderr.startswith("database: ") and "hunter2" not in done.stderr


# ---- dead letters ---------------------------------------------------------------------------------------------------


def test_a_refused_operation_is_listed_and_shown(empty: Stack, client: FleetClient) -> None:
    id_ = refused(client, "early")
    (letter,) = listed(empty)
    assert (letter["id"], letter["code"], letter["status"]) == (str(id_), "FUTURE", "open")
    assert letter["operation_type"] == "update_node_heartbeat" and "occurred_at" in letter["message"]
    assert str(id_) in run(empty, "dlq", "list")
    assert listed(empty, "--code", "VALIDATION_ERROR") == []
    shown = json.loads(run(empty, "dlq", "show", str(id_)))
    assert shown["digest"].startswith(letter["digest"])
    assert json.loads(shown["payload"])["data"]["node_id"] == "early"
    assert run(empty, "dlq", "show", str(id_), "--payload-only").strip() == shown["payload"]


def test_a_repaired_letter_is_applied_under_its_own_id(
    empty: Stack, conn: psycopg.Connection[Any], client: FleetClient, tmp_path: Path
) -> None:
    original = early_heartbeat("repaired")
    assert client.submit(original).result(CONFIRMED_S).code == "FUTURE"
    id_ = str(original.operation_id)
    assert "still refused" in run(empty, "dlq", "retry", id_, code=1)
    payload = json.loads(run(empty, "dlq", "show", id_, "--payload-only"))
    repaired = tmp_path / "repaired.json"
    repaired.write_text(json.dumps({**payload, "occurred_at": datetime.now(UTC).isoformat()}))
    assert run(empty, "dlq", "retry", id_, "--payload", repaired) == f"{id_} applied as {id_}\n"
    nodes = conn.execute("select health_status from node_registrations where node_id = 'repaired'").fetchall()
    assert nodes == [("HEALTHY",)]
    assert listed(empty) == []
    assert [letter["id"] for letter in listed(empty, "--status", "retried")] == [id_]
    assert client.submit(original).result(CONFIRMED_S).status == "duplicate"  # a late delivery of the original
    assert "is retried, not open" in run(empty, "dlq", "retry", id_, "--payload", repaired, code=1)


def test_an_event_that_the_bus_refused_is_listed_with_topic_and_key_and_goes_out_again(
    empty: Stack, conn: psycopg.Connection[Any]
) -> None:
    """Its letter alone: with its row, the relay of the stack would have it already."""
    id_ = str(uuid7())
    names = "id, digest, operation_type, code, message, payload, form, source, topic, partition_key"
    values = [
        id_,
        b"d",
        "query_completed",
        "VALIDATION_ERROR",
        "too large",
        "{}",
        "event",
        "relay",
        "answers",
        "the-key",
    ]
    conn.execute(f"insert into dead_letters ({names}) values ({', '.join(['%s'] * len(values))})".encode(), values)
    shown = run(empty, "dlq", "list")
    assert "answers" in shown and "the-key" in shown
    assert run(empty, "dlq", "retry", id_) == f"{id_} goes out again\n"
    assert conn.execute("select id::text, topic, partition_key from event_logs").fetchall() == [
        (id_, "answers", "the-key")
    ]
    assert listed(empty) == []


def test_a_discarded_letter_stays_and_is_no_longer_open(
    empty: Stack, conn: psycopg.Connection[Any], client: FleetClient
) -> None:
    id_, other = str(refused(client, "unwanted")), str(refused(client, "kept"))
    assert run(empty, "dlq", "discard", id_) == f"{id_} discarded\n"
    assert [letter["id"] for letter in listed(empty)] == [other]
    assert [letter["id"] for letter in listed(empty, "--status", "discarded")] == [id_]
    assert factories.count(conn, "dead_letters") == 2 and factories.count(conn, "node_registrations") == 0


def test_a_letter_that_is_not_there_is_named(empty: Stack) -> None:
    id_ = "019a0000-0000-7000-8000-000000000000"
    assert f"no dead letter {id_}" in run(empty, "dlq", "show", id_, code=1)


# ---- schema, simulation ---------------------------------------------------------------------------------------------


def test_the_migrations_status_lists_each_as_applied(stack: Stack) -> None:
    revisions = sorted(path.name.partition("_")[0] for path in (ROOT / "migrations" / "versions").glob("*.py"))
    lines = [line.split() for line in run(stack, "migrate", "status").splitlines()]
    assert [(number, word) for number, word, *_ in lines] == [(number, "applied") for number in revisions]


def test_a_simulation_ends_with_a_database_that_equals_the_fold(stack: Stack) -> None:
    result = json.loads(run(stack, "simulate", "--rate", "500", "--seconds", "3", "--json"))
    assert result["ok"] is True
    assert (result["difference_count"], result["unconfirmed"], result["refused"]) == (0, 0, {})
    assert result["confirmed"] == result["submitted"] > 500
    assert sum(result["rows"].values()) > result["submitted"] // 2


def test_a_simulation_says_in_words_that_the_database_is_equal(stack: Stack) -> None:
    assert "database equals the fold" in run(stack, "simulate", "--rate", "200", "--seconds", "0.5", "--seed", "2")


# ---- bad input ------------------------------------------------------------------------------------------------------


def test_lines_that_are_no_records_are_accounted_for_and_kept(
    empty: Stack, conn: psycopg.Connection[Any], tmp_path: Path
) -> None:
    good = {"workflow_id": "0f4e1a52-7f7c-4c39-8c3c-000000000001", "step_name": "s", "step_order": 1, "status": "done"}
    lines = [
        "{no json",
        json.dumps({"key": "k", "value": {"workflow_step_data": good}}),
        json.dumps({"topic": "step-completed", "key": "k", "value": "not an object"}),
        json.dumps({"topic": "step-completed", "key": "k", "value": {"workflow_step_data": good}}),
    ]
    file = tmp_path / "records.jsonl"
    file.write_text("\n".join(lines) + "\n")
    summary = json.loads(run(empty, "ingest", file, "--json", "--quiet"))
    assert (summary["records"], summary["applied"], summary["unconfirmed"]) == (4, 1, 0)
    assert summary["refused"] == {"VALIDATION_ERROR": 3}
    kept = conn.execute("select message, payload from dead_letters").fetchall()
    by_field = {message.partition(":")[0]: json.loads(payload) for message, payload in kept}
    assert by_field == {"line": lines[0], "topic": lines[1], "value": "not an object"}
    assert factories.count(conn, "workflow_steps") == 1


def test_an_ingest_without_a_broker_url_says_so_by_name(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.touch()
    done = fleet("ingest", file)
    assert done.returncode == 2
    assert "OMNINODE_BROKER_URL: missing" in done.stderr
