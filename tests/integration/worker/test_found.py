"""Processes of the fleet, started on a database that they cannot work with, or that is not ready for them yet."""

import logging
from collections.abc import Mapping

import psycopg
import pytest

from migrations.sql_files import up_files
from tests.conftest import fleet
from tests.servers import PostgresServer
from worker import migrate
from worker.errors import FleetError
from worker.found import require_database
from worker.settings import Settings

COMMANDS = {
    "worker": ("worker",),
    "beat": ("beat",),
    "relay": ("relay",),
    "schedule": ("schedule", "run", "heartbeat-sweep"),
    "retention": ("retention", "--dry-run"),
    "status": ("status",),
}


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def settings(url: str) -> Settings:
    return Settings.load(database_url=url)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_process_refuses_a_schema_that_is_not_the_fleet_s_in_one_line(
    database: str, broker: str, command: str
) -> None:
    run(database, "alter table bridge_states drop constraint bridge_states_pkey, add primary key (bridge_id)")
    known = {"OMNINODE_DATABASE_URL": database, "OMNINODE_BROKER_URL": broker}
    told = fleet(*COMMANDS[command], environment=known)
    assert told.returncode == 1, told.stdout + told.stderr
    said = " ".join((told.stdout + told.stderr).split())
    assert "bridge_states_pkey is PRIMARY KEY (bridge_id), expected PRIMARY KEY (bridge_id, namespace)" in said
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("command", ["worker", "beat", "relay", "retention"])
def test_a_process_refuses_another_encoding_in_one_line(
    postgres_servers: Mapping[str, PostgresServer], broker: str, command: str
) -> None:
    server, name = postgres_servers["18"], f"test_latin_{command}"
    run(server.url(), f"create database {name} encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'")
    try:
        known = {"OMNINODE_DATABASE_URL": server.url(name), "OMNINODE_BROKER_URL": broker}
        told = fleet(*COMMANDS[command], environment=known)
    finally:
        server.drop_database(name)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("Error: database: the database's encoding is LATIN1, and the fleet needs UTF8")
    assert told.stderr.count("\n") == 1


def test_a_database_that_is_behind_is_told_of_and_waited_for(
    empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        require_database(settings(empty_database))
        migrate.up(empty_database)
        migrate.down(empty_database, revisions=2)
        require_database(settings(empty_database))
    told = [(record.message, record.fields["revision"]) for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [("schema_behind", None), ("schema_behind", up_files()[-3].name[:3])]


def test_a_database_of_a_newer_release_is_told_of_and_worked_with(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(database, "update alembic_version set version_num = '999'")
    with caplog.at_level(logging.WARNING):
        require_database(settings(database))
    assert [record.message for record in caplog.records] == ["schema_newer"]


def test_a_database_that_is_away_keeps_nobody_from_starting() -> None:
    require_database(settings("postgresql://fleet:word@127.0.0.1:1/none"))


def test_days_for_which_the_server_has_no_room_are_refused_by_name(database: str) -> None:
    days = {f"retain_{table}_days": 10_000 for table in ("event_logs", "fsm_transitions", "fsm_states")}
    kept = Settings.load(require=(), database_url=database, **days)
    with pytest.raises(
        FleetError, match=r"OMNINODE_RETAIN_EVENT_LOGS_DAYS=10000\), and the server has room for 51,200"
    ):
        require_database(kept)


def test_days_for_which_there_is_hardly_room_are_told_of(database: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        require_database(Settings.load(database_url=database))
        assert caplog.records == []
        require_database(Settings.load(database_url=database, retain_event_logs_days=3000))
    (record,) = caplog.records
    assert record.message == "locks_scarce"
    assert record.fields["max_locks_per_transaction"] == 1024  # type: ignore[attr-defined]
