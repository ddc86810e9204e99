"""Whether a message is a task that the fleet runs: every header, property and part of the body that Celery acts on.

Celery makes attributes of its request out of whatever headers and options a message has, and follows those that name
other tasks: callbacks, chains, chords. Here each known one has its shape, unknown ones may be anything small, and what
would have the worker send or run something else is refused.
"""

from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.app.task import Context
from celery.utils.time import maybe_iso8601, maybe_make_aware

from worker.incoming.shapes import (
    Unreadable,
    is_bounded,
    is_flag,
    is_id,
    is_id_or_empty,
    is_name,
    is_small_count,
    is_text,
)

MAX_BODY_BYTES = 16 << 20  # three times the text of the largest batch, and what stands around it; unpacked
# Of an eta. Until then a worker holds the message: with RabbitMQ in the place of others, and with a Redis-protocol
# broker for two minutes at most, after which it is delivered to another as well.
MAX_AHEAD = timedelta(seconds=30)
CONTENT_TYPE = "application/json"
CONTENT_ENCODINGS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
OPTIONS = frozenset({"callbacks", "errbacks", "chain", "chord"})
BODY_PARTS = 3  # arguments, keyword arguments, options
UNREGISTERED = "headers.task: unregistered"


def check_task(message: Any, known: Container[str]) -> None:
    """Raises Unreadable when a kombu message is no task of the fleet. Decodes its body, which the message remembers.

    known  the names of the tasks
    """
    headers = message.headers
    if not is_bounded([headers, message.properties]):
        raise Unreadable("headers, properties: nested too deep, or too many")
    _check_headers(headers)
    for name in ("correlation_id", "reply_to"):
        value = message.properties.get(name)
        if value is not None and not is_id_or_empty(value):
            raise Unreadable(f"properties.{name}: no name")
    _check_body(message)
    if headers["task"] not in known:
        raise Unreadable(UNREGISTERED)


def _check_headers(headers: Mapping[str, Any]) -> None:
    for name in ("task", "id"):
        if headers.get(name) is None:
            raise Unreadable(f"headers.{name}: missing")
    for name, value in headers.items():
        check = _HEADERS.get(name)
        if check is None:
            if name in _RESERVED and not _is_harmless(name, value):
                raise Unreadable("headers: one of Celery's own, which is not taken from a message")
        elif value is not None and not check(value):
            raise Unreadable(f"headers.{name}: not what a task has there")


def _is_harmless(name: str, value: object) -> bool:
    """Whether Celery's own attribute of that name stays what it is without the header."""
    return getattr(Context, name) is None and (value is None or (name in OPTIONS and value in ([], {})))


def _check_body(message: Any) -> None:
    if message.content_type != CONTENT_TYPE:
        raise Unreadable("content type: not application/json")
    encoding = message.content_encoding
    if encoding is not None and (not isinstance(encoding, str) or encoding.lower() not in CONTENT_ENCODINGS):
        raise Unreadable("content encoding: not utf-8")
    if len(message.body or b"") > MAX_BODY_BYTES:
        raise Unreadable(f"body: larger than {MAX_BODY_BYTES} bytes")
    try:
        parts = message.decode()
    except Exception:  # of the codec, of JSON, of Celery's own types in it
        raise Unreadable("body: not JSON") from None
    if not isinstance(parts, list) or len(parts) != BODY_PARTS:
        raise Unreadable("body: not a list of arguments, keyword arguments and options")
    arguments, keywords, options = parts
    if not isinstance(arguments, list) or not isinstance(keywords, dict):
        raise Unreadable("body: arguments are no list, or keyword arguments no object")
    if options is not None and not isinstance(options, dict):
        raise Unreadable("body: options are no object")
    if options and (any(options.values()) or not options.keys() <= OPTIONS):
        raise Unreadable("body: options that have the worker do something else (callbacks, chain, chord)")


def _is_instant(value: object) -> bool:
    """Whether Celery can compare it with the clock."""
    try:
        return isinstance(value, str) and maybe_make_aware(maybe_iso8601(value), UTC).astimezone(UTC) is not None
    except (ValueError, TypeError, AttributeError, OverflowError):  # also of no text at all, and of an offset too far
        return False


def _is_soon(value: object) -> bool:
    if not _is_instant(value):
        return False
    eta = maybe_make_aware(maybe_iso8601(value), UTC)
    return bool(eta <= datetime.now(UTC) + MAX_AHEAD)


def _are_limits(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_limit, value))


def _is_limit(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(map(is_name, value))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


_HEADERS: dict[str, Callable[[object], bool]] = {
    "lang": is_name,
    "task": is_name,
    "id": is_id,
    "shadow": is_name,
    "eta": _is_soon,
    "expires": _is_instant,
    "group": is_id,
    "group_index": is_small_count,
    "retries": is_small_count,
    "timelimit": _are_limits,
    "root_id": is_id,
    "parent_id": is_id,
    "argsrepr": is_text,
    "kwargsrepr": is_text,
    "origin": is_name,
    "ignore_result": is_flag,
    "replaced_task_nesting": is_small_count,
    "stamped_headers": _are_names,
    "stamps": _is_object,
}
_RESERVED = frozenset(dir(Context)) - _HEADERS.keys()
