"""kombu's AMQP transport, in which a message whose headers cannot be read is one without headers.

py-amqp reads headers as it takes frames off the connection. What fails there ends the connection, the broker delivers
the message to the next worker, and so on. A message without headers is no task, and goes the way of those.
"""

from collections.abc import Callable
from typing import Any

from amqp.method_framing import frame_handler
from kombu.transport import pyamqp

HEADER_FRAME = 2
BEFORE_PROPERTIES = 12  # bytes: class, weight, size of the body
NO_PROPERTIES = b"\x00\x00"


def tolerant_frames(connection: Any, callback: Any) -> Callable[[Any], Any]:
    """py-amqp's handler of frames, for headers of any kind."""
    on_frame = frame_handler(connection, callback)

    def on_any_frame(frame: Any) -> Any:
        kind, channel, payload = frame
        if kind != HEADER_FRAME:
            return on_frame(frame)
        try:
            return on_frame(frame)
        except Exception:  # of text, of a table's types, of its depth; the frame is read again without all that
            return on_frame((kind, channel, bytes(payload[:BEFORE_PROPERTIES]) + NO_PROPERTIES))

    return on_any_frame


class Channel(pyamqp.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel that leaves bodies as they are: some codecs that a message may name take hours over a megabyte."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"auto_decode": False})


class Connection(pyamqp.Connection):  # type: ignore[misc]  # kombu has no types
    """A connection to RabbitMQ."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, frame_handler=tolerant_frames, **options)


class Transport(pyamqp.Transport):  # type: ignore[misc]  # kombu has no types
    """amqp://"""

    Connection = Connection


class SSLTransport(pyamqp.SSLTransport):  # type: ignore[misc]  # kombu has no types
    """amqps://"""

    Connection = Connection
