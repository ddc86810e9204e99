"""When a batch is cut, and what goes into it."""

import pytest

from omninode_bridge.client.buffer import Buffer
from omninode_bridge.client.handle import Handle, Home
from omninode_bridge.contract.clock import uuid7

HOME = Home()


def buffer_of(*texts: bytes, operations: int = 3, size: int = 1000, submitted_at: float = 100.0) -> Buffer:
    buffer = Buffer(batch_operations=operations, batch_bytes=size, linger_s=0.005)
    for text in texts:
        handle = Handle(uuid7(), "persist_workflow_step", HOME)
        handle.submitted_at = submitted_at
        buffer.add(handle, text)
    return buffer


def test_an_empty_buffer_has_nothing_to_wait_for() -> None:
    assert buffer_of().wait_s(100.0, idle=True) is None


def test_an_idle_client_sends_at_once() -> None:
    assert buffer_of(b"{}").wait_s(100.0, idle=True) == 0


def test_a_busy_client_waits_for_company_and_no_longer_than_the_linger() -> None:
    buffer = buffer_of(b"{}")
    assert buffer.wait_s(100.001, idle=False) == pytest.approx(0.004)
    assert buffer.wait_s(100.2, idle=False) == 0


@pytest.mark.parametrize("texts", [[b"{}"] * 3, [b"x" * 999]])
def test_a_full_buffer_waits_for_nothing(texts: list[bytes]) -> None:
    assert buffer_of(*texts).wait_s(100.0, idle=False) == 0


def test_a_batch_takes_the_oldest_operations_up_to_its_count() -> None:
    buffer = buffer_of(*[b"%d" % number for number in range(7)])
    assert [(batch.first, batch.texts) for batch in (buffer.cut("a"), buffer.cut("b"), buffer.cut("c"))] == [
        (0, [b"0", b"1", b"2"]),
        (3, [b"3", b"4", b"5"]),
        (6, [b"6"]),
    ]
    assert (len(buffer), buffer.byte_count, buffer.first) == (0, 0, 7)


def test_the_text_of_a_batch_stays_within_its_bytes() -> None:
    buffer = buffer_of(b"1" * 40, b"2" * 40, b"3" * 40, size=84)
    batch = buffer.cut("a")
    assert len(batch.texts) == 2
    assert len(batch.text().encode()) <= 84
    assert buffer_of(b"1" * 40, b"2" * 40, size=82).cut("a").texts == [b"1" * 40]


def test_what_belongs_together_is_not_parted_where_one_message_holds_it() -> None:
    buffer = buffer_of(b"a", b"b")
    for number in range(3):
        buffer.add(Handle(uuid7(), "publish_event", HOME), b"%d" % number, begins=number == 0)
    buffer.add(Handle(uuid7(), "publish_event", HOME), b"z")
    assert [buffer.cut(id_).texts for id_ in "xyz"] == [[b"a", b"b"], [b"0", b"1", b"2"], [b"z"]]


def test_what_no_message_holds_is_parted_where_it_is_full() -> None:
    buffer = buffer_of(b"a")
    for number in range(5):
        buffer.add(Handle(uuid7(), "publish_event", HOME), b"%d" % number, begins=number == 0)
    assert [buffer.cut(id_).texts for id_ in "xyz"] == [[b"a"], [b"0", b"1", b"2"], [b"3", b"4"]]
    assert (len(buffer), buffer.byte_count, buffer.first) == (0, 0, 6)


def test_an_operation_larger_than_a_batch_travels_alone() -> None:
    buffer = buffer_of(b"1" * 5000, b"2")
    assert buffer.cut("a").texts == [b"1" * 5000]
    assert buffer.cut("b").texts == [b"2"]


def test_a_batch_is_summed_up_without_its_content() -> None:
    batch = buffer_of(b"{}", b"{}").cut("a")
    assert batch.summary() == "2 operations: 2 workflow_step"
