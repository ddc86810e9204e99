"""Instants, derived ids, and clocks that sort as (occurred_at, operation_id)."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omninode_bridge.contract.clock import (
    TIMELESS,
    clock,
    derived_uuid7,
    fsm_state_clock,
    millis,
    parse_instant,
    state_rank,
    uuid7,
    uuid7_millis,
    workflow_state_clock,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
INSTANTS = st.datetimes(timezones=st.just(UTC))
IDS = st.integers(0, 2**128 - 1).map(lambda bits: UUID(int=bits))


@pytest.mark.parametrize(
    "given_value",
    [
        "2026-11-20T12:00:00Z",
        "2026-11-20T12:00:00+00:00",
        "2026-11-20T14:00:00.000000+02:00",
        "2026-11-20 12:00:00",
        "2026-11-20T12:00",
        NOON,
        NOON.astimezone(timezone(timedelta(hours=-5))),
    ],
)
def test_an_instant_is_read_as_utc(given_value: object) -> None:
    assert parse_instant(given_value) == NOON
    assert parse_instant(given_value).tzinfo is UTC


@pytest.mark.parametrize(
    "given_value",
    [
        "",
        "yesterday at noon",
        "2026-11-20",
        "2026-13-20T12:00:00Z",
        "2026-11-20T12:00:00" + "0" * 40,
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        1_700_000_000,
        None,
        True,
        NOON.replace(tzinfo=None),
    ],
)
def test_what_is_no_instant_is_refused(given_value: object) -> None:
    with pytest.raises(ValueError):
        parse_instant(given_value)


def test_a_new_id_is_of_now_and_like_no_other() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    ids = [uuid7() for _ in range(100)]
    assert len(set(ids)) == 100
    for one in ids:
        assert one.version == 7 and one.variant == "specified in RFC 4122"
        assert millis(before) <= uuid7_millis(one) <= millis(datetime.now(UTC))


@given(at=INSTANTS, identity=st.binary())
def test_a_derived_id_is_a_uuid7_that_depends_on_time_and_identity_alone(at: datetime, identity: bytes) -> None:
    derived = derived_uuid7(at, identity)
    assert derived == derived_uuid7(at, identity)
    assert derived.version == 7 and derived.variant == "specified in RFC 4122"
    assert derived != derived_uuid7(at, identity + b"x")
    expected = max(at, TIMELESS)
    assert uuid7_millis(derived) == millis(expected)


def test_an_ids_time_bits_are_its_milliseconds() -> None:
    assert uuid7_millis(UUID(int=2**128 - 1)) == 2**48 - 1


@given(at=INSTANTS)
def test_milliseconds_are_exact(at: datetime) -> None:
    assert TIMELESS + timedelta(milliseconds=millis(at)) == at - timedelta(microseconds=at.microsecond % 1000)


@given(one=st.tuples(INSTANTS, IDS), other=st.tuples(INSTANTS, IDS))
def test_clocks_sort_as_time_then_id(one: tuple[datetime, UUID], other: tuple[datetime, UUID]) -> None:
    assert (clock(*one) < clock(*other)) == (one < other)
    assert (clock(*one).encode() < clock(*other).encode()) == (one < other)
    assert len(clock(*one)) == 48


def test_the_rank_of_a_workflows_state_counts_before_its_time() -> None:
    early, late = clock(NOON, uuid7()), clock(LAST, uuid7())
    for lower, higher in (("PENDING", "PROCESSING"), ("ANY OTHER", "COMPLETED"), ("PROCESSING", "FAILED")):
        assert workflow_state_clock(lower, late) < workflow_state_clock(higher, early)
    assert state_rank("COMPLETED") == state_rank("FAILED")
    assert workflow_state_clock("COMPLETED", early) < workflow_state_clock("FAILED", late)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ((NOON, "COMPLETED", UUID(int=9)), (NOON + timedelta(microseconds=1), "PENDING", UUID(int=1))),
        ((NOON, "PENDING", UUID(int=9)), (NOON, "PROCESSING", UUID(int=1))),
        ((NOON, "FAILED", UUID(int=1)), (NOON, "COMPLETED", UUID(int=2))),
    ],
)
def test_an_entitys_state_is_ordered_by_time_then_rank_then_id(earlier: Any, later: Any) -> None:
    assert fsm_state_clock(*earlier) < fsm_state_clock(*later)
