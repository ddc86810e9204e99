"""A RabbitMQ for tests, where this machine has one: a node of its own, on loopback, gone with its data afterwards."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import servers
from tests.ports import own_port
from worker.embedded.launch import Launch
from worker.embedded.run_as import unprivileged

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # Debian's; the one in sbin changes accounts by itself
EPMD = Path("/usr/bin/epmd")  # by which Erlang's nodes find each other; one of ours ends with the test


@contextmanager
def rabbitmq() -> Iterator[str]:
    """The URL of a running server; skips the test where there is none."""
    if not SERVER.exists() or not EPMD.exists():
        pytest.skip("no RabbitMQ here (apt-get install rabbitmq-server)")
    account = unprivileged()
    with servers.directory_of_its_own() as directory:
        home = directory / "rabbitmq"
        home.mkdir()
        port, names_port = own_port(), own_port()
        (home / "plugins").write_text("[].\n")
        (home / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\nloopback_users.guest = true\n")
        account.own(home)
        environment = _environment(home, names_port)
        names = Launch(
            name="epmd",
            command=(str(EPMD), "-port", str(names_port), "-address", "127.0.0.1"),
            environment=environment,
            account=account,
        )
        node = Launch(name="rabbitmq", command=(str(SERVER),), environment=environment, account=account, grace_s=30)
        with (
            servers.running(names, log=directory / "epmd.log", check=lambda: _connect(names_port)),
            servers.running(node, log=directory / "rabbitmq.log", check=lambda: _greet(port)),
        ):
            yield f"amqp://guest:guest@127.0.0.1:{port}//"


def _environment(home: Path, names_port: int) -> dict[str, str]:
    return {
        "PATH": "/usr/lib/rabbitmq/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(names_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"fleet-test-{names_port}@localhost",
        "RABBITMQ_DIST_PORT": str(own_port()),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "ERL_CRASH_DUMP": str(home / "crash.dump"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=2).close()


def _greet(port: int) -> None:
    """The server answers a client that speaks another protocol with its own name: it is there, and takes clients."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GREETING")
        if client.recv(4) != b"AMQP":
            raise OSError("not yet")
