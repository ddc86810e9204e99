"""Ports for the servers that tests start."""

from worker.embedded.ports import HeldPort

_held: list[HeldPort] = []


def own_port() -> int:
    """A port that is this process's until it ends: a server may leave it and come back, and nobody gets between."""
    port = HeldPort()
    _held.append(port)
    return port.number
