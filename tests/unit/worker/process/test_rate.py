"""Operations a second, with the time given by hand."""

from worker.process.rate import Rate


def test_the_rate_is_the_mean_of_the_last_ten_whole_seconds() -> None:
    rate = Rate()
    for second in range(20):
        rate.add(50, now=second + 0.1)
        rate.add(50, now=second + 0.9)
    assert rate.per_second(now=20.0) == 100.0
    assert rate.per_second(now=25.0) == 50.0
    assert rate.per_second(now=60.0) == 0.0
    assert rate.total == 2000


def test_the_second_that_is_not_over_does_not_count_yet() -> None:
    rate = Rate()
    rate.add(1000, now=5.0)
    assert rate.per_second(now=5.9) == 0.0
    assert rate.per_second(now=6.0) == 100.0
