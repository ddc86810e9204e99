"""Ports for servers, held until their servers have them: between finding a port and listening on it lie seconds.

Linux lets a server with SO_REUSEADDR (PostgreSQL, Valkey and Flower set it) listen where such a socket is bound that
does not listen, and keeps the port from everybody who asks for any port, and from outgoing connections. Elsewhere a
bound socket would keep the server away too: there a port is found and let go.
"""

import socket
import sys

LOOPBACK = "127.0.0.1"
SERVERS_LISTEN_BESIDE = sys.platform == "linux"


class HeldPort:
    """A port, a free one unless told, held until `release`. Raises: OSError when the told one is taken."""

    def __init__(self, host: str = LOOPBACK, number: int = 0) -> None:
        self._socket = socket.socket()
        try:
            # Past TIME_WAIT, as servers do; any port is asked for without it, and is then nobody else's.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if number else 0)
            self._socket.bind((host, number))
        except OSError:
            self._socket.close()
            raise
        self.number: int = self._socket.getsockname()[1]
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not SERVERS_LISTEN_BESIDE:
            self._socket.close()

    def release(self) -> None:
        self._socket.close()
