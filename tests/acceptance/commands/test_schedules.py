"""`fleet schedule list|run`, which need the database alone."""

import json
from typing import Any

import psycopg
import pytest

from store.database.instant import instant
from store.housekeeping import schedules
from store.housekeeping.job import Batch
from store.housekeeping.schedules import Tick
from tests.conftest import fleet
from tests.factories import store_connection

pytestmark = pytest.mark.acceptance

NAMES = ["heartbeat-sweep", "fsm-recovery", "partitions", "retention"]


@pytest.fixture
def environment(database: str) -> dict[str, str]:
    return {"OMNINODE_DATABASE_URL": database}


def listed(environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    found = fleet("schedule", "list", "--json", environment=environment)
    assert found.returncode == 0, found.stderr
    return {row["name"]: row for row in json.loads(found.stdout)}


def test_a_schedule_that_never_ran_waits_and_one_that_was_run_tells_what_it_did(environment: dict[str, str]) -> None:
    before = listed(environment)
    assert list(before) == NAMES
    assert before["partitions"]["due_at"] is None
    assert 0 <= before["partitions"]["waits_s"] <= 3600
    ran = fleet("schedule", "run", "partitions", "--json", environment=environment)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["outcome"] == "done"
    after = listed(environment)["partitions"]
    assert (after["due_at"], after["outcome"], after["runs"]) == (json.loads(ran.stdout)["due_at"], "done", 1)
    assert after["counts"]["partitions_made"] == 0
    shown = fleet("schedule", "list", environment=environment).stdout
    assert "partitions" in shown and "done" in shown


@pytest.mark.parametrize("name", NAMES)
def test_every_schedule_can_be_run_by_hand(environment: dict[str, str], name: str) -> None:
    answer = fleet("schedule", "run", name, environment=environment)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"{name}: done in ")


def test_a_schedule_that_somebody_is_at_is_busy(environment: dict[str, str], database: str) -> None:
    with store_connection(database) as conn:
        answers = []

        def make_job() -> Any:
            answers.append(fleet("schedule", "run", "partitions", environment=environment))
            return lambda _: Batch(rows=0, more=False)

        schedules.run(conn, Tick("partitions", instant(conn)), make_job, ran_by="a test")
    (answer,) = answers
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "busy" in answer.stderr


def test_an_unknown_name_is_answered_with_those_that_there_are(environment: dict[str, str]) -> None:
    answer = fleet("schedule", "run", "gardening", environment=environment)
    assert answer.returncode == 1
    assert all(name in answer.stderr for name in NAMES)


def test_a_job_that_fails_ends_the_command_in_one_line_and_is_noted(environment: dict[str, str], database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "create function fails() returns trigger language plpgsql as $$ begin raise undefined_function; end $$"
        )
        conn.execute("create trigger fails before update on node_registrations execute function fails()")
        conn.execute(
            "insert into node_registrations (node_id, health_status, last_heartbeat, registered_at, liveness)"
            " values ('n-1', 'HEALTHY', now() - interval '1 day', now() - interval '1 day', 'FRESH')"
        )
    answer = fleet("schedule", "run", "heartbeat-sweep", environment=environment)
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    row = listed(environment)["heartbeat-sweep"]
    assert (row["outcome"], row["error"].split(":")[0]) == ("failed", "UndefinedFunction")


def test_a_database_that_is_away_is_told_of_in_one_line() -> None:
    for words in (("list",), ("run", "partitions")):
        answer = fleet("schedule", *words, environment={"OMNINODE_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"})
        assert answer.returncode == 1
        assert len(answer.stderr.splitlines()) == 1
