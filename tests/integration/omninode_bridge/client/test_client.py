"""The client against a real broker, with an answerer in the fleet's place: confirming, refusing, bounds, closing."""

import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import redis

from omninode_bridge import FleetClient, NodeHeartbeatData, OnexError, Outcome, UpdateNodeHeartbeat
from omninode_bridge.client.backoff import Backoff
from omninode_bridge.client.dispatch import Pace
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.values import MAX_OPERATION_BYTES
from omninode_bridge.contract.wire import Item
from tests.answerer import RESULT_KEY, Answerer, Choice, answering, applied
from tests.deadline import wait_until
from tests.integration.omninode_bridge.client.clients import client_of, heartbeat

# ---- submitting and confirming --------------------------------------------------------------------------------------


def test_what_is_submitted_is_confirmed_with_its_own_outcome(broker: str, answerer: Answerer) -> None:
    def choose(_: str, items: list[Item]) -> Choice:
        outcomes = applied(items)
        for position, item in enumerate(items):
            if isinstance(item, UpdateNodeHeartbeat) and item.data.node_id.endswith("7"):
                outcomes[position] = Outcome(item.operation_id, "refused", "FUTURE", "occurred_at: ahead")
        return "answer", outcomes

    answerer.choose = choose
    with client_of(broker) as client:
        handles = [client.submit(heartbeat(number)) for number in range(1000)]
        outcomes = [handle.result(60) for handle in handles]
    assert [outcome.operation_id for outcome in outcomes] == [handle.operation_id for handle in handles]
    assert [number for number, outcome in enumerate(outcomes) if outcome.status == "refused"] == list(
        range(7, 1000, 10)
    )
    stats = client.stats()
    assert (stats.submitted, stats.confirmed, stats.refused, stats.pending, stats.pending_bytes) == (
        1000,
        1000,
        100,
        0,
        0,
    )


