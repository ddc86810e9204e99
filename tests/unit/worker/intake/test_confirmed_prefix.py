"""What may be committed while confirmations come in any order."""

import random

from worker.bus import BusRecord
from worker.intake.confirmed_prefix import Prefix, Ticket


def record(offset: int, *, partition: int = 0, value: bytes | None = b"abc") -> BusRecord:
    return BusRecord("t", partition, offset, "k", value)


def read(prefix: Prefix, count: int, *, partition: int = 0) -> list[Ticket]:
    return [prefix.delivered(record(n, partition=partition)) for n in range(count)]


def offsets(prefix: Prefix) -> list[int | str]:
    return [one.offset for one in prefix.committable()]


def test_nothing_is_committed_behind_a_record_that_is_not_done() -> None:
    prefix = Prefix()
    tickets = read(prefix, 4)
    for n in (1, 2, 3):
        prefix.done(tickets[n])
    assert offsets(prefix) == []
    prefix.done(tickets[0])
    assert offsets(prefix) == [0, 1, 2, 3]


def test_partitions_do_not_wait_for_each_other() -> None:
    prefix = Prefix()
    read(prefix, 2)
    here = read(prefix, 2, partition=1)
    prefix.done(here[0])
    assert [(one.partition, one.offset) for one in prefix.committable()] == [(1, 0)]
    assert prefix.committable([("t", 0)]) == []


def test_what_was_not_committed_may_be_committed_again() -> None:
    prefix = Prefix()
    prefix.done(read(prefix, 1)[0])
    assert offsets(prefix) == offsets(prefix) == [0]
    prefix.committed(prefix.committable())
    assert offsets(prefix) == [] and prefix.count == prefix.byte_count == 0


def test_it_counts_what_is_under_way() -> None:
    prefix = Prefix()
    tickets = read(prefix, 3)
    prefix.done(tickets[1])
    prefix.done(tickets[1])
    assert (prefix.count, prefix.byte_count, prefix.unconfirmed) == (3, 9, 2)
    prefix.done(prefix.delivered(record(3, value=None)))
    assert (prefix.count, prefix.byte_count, prefix.unconfirmed) == (4, 9, 2)


def test_a_lost_partition_commits_nothing_more_but_takes_room_until_it_is_confirmed() -> None:
    prefix = Prefix()
    done, waiting = read(prefix, 2)
    prefix.done(done)
    prefix.forget([("t", 0), ("t", 7)])
    assert offsets(prefix) == [] and waiting.is_lost
    assert (prefix.count, prefix.unconfirmed) == (1, 1)
    prefix.done(waiting)
    assert (prefix.count, prefix.byte_count, prefix.unconfirmed) == (0, 0, 0)


def test_a_confirmation_from_before_a_loss_does_not_confirm_the_same_record_read_again() -> None:
    prefix = Prefix()
    before = read(prefix, 1)[0]
    prefix.forget([("t", 0)])
    again = read(prefix, 1)[0]
    prefix.done(before)
    assert offsets(prefix) == []
    prefix.done(again)
    assert offsets(prefix) == [0]


def test_a_partition_is_waiting_as_long_as_one_of_its_records_is_not_done() -> None:
    prefix = Prefix()
    tickets = read(prefix, 2)
    prefix.done(tickets[0])
    assert prefix.is_waiting([("t", 0)]) and not prefix.is_waiting([("t", 1)])
    prefix.done(tickets[1])
    assert not prefix.is_waiting([("t", 0)])


def test_in_any_order_of_confirmations_commits_are_the_records_in_order_without_gaps() -> None:
    dice = random.Random(7)
    for _ in range(50):
        prefix = Prefix()
        tickets = read(prefix, 20)
        dice.shuffle(tickets)
        committed: list[int | str] = []
        for ticket in tickets:
            prefix.done(ticket)
            if dice.random() < 0.5:
                batch = prefix.committable()
                prefix.committed(batch)
                committed += [one.offset for one in batch]
                assert committed == list(range(len(committed)))
        assert committed + offsets(prefix) == list(range(20))
