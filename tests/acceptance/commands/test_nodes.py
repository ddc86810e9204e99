"""`fleet nodes`, `fleet nodes register` and `fleet nodes deregister`, as somebody types them."""

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from rich.console import Console

from omninode_bridge.contract.clock import now
from store.write.apply import apply
from tests.acceptance.commands.test_queries import line_of, lines, run
from tests.conftest import fleet
from tests.factories import heartbeat, store_connection
from worker.reports.pages import show

pytestmark = pytest.mark.acceptance

HOSTILE = "\x1b[31mn\n"


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with store_connection(database) as opened:
        yield opened


@pytest.fixture
def peopled(conn: psycopg.Connection[Any], database: str) -> str:
    """The URL of a database in which nodes were heard of just now, 90 s ago and an hour ago."""
    told = {"node_type": "reducer", "namespace": "prod", "node_version": "1.2.0", "endpoint_url": "http://n:1"}
    beats = [
        heartbeat("node-fresh", **told),
        heartbeat("node-stale", occurred_at=now() - timedelta(seconds=90), **told),
        heartbeat("node-dead", occurred_at=now() - timedelta(hours=1), **told),
        heartbeat("node-other", node_type="orchestrator", namespace="test"),
    ]
    assert all(outcome.committed for outcome in apply(conn, beats))
    return database


def items(url: str, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(url, "nodes", *words, "--json"))["items"]
    return found


def test_nodes_are_the_healthy_ones(peopled: str) -> None:
    told = run(peopled, "nodes", "--type", "Reducer")
    assert line_of(told, "node-fresh", "reducer", "prod", "1.2.0", "HEALTHY", "http://n:1")
    assert len(lines(told)) == 2  # with the heading
    assert [one["node_id"] for one in items(peopled)] == ["node-other", "node-fresh"]
    assert [one["node_id"] for one in items(peopled, "--namespace", "test")] == ["node-other"]
    assert [one["node_id"] for one in items(peopled, "--limit", "1")] == ["node-other"]
    assert lines(run(peopled, "nodes", "--type", "none-such")) == ["none"]


def test_all_nodes_are_told_with_what_has_become_of_them(peopled: str) -> None:
    told = run(peopled, "nodes", "--all", "--namespace", "prod")
    assert line_of(told, "node-fresh", "FRESH", "HEALTHY", "1.2.0", "http://n:1")
    assert line_of(told, "node-stale", "STALE", "DEGRADED", "HEALTHY")
    assert line_of(told, "node-dead", "DEAD", "UNHEALTHY", "HEALTHY", "1 h")
    assert "node-other" not in told
    assert [one["node_id"] for one in items(peopled, "--all", "--limit", "2")] == ["node-dead", "node-fresh"]
    assert {one["node_id"]: one["health"] for one in items(peopled, "--all", "--type", "reducer")} == {
        "node-dead": "UNHEALTHY",
        "node-fresh": "HEALTHY",
        "node-stale": "DEGRADED",
    }


def test_lists_are_narrowed_down_and_include_who_deregistered(peopled: str) -> None:
    run(peopled, "nodes", "deregister", "node-other")
    chosen = {
        ("--liveness", "stale"): ["node-stale"],
        ("--health", "unhealthy"): ["node-dead"],
        ("--all", "--liveness", "FRESH", "--health", "HEALTHY"): ["node-fresh"],
        ("--deregistered",): ["node-dead", "node-fresh", "node-other", "node-stale"],
        ("--deregistered", "--health", "HEALTHY"): ["node-fresh", "node-other"],
        ("--all", "--after", "node-dead"): ["node-fresh", "node-stale"],
    }
    for words, expected in chosen.items():
        assert [one["node_id"] for one in items(peopled, *words)] == expected, words
    for wrong in (["--health", "HELTHY"], ["--liveness", "ALIVE"], ["--all", "--max-age", "5"]):
        assert wrong[-2] in run(peopled, "nodes", *wrong, code=2)


