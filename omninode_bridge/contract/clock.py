"""Instants, operation ids and clocks: how operations are ordered without asking who arrived first.

An operation id is a UUIDv7 (RFC 9562): 48 bits of milliseconds, then random or derived bits. A clock is text that sorts
as (occurred_at, operation_id) does, so that PostgreSQL and Python compare it the same way, byte by byte.
"""

import hashlib
import os
import time
from datetime import UTC, datetime
from uuid import UUID

from omninode_bridge.contract.errors import quoted

TIMELESS = datetime(1970, 1, 1, tzinfo=UTC)  # occurred_at of what has no time of its own: before everything else
_FIRST = datetime.min.replace(tzinfo=UTC)  # clocks count from here, so that no instant is negative
_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_VERSION_AND_VARIANT_BITS = (15 << 76) | (3 << 62)

STATE_RANKS = {"PENDING": 1, "COMPLETED": 4, "FAILED": 4}
OTHER_STATE_RANK = 2  # 3 is for what recovery concludes: above PROCESSING, below a reported end


def now() -> datetime:
    return datetime.now(UTC)


def parse_instant(value: object) -> datetime:
    """An aware UTC instant from an aware datetime or from ISO-8601 text, in which no offset means UTC.

    Raises ValueError for a naive datetime, for anything but ISO text with a time of day, and where UTC has no such
    year.
    """
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value) if 16 <= len(value) <= 40 else None
        except ValueError:
            parsed = None
        if parsed is None:
            raise ValueError(f"{quoted(value)} is not an ISO-8601 instant")
        if parsed.tzinfo is None:
            return parsed.replace(tzinfo=UTC)
    elif isinstance(value, datetime):
        parsed = value
        if parsed.tzinfo is None:
            raise ValueError("a datetime without time zone is not an instant")
    else:
        raise ValueError(f"{quoted(value)} is not an ISO-8601 instant")
    if parsed.tzinfo is UTC:
        return parsed
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{quoted(value)} lies outside the years 1 to 9999") from None


def uuid7() -> UUID:
    """A new operation id, of now."""
    return _uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big"))


def derived_uuid7(occurred_at: datetime, identity: bytes) -> UUID:
    """The operation id that every delivery of the same thing gets.

    Time bits from `occurred_at` (0 before 1970), the rest from SHA-256 of `identity`.
    """
    return _uuid7(max(0, millis(occurred_at)), int.from_bytes(hashlib.sha256(identity).digest()[:10], "big"))


def sibling_uuid7(id_: UUID, identity: bytes) -> UUID:
    """An id with the time bits of another; the rest from SHA-256 of `identity`."""
    return _uuid7(uuid7_millis(id_), int.from_bytes(hashlib.sha256(identity).digest()[:10], "big"))


def _uuid7(since_1970: int, bits: int) -> UUID:
    rand_a, rand_b = (bits >> 62) & ((1 << 12) - 1), bits & ((1 << 62) - 1)
    return UUID(int=((since_1970 & ((1 << 48) - 1)) << 80) | _VERSION_AND_VARIANT | (rand_a << 64) | rand_b)


def is_uuid7(id_: UUID) -> bool:
    """Cheaper than `UUID.version`, which every operation would pay for."""
    return id_.int & _VERSION_AND_VARIANT_BITS == _VERSION_AND_VARIANT


def uuid7_millis(operation_id: UUID) -> int:
    """The time bits of an operation id, milliseconds since 1970."""
    return operation_id.int >> 80


def millis(instant: datetime) -> int:
    """Milliseconds since 1970, exactly."""
    since = instant - TIMELESS
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def uuid_hex(id_: UUID) -> str:
    """32 digits, which sort as PostgreSQL sorts UUIDs and are cheaper to make and to compare than one."""
    return f"{id_.int:032x}"


def clock(occurred_at: datetime, operation_id: UUID) -> str:
    """48 characters that sort as (occurred_at, operation_id)."""
    return f"{_micros(occurred_at):016x}{operation_id.int:032x}"


def state_rank(state: str) -> int:
    """How final a workflow state is: PENDING, anything else, what recovery concludes, COMPLETED and FAILED."""
    return STATE_RANKS.get(state, OTHER_STATE_RANK)


def workflow_state_clock(state: str, clock_text: str) -> str:
    """The clock of a workflow's state: the rank counts before the time."""
    return f"{state_rank(state)}{clock_text}"


def fsm_state_clock(occurred_at: datetime, to_state: str, operation_id: UUID) -> str:
    """The clock of an entity's FSM state: time, then rank, then id."""
    return f"{_micros(occurred_at):016x}{state_rank(to_state)}{operation_id.int:032x}"


def _micros(instant: datetime) -> int:
    since = instant - _FIRST
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
