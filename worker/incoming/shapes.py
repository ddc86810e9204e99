"""Shapes of values that strangers write into messages, and the exception for what has another one."""

from typing import Any
from uuid import UUID

MAX_NAME_CHARS = 255
MAX_DEPTH = 16
MAX_VALUES = 2000  # in all headers and properties of a message; a task has about 40


class Unreadable(Exception):
    """Not a task of the fleet. Its text is the reason, in the fleet's own words, without any of the message's."""


def is_name(value: object) -> bool:
    """Text that is fit for keys, logs and pages: printable, so without lone surrogates and control characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS and value.isprintable()


def is_id(value: object) -> bool:
    """A name; or a UUID, which Celery's JSON carries as such."""
    return is_name(value) or isinstance(value, UUID)


def is_id_or_empty(value: object) -> bool:
    return value == "" or is_id(value)


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_small_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_bounded(value: object) -> bool:
    """Whether it is nested less than MAX_DEPTH deep, and of less than MAX_VALUES values."""
    left, level, depth = MAX_VALUES, [value], 0
    while level:
        left -= len(level)
        depth += 1
        if left < 0 or depth > MAX_DEPTH:
            return False
        level = [inner for one in level for inner in _inner(one)]
    return True


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()
