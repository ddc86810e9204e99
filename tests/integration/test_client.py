"""The client against a real broker, with an answerer in the fleet's place."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from omninode_bridge import AsyncFleetClient, FleetClient, NodeHeartbeatData, OnexError, Outcome, UpdateNodeHeartbeat
from omninode_bridge.aio import ClientOptions
from omninode_bridge.backoff import Backoff
from omninode_bridge.dispatch import Pace
from omninode_bridge.enums import EnumCoreErrorCode
from omninode_bridge.values import MAX_OPERATION_BYTES
from omninode_bridge.wire import Item
from tests.answerer import RESULT_KEY, Answerer, Choice, answering, applied
from tests.deadline import wait_until
from tests.integration.brokers import RestartableBroker, silent_port

HASTY = Pace(sweep_s=0.1, listen_s=0.05, hold_s=0.1, reconnect=Backoff(first_s=0.02, most_s=0.1))
SOON = Backoff(first_s=0.2, most_s=5)


def client_of(url: str, **options: Any) -> FleetClient:
    hasty: dict[str, Any] = {"_pace": HASTY, "_resend": SOON}
    return FleetClient(url, **hasty | options)


def heartbeat(number: int = 0) -> NodeHeartbeatData:
    return NodeHeartbeatData(node_id=f"node-{number}", health_status="HEALTHY")


@pytest.fixture
def answerer(broker: str) -> Iterator[Answerer]:
    with answering(broker) as one:
        yield one


@pytest.fixture
def restartable_broker(tmp_path: Path) -> Iterator[RestartableBroker]:
    one = RestartableBroker(tmp_path)
    one.start()
    yield one
    one.kill()


@pytest.fixture
def black_hole() -> Iterator[str]:
    with silent_port() as url:
        yield url


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
        outcomes = [handle.result(10) for handle in handles]
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
    with client_of(broker) as client:
        client.submit(heartbeat())
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
        client.submit(heartbeat()).result(5)
    with redis.Redis.from_url(broker) as connection:
        assert connection.keys(RESULT_KEY + "*") == []


def test_a_key_prefix_is_kept_to(broker: str) -> None:
    with answering(broker, prefix="odd[*]_"), client_of(broker, key_prefix="odd[*]_") as client:
        assert client.submit(heartbeat()).result(5).committed


def test_an_idle_client_hears_of_its_operation_within_milliseconds(broker: str, answerer: Answerer) -> None:
    with client_of(broker, _pace=Pace(sweep_s=60)) as client:
        client.submit(heartbeat()).result(5)
        handles = []
        for number in range(20):
            handles.append(client.submit(heartbeat(number)))
            client.flush(5)
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
        client.flush(20)
    assert len({item.operation_id for item in answerer.received}) == 2000


def test_a_flush_has_waited_for_the_callbacks(broker: str, answerer: Answerer) -> None:
    confirmed: list[Outcome] = []
    with client_of(broker) as client:
        for number in range(500):
            client.submit(heartbeat(number)).add_done_callback(lambda done: confirmed.append(done.result(0)))
        client.flush(10)
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
            thread.join(5)
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
    thread.join(5)
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
        assert handle.result(5).committed


def test_the_threads_end_with_the_client(broker: str, answerer: Answerer) -> None:
    with client_of(broker) as client:
        client.submit(heartbeat())
        assert {"fleet-client-send", "fleet-client-confirm"} <= {thread.name for thread in threading.enumerate()}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fleet-client")]


def test_the_blocks_own_error_is_the_one_that_is_seen(
    broker: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omninode_bridge.client.CLOSE_TIMEOUT_S", 0.1)
    with pytest.raises(ZeroDivisionError), client_of(broker) as client:
        client.submit(heartbeat())
        raise ZeroDivisionError
    assert "1 of 1 operations not confirmed" in caplog.text


# ---- losses ---------------------------------------------------------------------------------------------------------


def test_an_answer_that_was_not_told_is_found(broker: str, answerer: Answerer) -> None:
    answerer.choose = lambda _, items: ("silent", applied(items))
    with client_of(broker, _resend=Backoff(first_s=60, most_s=60)) as client:
        for number in range(3):  # more sweeps that find something than a subscription may miss
            assert client.submit(heartbeat(number)).result(5).committed
        answerer.choose = lambda _, items: ("answer", applied(items))
        assert client.submit(heartbeat()).result(5).committed
    assert client.stats().resent == 0


def test_a_lost_message_is_sent_again_under_the_same_ids(broker: str, answerer: Answerer) -> None:
    answerer.choose = lambda task_id, items: (
        ("drop", None) if answerer.deliveries[task_id] < 3 else ("answer", applied(items))
    )
    with client_of(broker) as client:
        handles = client.submit_many([heartbeat(number) for number in range(3)])
        client.flush(10)
    (task_id,) = answerer.deliveries
    assert answerer.deliveries[task_id] == 3
    assert [item.operation_id for item in answerer.operations[task_id]] == [one.operation_id for one in handles]
    assert client.stats().resent == 2


def test_a_lost_message_holds_up_no_other(broker: str, answerer: Answerer) -> None:
    def choose(_: str, items: list[Item]) -> Choice:
        bad = any(isinstance(item, UpdateNodeHeartbeat) and item.data.node_id == "node-13" for item in items)
        return ("drop", None) if bad else ("answer", applied(items))

    answerer.choose = choose
    client = client_of(broker, max_in_flight=1)
    lost = client.submit(heartbeat(13))
    wait_until(lambda: answerer.deliveries, seconds=5, what="the batch arrived")
    others = [client.submit(heartbeat(number)) for number in range(3)]
    assert all(other.result(5).committed for other in others)
    assert not lost.done()
    with pytest.raises(OnexError, match="1 of 4"):
        client.close(0)


def test_a_failed_task_is_no_confirmation(broker: str, answerer: Answerer, caplog: pytest.LogCaptureFixture) -> None:
    answerer.choose = lambda task_id, items: (
        ("fail", None) if answerer.deliveries[task_id] < 2 else ("answer", applied(items))
    )
    with caplog.at_level(logging.WARNING), client_of(broker) as client:
        assert client.submit(heartbeat()).result(10).committed
    assert (client.stats().resent, client.stats().confirmed) == (1, 1)
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "the task ended as FAILURE (RuntimeError); its 1 operations will be sent again"
    ]


def test_no_copies_pile_up_on_a_backlog(broker: str, answerer: Answerer) -> None:
    answerer.pause()
    with client_of(broker, _resend=Backoff(first_s=0.1, most_s=60)) as client, redis.Redis.from_url(broker) as queue:
        client.submit(heartbeat())
        wait_until(lambda: client.stats().paused, seconds=5, what="the batch is due, and held back")
        client.submit(heartbeat())  # new ones are sent all the same
        wait_until(lambda: queue.llen("persist") == 2, seconds=5, what="the new batch is in the queue")
        with pytest.raises(OnexError):
            client.flush(0.5)
        assert queue.llen("persist") == 2
        answerer.resume()
        client.flush(5)
    assert set(answerer.deliveries.values()) == {1}


# ---- rights ---------------------------------------------------------------------------------------------------------

PRODUCER = "+ping +multi +exec +lpush +llen +sadd +mget +unlink +psubscribe +select +hello +client"


@pytest.mark.parametrize("rights", [PRODUCER, PRODUCER.replace(" +unlink", "")])
def test_a_producers_account_needs_no_more_rights_than_its_manual_says(
    broker: str, answerer: Answerer, rights: str
) -> None:
    keys = "resetkeys ~persist ~_kombu.binding.* ~celery-task-meta-* allchannels"
    with redis.Redis.from_url(broker) as admin:
        admin.execute_command("ACL", "SETUSER", "producer", "reset", "on", ">secret", *keys.split(), *rights.split())
        answerer.choose = lambda task_id, items: (
            ("drop", None) if answerer.deliveries[task_id] < 2 else ("silent", applied(items))
        )
        with client_of(broker.replace("//:test@", "//producer:secret@")) as client:
            assert client.submit(heartbeat()).result(10).committed
        assert client.stats().last_error is None
        admin.execute_command("ACL", "DELUSER", "producer")


# ---- outages --------------------------------------------------------------------------------------------------------


def test_what_is_submitted_while_the_broker_is_away_arrives_when_it_is_back(
    restartable_broker: RestartableBroker, caplog: pytest.LogCaptureFixture
) -> None:
    url = restartable_broker.url
    with answering(url) as answerer, client_of(url) as client:
        client.submit(heartbeat()).result(5)
        restartable_broker.kill()
        handles = client.submit_many([heartbeat(number) for number in range(1000)])
        wait_until(lambda: not client.stats().broker_available, seconds=5, what="the outage is noticed")
        assert client.stats().pending == 1000
        restartable_broker.start()
        client.flush(20)
        assert client.stats().broker_available
        assert all(handle.result(0).committed for handle in handles)
    assert len({item.operation_id for item in answerer.received}) == 1001


def test_batches_survive_a_broker_that_forgets(restartable_broker: RestartableBroker) -> None:
    url = restartable_broker.url
    with client_of(url) as client:
        client.submit_many([heartbeat(number) for number in range(1000)])
        wait_until(lambda: client.stats().sent_batches == 4, seconds=5, what="all batches were sent")
        with redis.Redis.from_url(url) as connection:
            connection.flushall()
        restartable_broker.kill()
        restartable_broker.start()
        with answering(url):
            client.flush(20)


def test_a_broker_that_answers_nothing_holds_up_no_close(black_hole: str) -> None:
    client = FleetClient(black_hole)
    client.submit(heartbeat())
    begun = time.monotonic()
    with pytest.raises(OnexError, match="1 of 1"):
        client.close(0.5)
    assert time.monotonic() - begun < 3


# ---- Celery ---------------------------------------------------------------------------------------------------------

WORKER = """
import sys
from celery import Celery
from omninode_bridge.broker import celery_settings
from omninode_bridge.outcome import Outcome
from omninode_bridge.wire import decode_batch, encode_outcomes

