"""Which topics a relay leaves out, for how long, and how long it waits for those that it tries again."""

from worker.relay.pauses import Pauses


def pauses_of_failures(number: int, *went: str) -> list[float]:
    """How long the topic is left out after each of so many failed trials in a row."""
    pauses, now, found = Pauses(), 0.0, []
    for _ in range(number):
        pauses.note(went=went, away={"bad": "no leader"}, now=now)
        begun = now
        while pauses.left_out(now):
            now += 0.5
        found.append(now - begun)
    return found


def test_nothing_is_left_out_at_first() -> None:
    pauses = Pauses()
    assert pauses.left_out(0) == [] and not pauses.on_trial("any")


def test_a_topic_that_is_away_is_left_out_and_then_on_trial_until_it_goes() -> None:
    pauses = Pauses()
    pauses.note(went=["good"], away={"bad": "no leader"}, now=0.5)
    assert (pauses.left_out(1.4), pauses.left_out(1.5)) == (["bad"], [])
    assert pauses.on_trial("bad") and not pauses.on_trial("good")
    pauses.note(went=["bad"], away={}, now=2.0)
    assert not pauses.on_trial("bad")
    pauses.note(went=[], away={"bad": "no leader"}, now=3.0)
    assert (pauses.left_out(3.9), pauses.left_out(4.0)) == (["bad"], []), "it begins anew"


def test_pauses_double_up_to_half_a_minute() -> None:
    assert pauses_of_failures(7) == [1, 2, 4, 8, 16, 30, 30]


def test_a_topic_of_which_a_part_goes_out_is_not_kept_long() -> None:
    assert pauses_of_failures(7, "bad") == [1, 2, 4, 4, 4, 4, 4]


def test_a_trial_takes_a_part_of_the_pause_before_it_and_at_most_the_time_of_a_batch() -> None:
    pauses = Pauses()
    found = []
    for n in range(6):
        pauses.note(went=[], away={"bad": "no leader"}, now=float(n))
        found.append(pauses.patience_s(["bad", "other"], most_s=3))
    assert found == [0.25, 0.25, 0.5, 1, 2, 3]


def test_a_topic_is_told_of_when_it_goes_and_when_it_comes_back() -> None:
    pauses = Pauses()
    for now in (0.0, 1.0):
        pauses.note(went=[], away={"bad": "no leader"}, now=now)
    for now in (2.0, 3.0):
        pauses.note(went=["bad"], away={}, now=now)
    assert pauses.news() == [("bad", "no leader"), ("bad", None)]
    assert pauses.news() == []


def test_what_was_away_as_a_whole_leaves_no_pause() -> None:
    pauses = Pauses()
    pauses.note(went=[], away={"bad": "no leader"}, now=0.0)
    pauses.clear()
    assert pauses.left_out(0.0) == [] and not pauses.on_trial("bad") and pauses.news() == []
