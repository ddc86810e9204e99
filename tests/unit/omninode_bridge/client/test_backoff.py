"""Delays that double."""

import pytest

from omninode_bridge.client.backoff import RESEND, Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=10, most_s=600)
    assert [backoff.delay_s(tries) for tries in range(1, 9)] == [10, 20, 40, 80, 160, 320, 600, 600]


def test_any_number_of_tries_has_a_delay() -> None:
    assert Backoff(first_s=0.1, most_s=5).delay_s(1_000_000) == 5


@pytest.mark.parametrize(("first_s", "most_s"), [(0, 1), (2, 1), (-1, 1)])
def test_delays_that_do_not_grow_are_refused(first_s: float, most_s: float) -> None:
    with pytest.raises(ValueError, match="first_s"):
        Backoff(first_s=first_s, most_s=most_s)


def test_a_batch_is_sent_again_after_ten_seconds_and_at_most_every_ten_minutes() -> None:
    assert (RESEND.first_s, RESEND.most_s) == (10, 600)
