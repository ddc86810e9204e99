"""Waiting for the bus: bounded, in vain only a few times, and taken up again by itself."""

import logging
from collections.abc import Collection
from uuid import UUID

import pytest

from omninode_bridge.clock import uuid7
from worker.publication import BREAKER, LOOK_INTERVAL_S, Publication

WAIT_S = 0.1


class Bus:
    """A bus that has an event some looks after it was first asked for it; None: never."""

    def __init__(self, looks: int | None = None) -> None:
        self.now = 1000.0
        self.looks_needed = looks
        self.looks = 0
        self.pauses = 0
        self.known = True
        self.stopping = False

    def look(self, event_ids: Collection[UUID]) -> set[UUID] | None:
        self.looks += 1
        if not self.known:
            return None
        return set(event_ids) if self.looks_needed is not None and self.looks > self.looks_needed else set()

    def pause(self, seconds: float) -> bool:
        self.pauses += 1
        self.now += seconds
        return not self.stopping

    def ask(self, publication: Publication, *event_ids: UUID) -> set[UUID]:
        self.looks = self.pauses = 0
        return publication.published(event_ids or (uuid7(),), look=self.look, pause=self.pause)


def publication(bus: Bus, wait_s: float = WAIT_S) -> Publication:
    return Publication(wait_s, now=lambda: bus.now)


def awaited(publication: Publication) -> bool:
    return publication.awaited


def test_events_that_are_there_at_once_cost_one_look() -> None:
    bus, events = Bus(looks=0), {uuid7(), uuid7()}
    assert bus.ask(publication(bus), *events) == events
    assert (bus.looks, bus.pauses) == (1, 0)


def test_it_looks_again_until_they_are_there() -> None:
    bus, event = Bus(looks=4), uuid7()
    assert bus.ask(publication(bus), event) == {event}
    assert (bus.looks, bus.pauses) == (5, 4)


def test_a_wait_ends() -> None:
    bus = Bus()
    assert bus.ask(publication(bus)) == set()
    assert bus.pauses == pytest.approx(WAIT_S / LOOK_INTERVAL_S, abs=1)


def test_what_was_there_is_told_when_the_rest_is_not() -> None:
    bus, there, missing = Bus(), uuid7(), uuid7()
    found = publication(bus).published([there, missing], look=lambda _: {there}, pause=bus.pause)
    assert found == {there}


def test_a_wait_of_nothing_is_one_look() -> None:
    bus = Bus(looks=1)
    without = publication(bus, wait_s=0.0)
    for _ in range(10):
        assert bus.ask(without) == set()
        assert (bus.looks, bus.pauses) == (1, 0)
    assert without.awaited


def test_no_events_are_not_asked_about() -> None:
    bus = Bus()
    assert publication(bus).published([], look=bus.look, pause=bus.pause) == set()
    assert bus.looks == 0


def test_nobody_waits_any_more_after_some_waits_in_vain(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    one = publication(bus)
    with caplog.at_level(logging.INFO, "worker.publication"):
        for _ in range(BREAKER.failure_threshold):
            assert bus.ask(one) == set()
            assert bus.pauses
        for _ in range(5):
            assert bus.ask(one) == set()
            assert (bus.looks, bus.pauses) == (1, 0)
        assert not awaited(one)
        for _ in range(3):  # tries now and then, in vain
            bus.now += BREAKER.open_s
            bus.ask(one)
            assert bus.pauses
            bus.ask(one)
            assert not bus.pauses
        bus.now += BREAKER.open_s
        bus.looks_needed = 2
        assert len(bus.ask(one)) == 1
    assert awaited(one)
    assert [record.message for record in caplog.records] == ["publication_not_awaited", "publication_awaited"]
    assert len(bus.ask(one)) == 1


def test_a_wait_that_was_not_in_vain_counts_for_those_before_it() -> None:
    bus = Bus()
    one = publication(bus)
    for looks in (None, None, 2, None, None):
        bus.looks_needed = looks
        bus.ask(one)
    assert one.awaited


def test_a_worker_that_stops_waits_no_more_and_blames_nobody() -> None:
    bus = Bus()
    one = publication(bus)
    bus.stopping = True
    for _ in range(10):
        assert bus.ask(one) == set()
        assert bus.pauses == 1
    assert one.awaited


def test_when_nobody_can_tell_it_is_not_waited_and_the_bus_is_not_blamed() -> None:
    bus = Bus()
    one = publication(bus)
    bus.known = False
    for _ in range(10):
        assert bus.ask(one) == set()
        assert (bus.looks, bus.pauses) == (1, 0)
    assert one.awaited
