"""`fleet up` and `fleet down` with servers alone: what they start, keep, and leave behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis
from psycopg import sql

from store.outbox import relays
from store.write.apply import apply
from tests.conftest import clean_environment, fleet, read_environment
from tests.deadline import wait_until
from tests.factories import publish_event, store_connection
from tests.servers import PostgresServer

pytestmark = pytest.mark.acceptance

SERVERS_ONLY = ("--workers", "0", "--relays", "0", "--no-beat", "--no-flower")
READY_S = 60
STOP_S = 30


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "fleet data"  # a space, since paths have them
    yield path
    fleet("down", "--data-dir", path)


@pytest.fixture
def up(data_dir: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A fleet in the foreground, ready."""
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "up", "--data-dir", str(data_dir), *SERVERS_ONLY],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=clean_environment({}),
        )
    try:
        wait_until(lambda: _is_ready(process, data_dir), seconds=READY_S, what="fleet up is ready")
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(STOP_S)


def _is_ready(process: subprocess.Popen[bytes], data_dir: Path) -> bool:
    assert process.poll() is None, "fleet up has ended"
    return (data_dir / "fleet.env").exists()


def _processes() -> dict[int, tuple[int, str]]:
    """Every process's parent and command line."""
    listed = subprocess.run(["ps", "-ewwo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = (line.split(None, 3) for line in listed.stdout.splitlines())
    return {int(row[0]): (int(row[1]), row[3]) for row in rows if not row[2].startswith("Z")}


def _descendants(pid: int) -> dict[int, str]:
    """The command lines of what the process has started, and of what these have."""
    everything, found, ask = _processes(), dict[int, str](), [pid]
    while ask:
        parent = ask.pop()
        children = {child: args for child, (its_parent, args) in everything.items() if its_parent == parent}
        found |= children
        ask += children
    return found


def _left(family: dict[int, str]) -> list[str]:
    """Those of the family that still run."""
    now = _processes()
    return [args for pid, args in family.items() if pid in now]


def test_a_ready_fleet_tells_where_it_is(up: subprocess.Popen[bytes], data_dir: Path) -> None:
    file = data_dir / "fleet.env"
    env = read_environment(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert env["OMNINODE_DATA_DIR"] == str(data_dir)
    with psycopg.connect(env["OMNINODE_DATABASE_URL"]) as connection:
        assert connection.execute("select to_regclass('workflow_executions') is not null").fetchone() == (True,)
    with redis.Redis.from_url(env["OMNINODE_BROKER_URL"]) as client:
        assert client.config_get("appendfsync")["appendfsync"] == "everysec"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_passwords_are_on_no_command_line(up: subprocess.Popen[bytes], data_dir: Path) -> None:
    passwords = [file.read_text() for file in (data_dir / "secrets").iterdir()]
    lines = "\n".join(_descendants(up.pid).values())
    assert len(passwords) >= 2
    assert "postgres -D" in lines and "valkey" in lines
    assert not [password for password in passwords if password in lines]


def test_ctrl_c_stops_everything(up: subprocess.Popen[bytes], data_dir: Path) -> None:
    family = _descendants(up.pid)
    assert len(family) >= 3
    up.send_signal(signal.SIGINT)
    assert up.wait(STOP_S) == 0
    assert _left(family) == []
    assert not (data_dir / "fleet.env").exists()


def test_a_killed_fleet_leaves_no_orphan_and_starts_again(up: subprocess.Popen[bytes], data_dir: Path) -> None:
    before = read_environment(data_dir / "fleet.env")
    up.kill()
    up.wait(STOP_S)
    again = fleet("up", "--detach", "--data-dir", data_dir, *SERVERS_ONLY)  # at once: it waits for the old servers
    assert again.returncode == 0, again.stdout + again.stderr
    assert _database_url(data_dir).partition("@")[0] == before["OMNINODE_DATABASE_URL"].partition("@")[0]
    assert fleet("down", "--data-dir", data_dir).returncode == 0


def test_a_killed_fleet_takes_its_servers_with_it(up: subprocess.Popen[bytes], data_dir: Path) -> None:
    family = _descendants(up.pid)
    assert len(family) >= 3
    up.kill()
    up.wait(STOP_S)
    wait_until(lambda: not _left(family), seconds=STOP_S, what="no process is left")


def test_a_second_start_keeps_data_and_ports(data_dir: Path) -> None:
    assert fleet("up", "--detach", "--data-dir", data_dir, *SERVERS_ONLY).returncode == 0
    first = read_environment(data_dir / "fleet.env")
    with psycopg.connect(first["OMNINODE_DATABASE_URL"]) as connection:
        connection.execute("create table kept (i integer)")
    with redis.Redis.from_url(first["OMNINODE_BROKER_URL"]) as client:
        client.set("kept", "yes")
    assert fleet("down", "--data-dir", data_dir).returncode == 0
    # As from a shell that sourced fleet.env: the URLs in it are the fleet's own, not those of foreign servers.
    second = fleet("up", "--detach", "--data-dir", data_dir, *SERVERS_ONLY, environment=first)
    assert second.returncode == 0, second.stdout + second.stderr
    assert read_environment(data_dir / "fleet.env") == first
    with psycopg.connect(first["OMNINODE_DATABASE_URL"]) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)
    with redis.Redis.from_url(first["OMNINODE_BROKER_URL"]) as client:
        assert client.get("kept") == b"yes"


def test_a_directory_serves_one_fleet_at_a_time(up: subprocess.Popen[bytes], data_dir: Path) -> None:
    for words in ((), ("--detach",)):
        second = fleet("up", "--data-dir", data_dir, *SERVERS_ONLY, *words)
        assert second.returncode == 1
        assert f"already running on {data_dir} (pid {up.pid})" in second.stderr
    assert _is_ready(up, data_dir)


def test_down_without_a_fleet_says_so(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "fleet.pid").write_text(f"{os.getpid()}\n")  # left by a dead one; the pid has been given anew
    stopped = fleet("down", "--data-dir", data_dir)
    assert stopped.returncode == 1
    assert "no fleet runs" in stopped.stderr


def test_the_death_of_a_server_ends_the_fleet(up: subprocess.Popen[bytes], data_dir: Path) -> None:
    family = _descendants(up.pid)
    os.kill(int((data_dir / "broker" / "broker.pid").read_text()), signal.SIGKILL)
    assert up.wait(STOP_S) == 1
    assert _left(family) == []


def test_data_of_another_postgresql_version_is_refused_by_name(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text("9\n")
    refused = fleet("up", "--data-dir", data_dir, *SERVERS_ONLY)
    assert refused.returncode == 1
    assert "was made by PostgreSQL 9" in refused.stderr
    detached = fleet("up", "--detach", "--data-dir", data_dir, *SERVERS_ONLY)
    assert detached.returncode == 1
    assert "was made by PostgreSQL 9" in detached.stderr


def test_servers_that_are_given_are_used_and_not_started(data_dir: Path, database: str, broker: str) -> None:
    given = {"OMNINODE_DATABASE_URL": database, "OMNINODE_BROKER_URL": broker}
    started = fleet("up", "--detach", "--data-dir", data_dir, *SERVERS_ONLY, environment=given)
    assert started.returncode == 0, started.stderr
    env = read_environment(data_dir / "fleet.env")
    assert {name: env[name] for name in given} == given
    assert not (data_dir / "postgres").exists()


def test_a_given_server_that_does_not_answer_is_named(data_dir: Path) -> None:
    given = {"OMNINODE_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}
    refused = fleet("up", "--data-dir", data_dir, *SERVERS_ONLY, environment=given)
    assert refused.returncode == 1
    assert "OMNINODE_DATABASE_URL" in refused.stderr
    assert "hunter2" not in refused.stderr + refused.stdout


def test_a_fleet_without_a_bus_starts_no_relay_only_when_it_is_told_so(data_dir: Path) -> None:
    given = {"OMNINODE_BROKER_URL": "amqp://u:hunter2@127.0.0.1:1//"}
    refused = fleet("up", "--data-dir", data_dir, "--workers", "0", environment=given)
    assert refused.returncode == 1
    assert "OMNINODE_BUS_URL: missing" in refused.stderr and "--relays 0" in refused.stderr
    assert "hunter2" not in refused.stderr + refused.stdout
    kafka = fleet("up", "--data-dir", data_dir, "--workers", "0", environment={"OMNINODE_BUS": "kafka"})
    assert kafka.returncode == 1
    assert "OMNINODE_BUS_URL: missing" in kafka.stderr
    assert not (data_dir / "postgres").exists(), "nothing was started before it was known"


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_a_database_of_somebody_else_s_is_refused_in_one_line(
    data_dir: Path, broker: str, postgres_servers: Mapping[str, PostgresServer], encoding: str
) -> None:
    server, name = postgres_servers["18"], f'Some "body\'s" %41 {encoding}'
    made = sql.SQL("create database {} encoding {} template template0 lc_collate 'C' lc_ctype 'C'")
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(made.format(sql.Identifier(name), encoding))
    url = server.url(quote(name, safe=""))
    try:
        with psycopg.connect(url) as connection:
            connection.execute("create table dead_letters (id bigserial primary key, payload text)")
        given = {"OMNINODE_DATABASE_URL": url, "OMNINODE_BROKER_URL": broker}
        refused = fleet("up", "--data-dir", data_dir, "--workers", "1", "--no-flower", environment=given)
    finally:
        server.drop_database(name)
    expected = {"UTF8": "constraint dead_letters_pkey is PRIMARY KEY (id), expected PRIMARY KEY (id, digest)"}
    assert refused.returncode == 1
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("Error")]
    assert expected.get(encoding, "the database's encoding is LATIN1, and the fleet needs UTF8") in line


def test_a_database_whose_name_needs_quotes_is_used(
    data_dir: Path, broker: str, postgres_servers: Mapping[str, PostgresServer]
) -> None:
    server, name = postgres_servers["18"], 'The "fleet\'s" own %41 d\u00e4tabase'
    server.create_database(name)
    url = server.url(quote(name, safe=""))
    try:
        given = {"OMNINODE_DATABASE_URL": url, "OMNINODE_BROKER_URL": broker}
        started = fleet("up", "--detach", "--data-dir", data_dir, "--workers", "1", "--no-flower", environment=given)
        assert started.returncode == 0, started.stdout + started.stderr
        try:
            known = read_environment(data_dir / "fleet.env")
            assert known["OMNINODE_DATABASE_URL"] == url
            assert fleet("status", environment=known).returncode == 0
        finally:
            fleet("down", "--data-dir", data_dir)
    finally:
        server.drop_database(name)


def test_relays_and_consumers_on_a_bus_of_their_own(data_dir: Path, database: str, broker: str) -> None:
    bus_url = broker.replace("/0", "/1")
    given = {"OMNINODE_DATABASE_URL": database, "OMNINODE_BROKER_URL": broker, "OMNINODE_BUS_URL": bus_url}
    counts = ("--workers", "0", "--relays", "2", "--consumers", "2", "--no-beat", "--no-flower")
    started = fleet("up", "--detach", "--data-dir", data_dir, *counts, environment=given)
    assert started.returncode == 0, started.stdout + started.stderr
    env = read_environment(data_dir / "fleet.env")
    assert (env["OMNINODE_BUS"], env["OMNINODE_BUS_URL"]) == ("redis", bus_url)
    with store_connection(database) as conn:
        assert relays.alive(conn) == 2
        assert {one.status for one in apply(conn, [publish_event(topic="some.topic")])} == {"applied"}
        with redis.Redis.from_url(bus_url) as client:
            wait_until(lambda: client.keys("*bus:some.topic:*"), seconds=10, what="the event is on that bus")
        family = _descendants(int((data_dir / "fleet.pid").read_text()))
        assert len([words for words in family.values() if " consume " in words]) == 2
        assert fleet("down", "--data-dir", data_dir).returncode == 0
        wait_until(lambda: relays.alive(conn) == 0, seconds=5, what="no relay is left")
    assert _left(family) == []
    log = (data_dir / "logs" / "fleet.log").read_text()
    stopped = re.findall(r"(consumer|relay)[\d-]+ stopped \(exit code 0\)", log)
    assert stopped == ["consumer", "consumer", "relay", "relay"]


def _database_url(data_dir: Path) -> str:
    return read_environment(data_dir / "fleet.env")["OMNINODE_DATABASE_URL"]
