"""A whole fleet as `fleet up` starts it: every process answers, and one that dies comes back."""

import base64
import os
import signal
import urllib.error
import urllib.request

import pytest

from store.database.connection import connection
from store.outbox import relays
from tests.acceptance.processes import pids_of
from tests.conftest import Stack, fleet
from tests.deadline import wait_until

pytestmark = pytest.mark.acceptance


def _status(url: str, login: str | None = None) -> int:
    request = urllib.request.Request(url)
    if login is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_flower_asks_for_its_login(stack: Stack) -> None:
    url = stack.env["OMNINODE_FLOWER_URL"] + "/workers"
    login = f"{stack.env['OMNINODE_FLOWER_USER']}:{stack.env['OMNINODE_FLOWER_PASSWORD']}"
    assert _status(url) == 401
    assert _status(url, "fleet:wrong") == 401
    assert _status(url, login) == 200


def test_no_password_is_in_a_log(stack: Stack) -> None:
    passwords = [file.read_text() for file in (stack.data_dir / "secrets").iterdir()]
    logs = "".join(file.read_text() for file in (stack.data_dir / "logs").iterdir())
    assert len(passwords) == 3
    assert "worker1 is ready" in logs
    assert not [password for password in passwords if password in logs]


def test_a_process_that_is_killed_comes_back(stack: Stack) -> None:
    (before,) = pids_of(stack, "beat")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: pids_of(stack, "beat") not in ([], [before]), seconds=20, what="beat runs again")


def test_a_relay_that_is_killed_comes_back(stack: Stack) -> None:
    with connection(stack.env["OMNINODE_DATABASE_URL"]) as conn:
        assert relays.is_alive(conn, "relay1")
        (before,) = pids_of(stack, "relay")
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: pids_of(stack, "relay") not in ([], [before]), seconds=20, what="another relay runs")
        wait_until(lambda: relays.is_alive(conn, "relay1"), seconds=20, what="it has joined")


def test_the_bus_is_the_broker_and_needs_no_variable(stack: Stack) -> None:
    assert not {"OMNINODE_BUS", "OMNINODE_BUS_URL"} & stack.env.keys()


def test_the_schema_is_up_to_date(stack: Stack) -> None:
    status = fleet("migrate", "status", environment=stack.env)
    assert status.returncode == 0, status.stderr
    assert "001" in status.stdout
    assert "not applied" not in status.stdout
