"""Which unconfirmed batches are to be sent again, and how many may be on their way."""

from omninode_bridge.client.backoff import Backoff
from omninode_bridge.client.buffer import Batch
from omninode_bridge.client.in_flight import Flight


def flight(window: int = 2) -> Flight:
    return Flight(window=window, resend=Backoff(first_s=10, most_s=600))


def sent(flight: Flight, task_id: str, now: float, first: int = 0) -> Batch:
    batch = Batch(task_id, first, [], [], 0)
    flight.add(batch)
    flight.sent(batch, now)
    return batch


def test_the_window_bounds_what_is_on_its_way() -> None:
    one = flight(window=2)
    first = sent(one, "a", 0)
    open_at = [one.window_open]
    sent(one, "b", 0)
    open_at.append(one.window_open)
    one.confirmed(first)
    assert [*open_at, one.window_open] == [True, False, True]


def test_a_batch_is_due_after_ten_seconds_then_after_twenty_more() -> None:
    one = flight()
    batch = sent(one, "a", 0)
    assert one.overdue(9.9) is None
    assert one.overdue(10) is batch
    one.sent(batch, 10)
    assert one.overdue(29.9) is None
    assert one.overdue(30) is batch


def test_the_longest_waiting_batch_is_due_first() -> None:
    one = flight()
    first, second = sent(one, "a", 0), sent(one, "b", 1)
    assert one.overdue(60) is first
    one.sent(first, 60)
    assert one.overdue(60) is second
    one.sent(second, 60)
    assert one.overdue(60) is None


def test_batches_that_nobody_confirms_hold_up_no_others() -> None:
    one = flight(window=1)
    sent(one, "a", 0)
    assert one.overdue(10) is not None
    assert one.window_open


def test_a_confirmed_batch_is_not_sent_again() -> None:
    one = flight()
    one.confirmed(sent(one, "a", 0))
    assert one.overdue(1000) is None
    assert len(one) == 0


def test_a_batch_is_overtaken_when_a_later_one_came_through() -> None:
    one = flight()
    early, late = sent(one, "a", 0), sent(one, "b", 1)
    assert not one.overtaken(early, 20)
    one.confirmed(late)
    assert one.overtaken(early, 20)


def test_no_copy_is_held_back_for_longer_than_the_longest_delay() -> None:
    one = flight()
    batch = sent(one, "a", 0)
    assert not one.overtaken(batch, 599)
    assert one.overtaken(batch, 600)


def test_the_oldest_operation_is_the_first_unconfirmed_batchs() -> None:
    one = flight()
    first = sent(one, "a", 0, first=0)
    sent(one, "b", 0, first=250)
    assert one.first() == 0
    one.confirmed(first)
    assert one.first() == 250


def test_only_batches_that_were_sent_long_enough_ago_are_asked_for() -> None:
    one = flight()
    sent(one, "a", 0)
    sent(one, "b", 5)
    one.add(Batch("never sent", 0, [], [], 0))
    assert one.unconfirmed(sent_before=5) == ["a"]