def test_discovery_may_be_of_younger_nodes_and_by_default_is_of_fresh_ones(peopled: str) -> None:
    environment = {"OMNINODE_DATABASE_URL": peopled}
    slow = environment | {"OMNINODE_HEARTBEAT_FRESH_S": "300", "OMNINODE_HEARTBEAT_DEAD_S": "600"}
    for words, env, expected in (
        ((), slow, ["node-other", "node-fresh", "node-stale"]),
        (("--max-age", "60"), slow, ["node-other", "node-fresh"]),
        (("--max-age", "0.000001"), environment, []),
    ):
        done = fleet("nodes", "--json", *words, environment=env)
        assert [one["node_id"] for one in json.loads(done.stdout)["items"]] == expected


def test_a_list_says_how_it_goes_on(peopled: str, conn: Any) -> None:
    environment = {"OMNINODE_DATABASE_URL": peopled}
    done = fleet("nodes", "--all", "--limit", "2", environment=environment)
    assert done.stderr == "There are more: --after node-fresh\n"
    done = fleet("nodes", "--all", "--limit", "2", "--after", "node-fresh", environment=environment)
    assert done.stderr == "" and "node-stale" in done.stdout
    done = fleet("nodes", "--limit", "1", "--json", environment=environment)
    assert done.stderr == "There are more: --after node-other\n"
    assert [one["node_id"] for one in json.loads(done.stdout)["items"]] == ["node-other"]
    for number in range(20):  # more than an adapter would answer
        apply(conn, [heartbeat(f"wide {number:02}", metadata={"text": "x" * 250_000})])
    done = fleet("nodes", "--type", "unknown", "--json", environment=environment)
    assert done.stderr == "" and len(json.loads(done.stdout)["items"]) == 20
    done = fleet("nodes", "--type", "unknown", "--limit", "12", environment=environment)
    assert done.stderr == "There are more: --after 'wide 11'\n"


def test_one_node_is_shown_whole(peopled: str) -> None:
    (heading, line) = lines(run(peopled, "nodes", "show", "node-stale"))
    assert "liveness" in heading and "STALE" in line
    assert json.loads(run(peopled, "nodes", "show", "node-dead", "--json"))["health"] == "UNHEALTHY"
    assert run(peopled, "nodes", "show", "nobody", code=1).startswith("Error: NOT_FOUND: node_id: no node 'nobody'")


def test_an_option_of_the_list_before_a_subcommand_is_refused(database: str) -> None:
    said = run(database, "nodes", "--namespace", "prod", "register", "n1", "--type", "effect", code=2)
    assert "--namespace: belongs to the list; options of register come after it" in said
    assert "--json: " in run(database, "nodes", "--json", "deregister", "n1", code=2)
    assert "--limit: " in run(database, "nodes", "--limit", "1000", "show", "n1", code=2)
    assert items(database, "--all") == []


def test_a_terminal_shows_who_is_silent_in_colour(peopled: str) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=200)
    show(terminal, "list_nodes", {"items": items(peopled, "--all"), "truncated": False})
    shown = terminal.file.getvalue()  # type: ignore[attr-defined]  # rich knows any text stream
    assert "\x1b[33mSTALE" in shown and "\x1b[31mDEAD" in shown and "\x1b[33mFRESH" not in shown


def test_the_thresholds_are_the_settings(peopled: str) -> None:
    environment = {"OMNINODE_DATABASE_URL": peopled, "OMNINODE_HEARTBEAT_DEAD_S": "7200"}
    done = fleet("nodes", "--all", "--json", environment=environment)
    found = {one["node_id"]: one["liveness"] for one in json.loads(done.stdout)["items"]}
    assert (found["node-stale"], found["node-dead"]) == ("STALE", "STALE")
    done = fleet("report", "get_node", "node_id=node-dead", "--json", environment=environment)
    assert json.loads(done.stdout)["health"] == "DEGRADED"


