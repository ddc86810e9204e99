"""What a report may be asked with, checked before PostgreSQL sees it. A null parameter is one that was not given."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from omninode_bridge.contract.errors import invalid
from omninode_bridge.contract.values import check_json
from omninode_bridge.persistence.models import MAX_LIMIT
from store.write.liveness import Thresholds

Given = Mapping[str, Any]

FOUND = 100  # rows in an answer, unless more are asked for
NO_TEXT = frozenset({"time_range_hours", "max_age_s", "limit", "include_deregistered"})  # for command lines
MAX_HOURS = 10 * 366 * 24
MAX_AGE_S = MAX_HOURS * 3600
MAX_BYTES = 3 << 20  # of the rows in an answer: through an adapter it may have 4 MiB


@dataclass(frozen=True, slots=True)
class Terms:
    """What a report is answered by, whatever it is asked.

    thresholds  how long a silent node counts as there
    at          the moment of a question about nodes; None: the database's now
    max_bytes   of the rows in an answer, as text; at least MAX_BYTES
    """

    thresholds: Thresholds = field(default_factory=Thresholds)
    at: datetime | None = None
    max_bytes: int = MAX_BYTES

    @property
    def bounds(self) -> dict[str, int]:
        """For a statement. A row beyond `row_bytes` comes without its large columns: a dozen fit into an answer."""
        return {"row_bytes": self.max_bytes // 12, "bytes_limit": self.max_bytes}


USUAL = Terms()


def check_names(given: Given, *names: str) -> None:
    """Raises OnexError VALIDATION_ERROR that lists the parameters there are, for one that is none of them."""
    if not all(name in names for name in given):
        raise invalid("query_filters: a report of this name takes " + (", ".join(names) or "nothing"))


def uuid_of(given: Given, name: str) -> UUID:
    value = _required(given, name)
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise invalid(f"{name}: not a UUID") from None


def text_of(given: Given, name: str, *, max_chars: int) -> str:
    value = _required(given, name)
    if not isinstance(value, str):
        raise invalid(f"{name}: not text")
    value = value.strip()
    try:
        check_json(value)
    except ValueError:
        value = ""
    if not 1 <= len(value) <= max_chars:
        raise invalid(f"{name}: not text of 1 to {max_chars} characters")
    return value


def optional_text_of(given: Given, name: str, *, max_chars: int) -> str | None:
    return None if given.get(name) is None else text_of(given, name, max_chars=max_chars)


def node_id_of(given: Given, name: str) -> str:
    """An id; '' where none was given, or an empty one, with which a loop over pages may begin."""
    return "" if given.get(name) == "" else optional_text_of(given, name, max_chars=255) or ""


def choice_of(given: Given, name: str, choices: type[StrEnum]) -> str | None:
    """One of the choices, in any case."""
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or value.strip().upper() not in tuple(choices):
        raise invalid(f"{name}: not one of {', '.join(choices)}")
    return value.strip().upper()


def flag_of(given: Given, name: str) -> bool:
    """False where it was not given."""
    value = _or(given, name, False)
    if not isinstance(value, bool):
        raise invalid(f"{name}: neither true nor false")
    return value


def hours_of(given: Given, *, default: float = 24) -> timedelta:
    """`time_range_hours`: how far back the report looks, from the database's now."""
    return timedelta(hours=_number(given, "time_range_hours", MAX_HOURS, default=default))


def age_of(given: Given, *, default: timedelta) -> timedelta:
    """`max_age_s`: how old the last sign of life may be."""
    if given.get("max_age_s") is None:
        return default
    return timedelta(seconds=_number(given, "max_age_s", MAX_AGE_S, default=0))


def limit_of(given: Given, *, default: int = FOUND, most: int = MAX_LIMIT) -> int:
    value = _or(given, "limit", default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise invalid(f"limit: not an integer from 1 to {most}")
    return value


def object_of(given: Given, name: str) -> Jsonb:
    """A JSON object to be contained. One in which no value is left is refused: an index knows of values alone."""
    value = _required(given, name)
    if not isinstance(value, Mapping) or not value:
        raise invalid(f"{name}: not a JSON object with at least one member")
    try:
        check_json({name: value})
    except ValueError as error:
        raise invalid(str(error)) from None
    if not any(_scalars(value)):
        raise invalid(f"{name}: has no text, number, true, false or null in it, so every row would have to be read")
    return Jsonb(value)


def _scalars(value: object) -> Iterator[bool]:
    """True for each value that is neither an object nor a list."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _scalars(inner)
    else:
        yield True


def _required(given: Given, name: str) -> Any:
    value = given.get(name)
    if value is None:
        raise invalid(f"{name}: missing; query_filters with it are required")
    return value


def _number(given: Given, name: str, most: float, *, default: float) -> float:
    value = _or(given, name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise invalid(f"{name}: not a number above 0, at most {most:,.0f}")
    return value


def _or(given: Given, name: str, default: Any) -> Any:
    value = given.get(name)
    return default if value is None else value
