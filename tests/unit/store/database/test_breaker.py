"""The breaker's states, with the time given by hand."""

import pytest

from store.database.breaker import Breaker, BreakerConfig, BreakerState

CONFIG = BreakerConfig()


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(CONFIG, now=0.0)


def fail(breaker: Breaker, *times: float) -> None:
    for now in times:
        ticket = breaker.enter(now)
        assert ticket is not None
        breaker.failed(ticket, now)


def open_at(breaker: Breaker, now: float) -> None:
    fail(breaker, *[now] * CONFIG.failure_threshold)
    assert breaker.state(now) is BreakerState.OPEN


def test_five_outages_in_a_row_open_it(breaker: Breaker) -> None:
    fail(breaker, 1, 2, 3, 4)
    assert breaker.state(4) is BreakerState.CLOSED
    fail(breaker, 5)
    assert breaker.state(5) is BreakerState.OPEN
    assert breaker.enter(5) is None
    assert breaker.opened_count == 1


def test_a_success_between_outages_begins_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, 1, 2, 3, 4)
    ticket = breaker.enter(4)
    assert ticket is not None
    breaker.succeeded(ticket, 4)
    fail(breaker, 5, 6, 7, 8)
    assert breaker.state(8) is BreakerState.CLOSED


def test_outages_further_apart_than_the_window_do_not_open_it(breaker: Breaker) -> None:
    fail(breaker, 0, 10, 20, 30, 40, 50, 60)  # the last five span 40 s
    assert breaker.state(60) is BreakerState.CLOSED
    fail(breaker, 61)  # 31 s
    assert breaker.state(61) is BreakerState.CLOSED
    fail(breaker, 62)  # 22 s
    assert breaker.state(62) is BreakerState.OPEN


def test_a_call_that_says_nothing_of_the_database_counts_neither_way(breaker: Breaker) -> None:
    fail(breaker, 1, 2, 3, 4)
    for now in range(5, 50):
        ticket = breaker.enter(now)
        assert ticket is not None
        breaker.released(ticket, now)
    assert breaker.state(50) is BreakerState.CLOSED


def test_while_open_a_probe_is_due_every_second(breaker: Breaker) -> None:
    open_at(breaker, 10)
    assert not breaker.probe_due(10.9)
    assert breaker.probe_due(11)
    breaker.probed(11, success=False)
    assert breaker.state(11) is BreakerState.OPEN
    assert not breaker.probe_due(11.9)
    assert breaker.probe_due(12)


def test_the_first_successful_probe_makes_it_half_open(breaker: Breaker) -> None:
    open_at(breaker, 10)
    breaker.probed(11, success=True)
    assert breaker.state(11) is BreakerState.HALF_OPEN
    assert not breaker.probe_due(100)


def test_it_is_half_open_after_a_minute_at_the_latest(breaker: Breaker) -> None:
    open_at(breaker, 10)
    assert breaker.state(69.9) is BreakerState.OPEN
    assert breaker.state(70) is BreakerState.HALF_OPEN


def test_half_open_takes_three_trial_calls_at_a_time_and_two_successes_close_it(breaker: Breaker) -> None:
    open_at(breaker, 10)
    breaker.probed(11, success=True)
    tickets = [breaker.enter(11) for _ in range(4)]
    assert tickets[3] is None
    assert tickets[0] is not None
    breaker.succeeded(tickets[0], 12)
    assert breaker.state(12) is BreakerState.HALF_OPEN
    assert breaker.enter(12) is not None  # a place is free again
    assert tickets[1] is not None
    breaker.succeeded(tickets[1], 13)
    assert breaker.state(13) is BreakerState.CLOSED


def test_a_trial_call_that_ends_without_telling_frees_its_place(breaker: Breaker) -> None:
    open_at(breaker, 10)
    breaker.probed(11, success=True)
    for _ in range(10):
        ticket = breaker.enter(12)
        assert ticket is not None
        breaker.released(ticket, 12)
    assert breaker.state(12) is BreakerState.HALF_OPEN


def test_one_outage_while_half_open_opens_it_again(breaker: Breaker) -> None:
    open_at(breaker, 10)
    breaker.probed(11, success=True)
    fail(breaker, 12)
    assert breaker.state(12) is BreakerState.OPEN
    assert breaker.opened_count == 2


def test_a_late_answer_from_an_earlier_state_changes_nothing(breaker: Breaker) -> None:
    early = [breaker.enter(9) for _ in range(3)]
    open_at(breaker, 10)
    breaker.probed(11, success=True)
    for ticket in early:
        assert ticket is not None
        breaker.failed(ticket, 12)
        breaker.succeeded(ticket, 12)
    assert breaker.state(12) is BreakerState.HALF_OPEN


def test_a_database_that_answers_probes_only_is_probed_ever_less_often(breaker: Breaker) -> None:
    open_at(breaker, 0)
    now, waits = 0.0, []
    for _ in range(4):
        wait = next(step for step in range(1, 60) if breaker.probe_due(now + step))
        waits.append(wait)
        now += wait
        breaker.probed(now, success=True)
        fail(breaker, now)
    assert waits == [1, 2, 4, 8]


def test_closing_brings_the_probes_back_to_every_second(breaker: Breaker) -> None:
    open_at(breaker, 0)
    breaker.probed(1, success=True)
    fail(breaker, 1)
    breaker.probed(3, success=True)
    for _ in range(CONFIG.half_open_successes):
        ticket = breaker.enter(3)
        assert ticket is not None
        breaker.succeeded(ticket, 3)
    open_at(breaker, 4)
    assert breaker.probe_due(5)


@pytest.mark.parametrize("field", BreakerConfig.__slots__)
def test_every_setting_must_be_positive(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        BreakerConfig(**{field: 0})


def test_more_successes_than_trial_calls_could_never_close_it() -> None:
    with pytest.raises(ValueError, match="half_open_successes"):
        BreakerConfig(half_open_max_calls=1, half_open_successes=2)