def test_operations_arrive_as_they_were_submitted(broker: str, answerer: Answerer) -> None:
    trace, occurred = uuid4(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    operation = UpdateNodeHeartbeat(data=heartbeat(1))
    with client_of(broker) as client:
        client.submit(operation)
        client.submit(heartbeat(2), correlation_id=trace, occurred_at=occurred)
    first, second = sorted(answerer.received, key=lambda item: item.correlation_id is not None)
    assert first.operation_id == operation.operation_id
    assert isinstance(second, UpdateNodeHeartbeat)
    assert (second.data, second.correlation_id, second.occurred_at) == (heartbeat(2), trace, occurred)


def test_a_message_shows_how_many_operations_it_holds_and_nothing_of_them(broker: str, answerer: Answerer) -> None:
    with client_of(broker) as client:
        client.submit_many([heartbeat(), heartbeat()])
    header = answerer.headers[0]
    assert (header["argsrepr"], header["kwargsrepr"]) == ("2 operations: 2 node_heartbeat", "")
    assert header["ignore_result"] is False


def test_operations_that_come_while_others_are_on_their_way_share_a_message(broker: str, answerer: Answerer) -> None:
    answerer.pause()
    with client_of(broker, batch_operations=250) as client:
        client.submit(heartbeat())
        wait_until(lambda: client.stats().in_flight_batches == 1, seconds=5, what="the first one is on its way")
        client.submit_many([heartbeat(number) for number in range(400)])
        answerer.resume()
    assert sorted(len(items) for items in answerer.operations.values()) == [1, 150, 250]


def test_no_more_batches_are_on_their_way_than_allowed(broker: str, answerer: Answerer) -> None:
    answerer.pause()
    with client_of(broker, max_in_flight=2, batch_operations=10, _resend=Backoff(first_s=60, most_s=60)) as client:
        client.submit_many([heartbeat(number) for number in range(100)])
        wait_until(lambda: client.stats().in_flight_batches == 2, seconds=5, what="two batches are on their way")
        assert client.stats().buffered == 80
        answerer.resume()


def test_read_answers_are_removed_from_the_broker(broker: str, answerer: Answerer) -> None:
    with client_of(broker) as client:
        client.submit(heartbeat()).result(60)
    with redis.Redis.from_url(broker) as connection:
        assert connection.keys(RESULT_KEY + "*") == []


def test_a_key_prefix_is_kept_to(broker: str) -> None:
    with answering(broker, prefix="odd[*]_"), client_of(broker, key_prefix="odd[*]_") as client:
        assert client.submit(heartbeat()).result(60).committed


def test_an_idle_client_hears_of_its_operation_within_milliseconds(broker: str, answerer: Answerer) -> None:
    with client_of(broker, _pace=Pace(sweep_s=60)) as client:
        client.submit(heartbeat()).result(60)
        handles = []
        for number in range(20):
            handles.append(client.submit(heartbeat(number)))
            client.flush(60)
        latencies = sorted(one.confirmed_at - one.submitted_at for one in handles if one.confirmed_at)
    assert latencies[10] < 0.1  # asked for instead of told, it would take a second


def test_threads_submit_at_the_same_time(broker: str, answerer: Answerer) -> None:
    with client_of(broker, max_pending=300) as client:
        threads = [
            threading.Thread(target=lambda: [client.submit(heartbeat(number)) for number in range(500)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.flush(60)
    assert len({item.operation_id for item in answerer.received}) == 2000


def test_a_flush_has_waited_for_the_callbacks(broker: str, answerer: Answerer) -> None:
    confirmed: list[Outcome] = []
    with client_of(broker) as client:
        for number in range(500):
            client.submit(heartbeat(number)).add_done_callback(lambda done: confirmed.append(done.result(0)))
        client.flush(60)
        assert len(confirmed) == 500


def test_a_callback_may_submit_and_may_not_wait(broker: str, answerer: Answerer) -> None:
    answers: list[object] = []

    def follow_up(_: object) -> None:
        answers.append(client.submit(heartbeat()))
        try:
            client.flush(1)
        except OnexError as error:
            answers.append(error.error_code)

    with client_of(broker) as client:
        client.submit(heartbeat()).add_done_callback(follow_up)
        wait_until(lambda: len(answers) == 2, seconds=5, what="the callback ran")
    assert answers[1] == EnumCoreErrorCode.SERVICE_UNAVAILABLE
    assert client.stats().confirmed == 2


# ---- what is refused at once ----------------------------------------------------------------------------------------


def test_what_is_too_large_is_refused_and_not_pending(broker: str) -> None:
    with client_of(broker) as client:
        big = NodeHeartbeatData(node_id="n", health_status="HEALTHY", metadata={"text": "x" * MAX_OPERATION_BYTES})
        with pytest.raises(OnexError) as caught:
            client.submit_many([heartbeat(), big])
        assert caught.value.error_code == EnumCoreErrorCode.VALIDATION_ERROR
        assert client.stats().pending == 0


def test_what_is_no_operation_is_refused(broker: str) -> None:
    with client_of(broker) as client:
        for wrong in (None, {"node_id": "n"}):
            with pytest.raises(OnexError, match="neither an operation"):
                client.submit(wrong)  # type: ignore[arg-type]  # that is the test
        with pytest.raises(OnexError, match="occurred_at"):
            client.submit(heartbeat(), occurred_at=datetime(2026, 1, 1))  # noqa: DTZ001  # that is the test
        with pytest.raises(OnexError, match="has its own"):
            client.submit(UpdateNodeHeartbeat(data=heartbeat()), correlation_id=uuid4())


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://host", {}),
        ("amqp://host", {}),
        ("redis://host", {"result_backend_url": "amqp://host"}),
        ("redis://host", {"batch_operations": 1001}),
        ("redis://host", {"batch_bytes": 5 * 1024 * 1024}),
        ("redis://host", {"max_pending": 0}),
        ("redis://host", {"when_full": "wait"}),
    ],
)
def test_arguments_that_cannot_work_are_refused_at_once(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(OnexError) as caught:
        FleetClient(url, **options)
    assert caught.value.error_code == EnumCoreErrorCode.VALIDATION_ERROR


def test_no_password_is_shown() -> None:
    with client_of("redis://user:s3cret@127.0.0.1:1/0") as client, suppress(OnexError):
        client.submit(heartbeat())
        error = wait_until(lambda: client.stats().last_error, seconds=5, what="it cannot connect")
        assert "s3cret" not in f"{error} {client!r} {client._route!r}"
        client.close(0)


# ---- bounds ---------------------------------------------------------------------------------------------------------


def test_a_full_client_raises_when_told_to(broker: str, answerer: Answerer) -> None:
    answerer.pause()
    with client_of(broker, max_pending=3, when_full="raise") as client:
        client.submit_many([heartbeat(), heartbeat()])
        with pytest.raises(OnexError) as caught:
            client.submit_many([heartbeat(), heartbeat()])
        assert caught.value.error_code == EnumCoreErrorCode.SERVICE_UNAVAILABLE
        assert client.stats().pending == 2  # all or none
        client.submit(heartbeat())
        with pytest.raises(OnexError, match="full"):
            client.submit(heartbeat())
        answerer.resume()


def test_a_full_client_blocks_until_there_is_room(broker: str, answerer: Answerer) -> None:
    answerer.pause()
    with client_of(broker, max_pending=3) as client:
        client.submit_many([heartbeat() for _ in range(3)])
        threads = [threading.Thread(target=client.submit, args=(heartbeat(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: client.stats().in_flight_batches, seconds=5, what="something was sent")
        assert client.stats().pending == 3
        assert all(thread.is_alive() for thread in threads)
        answerer.resume()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def test_bytes_are_bounded_too(broker: str, answerer: Answerer) -> None:
    answerer.pause()
    large = NodeHeartbeatData(node_id="n", health_status="HEALTHY", metadata={"text": "x" * 1000})
    with client_of(broker, max_pending_bytes=2500, when_full="raise") as client:
        client.submit_many([large, large])
        with pytest.raises(OnexError, match="full"):
            client.submit(large)
        answerer.resume()


def test_whoever_waits_for_room_hears_of_the_close(broker: str) -> None:
    client = client_of(broker, max_pending=1)
    client.submit(heartbeat())
    errors: list[OnexError] = []

    def submit() -> None:
        try:
            client.submit(heartbeat())
        except OnexError as error:
            errors.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    with pytest.raises(OnexError, match="1 of 1"):
        client.close(0.1)
    thread.join(60)
    assert [error.message for error in errors] == ["client: closed"]


# ---- closing --------------------------------------------------------------------------------------------------------


def test_close_says_how_much_is_unconfirmed_and_so_does_each_handle(broker: str) -> None:
    client = client_of(broker)
    handles = client.submit_many([heartbeat() for _ in range(300)])
    with pytest.raises(OnexError) as caught:
        client.close(0.2)
    assert caught.value.error_code == EnumCoreErrorCode.TIMEOUT
    assert caught.value.context["unconfirmed"] == 300
    for handle in handles[0], handles[-1]:
        with pytest.raises(OnexError, match="closed"):
            handle.result()
    with pytest.raises(OnexError, match="closed"):
        client.submit(heartbeat())
    client.close()  # a second one does nothing


def test_flush_says_how_much_is_unconfirmed_and_leaves_it_submitted(broker: str, answerer: Answerer) -> None:
    answerer.pause()
    with client_of(broker) as client:
        handle = client.submit(heartbeat())
        with pytest.raises(OnexError, match="1 of 1 operations not confirmed within"):
            client.flush(0.1)
        answerer.resume()
        assert handle.result(60).committed


def test_the_threads_end_with_the_client(broker: str, answerer: Answerer) -> None:
    with client_of(broker) as client:
        client.submit(heartbeat())
        assert {"fleet-client-send", "fleet-client-confirm"} <= {thread.name for thread in threading.enumerate()}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fleet-client")]


def test_the_blocks_own_error_is_the_one_that_is_seen(
    broker: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omninode_bridge.client.client.CLOSE_TIMEOUT_S", 0.1)
    with pytest.raises(ZeroDivisionError), client_of(broker) as client:
        client.submit(heartbeat())
        raise ZeroDivisionError
    assert "1 of 1 operations not confirmed" in caplog.text
