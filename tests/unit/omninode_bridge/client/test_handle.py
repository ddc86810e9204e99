"""Handles: waiting, callbacks, asyncio."""

import asyncio
import logging
import threading

import pytest

from omninode_bridge.client.handle import Handle, Home, settle
from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.outcome import Outcome


def handle() -> Handle:
    return Handle(uuid7(), "update_node_heartbeat", Home())


def confirm(*handles: Handle) -> None:
    settle(handles, [Outcome(one.operation_id, "applied") for one in handles], home=handles[0]._home)


def test_a_result_is_waited_for() -> None:
    one = handle()
    threading.Timer(0.01, confirm, [one]).start()
    assert one.result(60).status == "applied"
    assert one.done()
    assert one.confirmed_at is not None and one.confirmed_at >= one.submitted_at


def test_a_result_that_does_not_come_in_time_is_a_timeout_and_may_still_come() -> None:
    one = handle()
    with pytest.raises(OnexError) as caught:
        one.result(0.001)
    assert caught.value.error_code == EnumCoreErrorCode.TIMEOUT
    assert one._callbacks == []  # nobody is left behind
    confirm(one)
    assert one.result(0).committed


def test_a_refused_operation_has_an_outcome_and_raises_nothing() -> None:
    one = handle()
    settle([one], [Outcome(one.operation_id, "refused", "FUTURE", "occurred_at: ahead")], home=one._home)
    assert one.result(0).code == "FUTURE"


def test_what_was_given_up_raises_an_error_of_its_own_for_each_waiter() -> None:
    one = handle()
    settle([one], [OnexError(EnumCoreErrorCode.TIMEOUT, "client: closed", {"unconfirmed": 1})], home=one._home)
    errors = []
    for _ in range(2):
        with pytest.raises(OnexError) as caught:
            one.result()
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert errors[0].context == {"unconfirmed": 1}
    assert one.confirmed_at is None


def test_callbacks_run_once_each_before_or_after_the_end() -> None:
    one = handle()
    calls: list[tuple[str, str]] = []
    one.add_done_callback(lambda done: calls.append(("before", done.result(0).status)))
    confirm(one)
    one.add_done_callback(lambda done: calls.append(("after", done.result(0).status)))
    assert calls == [("before", "applied"), ("after", "applied")]


def test_a_callback_that_raises_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    bad, good = handle(), handle()
    calls: list[Handle] = []
    bad.add_done_callback(lambda _: 1 / 0)
    good.add_done_callback(calls.append)
    with caplog.at_level(logging.ERROR):
        confirm(bad, good)
    assert calls == [good]
    assert "ZeroDivisionError" in caplog.text


async def _gather(handles: list[Handle]) -> list[Outcome]:
    threading.Timer(0.01, confirm, handles).start()
    return [await one for one in handles]


def test_a_handle_is_awaited_on_any_loop() -> None:
    one = handle()
    assert asyncio.run(_gather([one]))[0].status == "applied"
    assert asyncio.run(_gather([one]))[0].status == "applied"  # done already, and another loop


def test_a_cancelled_wait_leaves_nothing_behind_and_ends_nothing() -> None:
    one = handle()

    async def wait() -> None:
        async with asyncio.timeout(0.001):
            await one

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
    assert one._callbacks == []
    confirm(one)
    assert one.done()
