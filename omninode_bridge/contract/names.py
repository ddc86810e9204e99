"""Names that somebody gives: which of them could be one at all, and what a message may repeat of them."""

import re

from omninode_bridge.contract.errors import invalid

MAX_NAME_CHARS = 63  # PostgreSQL cuts off the rest of a longer name
NO_NAME = "<a name that is none>"

_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_OPERATION = re.compile("[a-z_][a-z0-9_]{0,62}")
_REPEATABLE = re.compile(r"[A-Za-z0-9_.-]{1,63}")


def check_name(name: object, field: str) -> str:
    """A name that PostgreSQL could have for a column. Raises OnexError VALIDATION_ERROR, without the name."""
    if not isinstance(name, str) or not name:
        raise invalid(f"{field}: SQL identifier must be a non-empty string")
    if len(name) > MAX_NAME_CHARS:
        raise invalid(f"{field}: SQL identifier is too long, more than {MAX_NAME_CHARS} characters")
    if not is_name(name):
        raise invalid(f"{field}: SQL identifier contains invalid characters")
    return name


def is_name(name: str) -> bool:
    """Whether PostgreSQL could have it for a column."""
    return len(name) <= MAX_NAME_CHARS and _NAME.fullmatch(name) is not None


def operation_name(given: object) -> str:
    """An operation's name, in lower case; empty for what could be no name, so that it is not repeated."""
    named = _OPERATION.fullmatch(given.strip().lower()) if isinstance(given, str) else None
    return named[0] if named is not None else ""


def repeatable(name: object) -> str:
    """The name of a field or a key as a message may hold it: those with dots and dashes too, and `NO_NAME` for what
    could do harm where the message is shown."""
    text = str(name)
    return text if _REPEATABLE.fullmatch(text) else NO_NAME
