"""What kombu writes around a body in a Redis-protocol broker, read with every part of the shape that kombu relies on.

kombu's own reading takes whatever JSON there is and fails later, at the first use of what is missing: in the worker's
event loop, or while it gives messages back.
"""

from typing import Any
from uuid import uuid4

from kombu.utils.json import loads

from worker.incoming.shapes import Unreadable, is_bounded, is_name

# The text of a batch has 4 MiB. Written as JSON in JSON it has three times that at most, and a third more as base64.
MAX_MESSAGE_BYTES = 24 << 20
MAX_AROUND_BODY_BYTES = 256 << 10
MAX_PRIORITY = 255
BODY_ENCODINGS = ("base64", "utf-8", None)


def read_envelope(raw: bytes) -> dict[str, Any]:
    """The message as an object with body, headers and properties, as kombu's `Message` takes it.

    Raises: Unreadable.
    """
    if len(raw) > MAX_MESSAGE_BYTES:
        raise Unreadable(f"larger than {MAX_MESSAGE_BYTES} bytes")
    try:
        message = loads(raw)
    except Exception:  # ValueError, RecursionError, and whatever Celery's own types in JSON raise
        raise Unreadable("not JSON in UTF-8") from None
    check_envelope(message)
    if len(raw) - len(message["body"]) > MAX_AROUND_BODY_BYTES:
        raise Unreadable(f"more than {MAX_AROUND_BODY_BYTES} bytes around its body")
    return message  # type: ignore[no-any-return]  # an object: check_envelope has seen it


def check_envelope(message: object) -> None:
    """Raises: Unreadable."""
    if not isinstance(message, dict):
        raise Unreadable("no JSON object")
    body, headers, properties = message.get("body"), message.get("headers"), message.get("properties")
    if not isinstance(body, str) or not body:
        raise Unreadable("body: no text")
    if not isinstance(headers, dict):
        raise Unreadable("headers: no object")
    if not isinstance(properties, dict):
        raise Unreadable("properties: no object")
    for name in ("content-type", "content-encoding"):
        if message.get(name) is not None and not is_name(message[name]):
            raise Unreadable(f"{name}: no name")
    if not is_bounded([{**message, "body": None}]):
        raise Unreadable("headers, properties: nested too deep, or too many")
    _check_properties(properties)


def put_in_place(message: dict[str, Any], queue: str) -> None:
    """Note where the message was found, and give it a delivery tag that no other has.

    It is given back by the first, and acknowledged by the second: neither may be what its sender says, or it returns
    to somebody else's queue, or takes another message's acknowledgement.
    """
    properties = message["properties"]
    properties["delivery_tag"] = str(uuid4())
    properties["delivery_info"] |= {"exchange": "", "routing_key": queue}


def _check_properties(properties: dict[str, Any]) -> None:
    if not is_name(properties.get("delivery_tag")):
        raise Unreadable("properties.delivery_tag: no name")
    info = properties.get("delivery_info")
    if not isinstance(info, dict):
        raise Unreadable("properties.delivery_info: no object")
    if not isinstance(info.get("exchange"), str) or not isinstance(info.get("routing_key"), str):
        raise Unreadable("properties.delivery_info: exchange and routing_key are not both text")
    encoding = properties.get("body_encoding")
    if not (encoding is None or isinstance(encoding, str)) or encoding not in BODY_ENCODINGS:
        raise Unreadable("properties.body_encoding: unknown")
    priority = properties.get("priority")
    if priority is not None and not (type(priority) is int and 0 <= priority <= MAX_PRIORITY):
        raise Unreadable("properties.priority: no small number")