app = Celery("fleet", set_as_current=False)
app.conf.update(celery_settings(broker_url=sys.argv[1], result_backend_url=sys.argv[1], key_prefix="node_"))

@app.task(name="omninode.persist_batch", bind=True)
def persist_batch(task, text):
    items = decode_batch(text, task_id=task.request.id)
    return encode_outcomes([Outcome(item.operation_id, "duplicate") for item in items])

app.worker_main(["worker", "--pool=solo", "--queues=persist", "--without-gossip", "--without-mingle", "-lERROR"])
"""


def test_a_celery_workers_result_is_a_confirmation(broker: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", WORKER, broker]
    with subprocess.Popen(command, env=program_environment(), stderr=subprocess.PIPE) as worker:
        try:
            with client_of(broker, key_prefix="node_", _resend=Backoff(first_s=60, most_s=60)) as client:
                handles = client.submit_many([heartbeat(number) for number in range(300)])
                assert {handle.result(20).status for handle in handles} == {"duplicate"}
        finally:
            worker.terminate()
            worker.communicate(timeout=20)


# ---- processes ------------------------------------------------------------------------------------------------------


def run_program(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + source, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=program_environment(),
    )


def program_environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


PREAMBLE = """
import os, sys
from omninode_bridge import FleetClient, NodeHeartbeatData, OnexError
data = NodeHeartbeatData(node_id="n", health_status="HEALTHY")
"""


def test_a_fork_refuses_its_parents_client_and_disturbs_it_not(broker: str, answerer: Answerer) -> None:
    done = run_program(
        """
