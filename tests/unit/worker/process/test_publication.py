"""Waiting for the bus: bounded, in vain only a few times, and taken up again by itself."""

import logging
from collections.abc import Collection
from uuid import UUID

import pytest

from omninode_bridge.contract.clock import uuid7
from worker.process.publication import BREAKER, LOOK_INTERVAL_S, Publication

WAIT_S = 0.1


class Bus:
    """A bus that has an event some waits after it was first asked for it; None: never.

    told  what it has is heard of; if not, it is only seen by looking
    """

    def __init__(self, waits: int | None = None, *, told: bool = True) -> None:
        self.now = 1000.0
        self.waits_needed = waits
        self.told = told
        self.looks = 0
        self.waits = 0
        self.known = True
        self.refused = False
        self.stopping = False

    @property
    def has(self) -> bool:
        return self.waits_needed is not None and self.waits >= self.waits_needed

    def look(self, event_ids: Collection[UUID]) -> dict[UUID, bool] | None:
        self.looks += 1
        if not self.known:
            return None
        return dict.fromkeys(event_ids, not self.refused) if self.has or self.refused else {}

    def hear(self, event_ids: Collection[UUID], seconds: float) -> set[UUID] | None:
        self.now += seconds
        self.waits += seconds > 0
        if self.stopping:
            return None
        return set(event_ids) if self.has and self.told else set()

    def ask(self, publication: Publication, *event_ids: UUID) -> set[UUID]:
        self.looks = self.waits = 0
        return publication.published(event_ids or (uuid7(),), look=self.look, hear=self.hear)


def publication(bus: Bus, wait_s: float = WAIT_S) -> Publication:
    return Publication(wait_s, now=lambda: bus.now)


def awaited(publication: Publication) -> bool:
    return publication.awaited


def test_events_that_were_heard_of_are_not_looked_for() -> None:
    bus, events = Bus(waits=0), {uuid7(), uuid7()}
    assert bus.ask(publication(bus), *events) == events
    assert (bus.looks, bus.waits) == (0, 0)


def test_it_waits_until_they_are_heard_of() -> None:
    bus, event = Bus(waits=3), uuid7()
    assert bus.ask(publication(bus), event) == {event}
    assert (bus.looks, bus.waits) == (2, 3)


def test_events_that_are_not_heard_of_are_found_by_looking() -> None:
    bus, event = Bus(waits=0, told=False), uuid7()
    assert bus.ask(publication(bus), event) == {event}
    assert (bus.looks, bus.waits) == (1, 1)


def test_a_wait_ends() -> None:
    bus = Bus()
    assert bus.ask(publication(bus)) == set()
    assert bus.waits == pytest.approx(WAIT_S / LOOK_INTERVAL_S, abs=1)


def test_what_was_there_is_told_when_the_rest_is_not() -> None:
    bus, heard, seen, missing = Bus(), uuid7(), uuid7(), uuid7()

    def look(event_ids: Collection[UUID]) -> dict[UUID, bool]:
        assert heard not in event_ids
        return {seen: True}

    def hear(event_ids: Collection[UUID], seconds: float) -> set[UUID]:
        bus.hear(event_ids, seconds)
        return {heard} & set(event_ids)

    asked = [heard, seen, missing]
    assert publication(bus).published(asked, look=look, hear=hear) == {heard, seen}
    assert publication(bus, wait_s=0.0).published(asked, look=look, hear=hear) == {heard, seen}


def test_a_refused_event_is_not_on_the_bus_and_not_waited_for() -> None:
    bus = Bus()
    one = publication(bus)
    bus.refused = True
    for _ in range(10):
        assert bus.ask(one) == set()
        assert (bus.looks, bus.waits) == (1, 1)
    assert one.awaited
    assert bus.ask(publication(bus, wait_s=0.0)) == set()


def test_a_wait_of_nothing_is_one_look() -> None:
    bus = Bus()
    without = publication(bus, wait_s=0.0)
    for _ in range(10):
        assert bus.ask(without) == set()
        assert (bus.looks, bus.waits) == (1, 0)
    assert without.awaited


def test_no_events_are_not_asked_about() -> None:
    bus = Bus()
    assert publication(bus).published([], look=bus.look, hear=bus.hear) == set()
    assert (bus.looks, bus.waits) == (0, 0)


def test_nobody_waits_any_more_after_some_waits_in_vain(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    one = publication(bus)
    with caplog.at_level(logging.INFO, "worker.process.publication"):
        for _ in range(BREAKER.failure_threshold):
            assert bus.ask(one) == set()
            assert bus.waits
        for _ in range(5):
            assert bus.ask(one) == set()
            assert (bus.looks, bus.waits) == (1, 0)
        assert not awaited(one)
        for _ in range(3):  # tries now and then, in vain
            bus.now += BREAKER.open_s
            bus.ask(one)
            assert bus.waits
            bus.ask(one)
            assert not bus.waits
        bus.now += BREAKER.open_s
        bus.waits_needed = 2
        assert len(bus.ask(one)) == 1
    assert awaited(one)
    assert [record.message for record in caplog.records] == ["publication_not_awaited", "publication_awaited"]
    assert len(bus.ask(one)) == 1


def test_a_wait_that_was_not_in_vain_counts_for_those_before_it() -> None:
    bus = Bus()
    one = publication(bus)
    for waits in (None, None, 2, None, None):
        bus.waits_needed = waits
        bus.ask(one)
    assert one.awaited


def test_a_worker_that_stops_waits_no_more_and_blames_nobody() -> None:
    bus = Bus()
    one = publication(bus)
    bus.stopping = True
    for _ in range(10):
        assert bus.ask(one) == set()
        assert (bus.looks, bus.waits) == (0, 1)
    assert one.awaited


def test_when_nobody_can_tell_the_wait_ends_and_the_bus_is_not_blamed() -> None:
    bus = Bus()
    one = publication(bus)
    bus.known = False
    for _ in range(10):
        assert bus.ask(one) == set()
        assert (bus.looks, bus.waits) == (1, 1)
    assert one.awaited