def test_a_node_is_registered_told_of_anew_and_deregistered(database: str) -> None:
    told = ["--type", "Reducer", "--version", "1.2.0", "--capability", "hash", "--capability", 'sizes=[1, "2"]']
    told += ["--endpoint", "http=http://n:8080/a=b", "--url", "http://n:8080", "--namespace", "prod"]
    assert run(database, "nodes", "register", "n", *told, "--metadata", '{"region": "eu"}') == "registered: n\n"
    (one,) = items(database)
    expected = {
        "node_type": "reducer",
        "node_version": "1.2.0",
        "capabilities": {"hash": True, "sizes": [1, "2"]},
        "endpoints": {"http": "http://n:8080/a=b"},
        "endpoint_url": "http://n:8080",
        "namespace": "prod",
        "metadata": {"region": "eu"},
        "health": "HEALTHY",
    }
    assert {name: one[name] for name in expected} == expected
    again = json.loads(run(database, "nodes", "register", "n", "--type", "reducer", "--health", "degraded", "--json"))
    assert (again["capabilities"], again["health_status"]) == (expected["capabilities"], "DEGRADED")
    again = json.loads(run(database, "nodes", "register", "n", "--type", "reducer", "--json"))
    assert again["health_status"] == "DEGRADED"
    assert run(database, "nodes", "deregister", "n") == "deregistered: n\n"
    assert lines(run(database, "nodes", "--all")) == ["none"]
    found = json.loads(run(database, "report", "get_node", "node_id=n", "--json"))
    assert found["deregistered_at"] is not None
    assert line_of(run(database, "report", "get_node", "node_id=n"), "capabilities", '"sizes":[1,"2"]')


def test_a_node_whose_clock_runs_ahead_is_said_to_stay_registered(conn: Any, database: str) -> None:
    apply(conn, [heartbeat(HOSTILE.strip() + "n", occurred_at=now() + timedelta(minutes=30))])
    said = run(database, "nodes", "deregister", HOSTILE.strip() + "n", code=1)
    assert said == "Error: \\x1b[31mnn stays registered: its last heartbeat is of a time yet to come\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["deregister", "nobody"], "NOT_FOUND: node_id: no node has it"),
        (["register", " ", "--type", "reducer"], "VALIDATION_ERROR: node_id cannot be empty"),
        (["register", "n", "--type", "reducer", "--url", "u" * 501], "VALIDATION_ERROR: endpoint_url: "),
    ],
)
def test_what_cannot_be_done_is_one_line(database: str, words: list[str], said: str) -> None:
    told = run(database, "nodes", *words, code=1)
    assert told.startswith(f"Error: {said}") and told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--capability", "a=b"], "--capability a: not JSON"),
        (["--capability", "=1"], "=1: no name before the ="),
        (["--endpoint", "http"], "--endpoint http: not NAME=URL"),
        (["--metadata", "[]"], "--metadata: not a JSON object"),
        (["--metadata", "{"], "--metadata: not JSON"),
    ],
)
def test_a_command_line_that_is_none_is_named(database: str, words: list[str], said: str) -> None:
    assert said in run(database, "nodes", "register", "n", "--type", "reducer", *words, code=2)


@pytest.mark.parametrize("words", [("register", "n", "--type", "reducer"), ("deregister", "n")])
def test_a_database_that_is_away_is_one_line_without_its_password(words: tuple[str, ...]) -> None:
    said = run("postgresql://u:hunter2@127.0.0.1:1/x", "nodes", *words, code=1)
    assert said.startswith("Error: SERVICE_UNAVAILABLE: database: ")
    assert said.count("\n") == 1 and "hunter2" not in said


def test_a_dead_letter_of_a_node_is_applied_by_the_settings(
    conn: psycopg.Connection[Any], database: str, tmp_path: Path
) -> None:
    (outcome,) = apply(conn, [heartbeat("n", occurred_at=now() + timedelta(hours=2))])
    ((payload,),) = conn.execute("select payload from dead_letters").fetchall()
    repaired = tmp_path / "repaired.json"
    repaired.write_text(json.dumps(json.loads(payload) | {"occurred_at": (now() - timedelta(seconds=200)).isoformat()}))
    slow = {"OMNINODE_HEARTBEAT_FRESH_S": "300", "OMNINODE_HEARTBEAT_DEAD_S": "600"}
    done = fleet(
        *("dlq", "retry", str(outcome.operation_id), "--payload", repaired),
        environment={"OMNINODE_DATABASE_URL": database, **slow},
    )
    assert done.returncode == 0, done.stderr
    assert conn.execute("select liveness from node_registrations").fetchall() == [("FRESH",)]