client = FleetClient(sys.argv[1])
handle = client.submit(data)
handle.result(5)
later = client.submit(data)
child = os.fork()
if child == 0:
    for use in (lambda: client.submit(data), client.flush, client.close):
        try:
            use()
        except OnexError as error:
            assert "forked" in str(error), error
        else:
            os._exit(3)
    with FleetClient(sys.argv[1]) as own:
        own.submit(data).result(5)
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
later.result(5)
client.submit(data).result(5)
client.close(5)
print("parent", client.stats().confirmed)
""",
        broker,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "parent 3"), done.stderr


def test_a_program_that_forgets_to_close_still_hands_over(broker: str, answerer: Answerer) -> None:
    done = run_program("client = FleetClient(sys.argv[1]); client.submit(data)", broker)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(answerer.received) == 1


def test_a_program_that_ends_unconfirmed_says_how_much() -> None:
    source = "import omninode_bridge.client as c; c.EXIT_TIMEOUT_S = 0.2\nclient = FleetClient(sys.argv[1])"
    done = run_program(source + "\nfor _ in range(3): client.submit(data)", "redis://127.0.0.1:1/0")
    assert done.returncode == 0
    assert "3 of 3 operations not confirmed when the client was closed" in done.stderr


def test_the_models_are_imported_without_celery() -> None:
    done = run_program("assert 'celery' not in sys.modules and 'omninode_bridge.sender' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_celerys_own_variables_lead_no_client_astray(
    broker: str, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"):
        monkeypatch.setenv(name, "redis://127.0.0.1:1/0")
    with client_of(broker) as client:
        assert client.submit(heartbeat()).result(5).committed


# ---- asyncio --------------------------------------------------------------------------------------------------------


def test_asyncio_submits_and_awaits(broker: str, answerer: Answerer) -> None:
    async def run() -> list[Outcome]:
        async with AsyncFleetClient(broker, max_pending=20) as client:  # tasks wait for room
            handles = await asyncio.gather(*[client.submit(heartbeat(number)) for number in range(200)])
            handles += await client.submit_many([heartbeat(number) for number in range(30)])
            outcomes = await asyncio.gather(*handles)
            await client.flush(5)
            return outcomes

    assert len({outcome.operation_id for outcome in asyncio.run(run()) if outcome.committed}) == 230


def test_waiting_for_room_leaves_the_loop_free(broker: str, answerer: Answerer) -> None:
    async def run() -> None:
        async with AsyncFleetClient(broker, max_pending=1) as client:
            answerer.pause()
            await client.submit(heartbeat(1))
            waiting = asyncio.create_task(client.submit(heartbeat(2)))
            cancelled = asyncio.create_task(client.submit(heartbeat(3)))
            done, _ = await asyncio.wait([waiting, cancelled], timeout=0.1)
            assert not done
            cancelled.cancel()
            answerer.resume()
            assert (await (await waiting)).committed

    asyncio.run(run())
    nodes = {item.data.node_id for item in answerer.received if isinstance(item, UpdateNodeHeartbeat)}
    assert nodes == {"node-1", "node-2"}  # what was cancelled was not taken


def test_an_async_close_says_how_much_is_unconfirmed(broker: str) -> None:
    async def run() -> None:
        client = AsyncFleetClient(broker)
        handle = await client.submit(heartbeat())
        with pytest.raises(OnexError, match="1 of 1"):
            await client.close(0.1)
        with pytest.raises(OnexError, match="closed"):
            await handle

    asyncio.run(run())


def test_the_async_client_knows_every_option() -> None:
    keywords = FleetClient.__init__.__kwdefaults__ or {}
    assert set(ClientOptions.__annotations__) == {name for name in keywords if not name.startswith("_")}
