"""Ports that are held between being found and being listened on."""

import json
import socket
from pathlib import Path

import pytest

from worker.embedded.data_dir import DataDir
from worker.embedded.ports import LOOPBACK, SERVERS_LISTEN_BESIDE, HeldPort
from worker.errors import FleetError

NEIGHBOURS = 4
IP_LOCAL_PORT_RANGE = 51  # of Linux 6.3; the standard library has no name for it

linux = pytest.mark.skipif(not SERVERS_LISTEN_BESIDE, reason="only Linux lets a server listen where a socket is bound")


def listener(number: int) -> socket.socket:
    """A server's socket, as PostgreSQL, Valkey and Flower open theirs. Raises: OSError."""
    opened = socket.socket()
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((LOOPBACK, number))
        opened.listen()
    except OSError:
        opened.close()
        raise
    return opened


def is_open_to_others(number: int) -> bool:
    with socket.socket() as other:
        try:
            other.bind((LOOPBACK, number))
        except OSError:
            return False
    return True


def test_a_server_listens_on_a_held_port_and_answers() -> None:
    port = HeldPort()
    with listener(port.number) as server, socket.create_connection((LOOPBACK, port.number)) as client:
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"here")
            assert accepted.recv(4) == b"here"
    port.release()


@linux
def test_a_held_port_is_nobody_elses_also_between_two_servers() -> None:
    port = HeldPort()
    assert not is_open_to_others(port.number)
    listener(port.number).close()
    assert not is_open_to_others(port.number)
    listener(port.number).close()
    port.release()
    assert is_open_to_others(port.number)


@linux
def test_whoever_asks_for_any_port_gets_another_one() -> None:
    """All ports of a small range are asked for, by servers and by clients; the held one is the only one left."""
    port = HeldPort()
    with listener(0) as server:
        for address in (None, server.getsockname()):
            taken = [one for _ in range(2 * NEIGHBOURS + 1) if (one := _any_port_near(port.number, to=address))]
            numbers = [one.getsockname()[1] for one in taken]
            for one in taken:
                one.close()
            assert numbers and port.number not in numbers
    port.release()


def _any_port_near(number: int, *, to: tuple[str, int] | None) -> socket.socket | None:
    """A socket with a port that the kernel chose close by, of a server or of a connection; None when there is none."""
    opened = socket.socket()
    lowest, highest = number - NEIGHBOURS, number + NEIGHBOURS
    try:
        opened.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, (lowest | highest << 16).to_bytes(4, "little"))
    except OSError:
        opened.close()
        pytest.skip("this kernel cannot narrow the range of ports")
    try:
        opened.bind((LOOPBACK, 0)) if to is None else opened.connect(to)
    except OSError:
        opened.close()
        return None
    return opened


def test_a_told_port_that_a_server_has_is_refused() -> None:
    with listener(0) as server, pytest.raises(OSError, match="in use"):
        HeldPort(number=server.getsockname()[1])


def test_a_data_directory_holds_its_ports_while_it_is_locked(tmp_path: Path) -> None:
    directory = DataDir(tmp_path)
    directory.make()
    with directory.lock():
        numbers = [directory.port(name, None) for name in ("postgres", "broker", "flower")]
        assert len(set(numbers)) == 3
        assert [is_open_to_others(number) for number in numbers] == [not SERVERS_LISTEN_BESIDE] * 3
    assert [is_open_to_others(number) for number in numbers] == [True] * 3
    assert json.loads(directory.ports_file.read_text()) == dict(
        zip(("postgres", "broker", "flower"), numbers, strict=True)
    )


def test_a_remembered_port_comes_again_and_one_that_is_taken_is_replaced(tmp_path: Path) -> None:
    DataDir(tmp_path).make()
    first = _port_of_one_start(tmp_path, None)
    assert _port_of_one_start(tmp_path, None) == first
    with listener(first):
        second = _port_of_one_start(tmp_path, None)
        assert second != first
        with pytest.raises(FleetError, match=f"port {first} for broker is taken"):
            _port_of_one_start(tmp_path, first)
    assert _port_of_one_start(tmp_path, None) == second


def _port_of_one_start(path: Path, told: int | None) -> int:
    directory = DataDir(path)
    with directory.lock():
        return directory.port("broker", told)
