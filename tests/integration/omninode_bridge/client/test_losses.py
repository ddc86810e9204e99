"""The client when messages, answers, rights or whole brokers are missing."""

import logging
import threading

import pytest
import redis

from omninode_bridge import FleetClient, OnexError, UpdateNodeHeartbeat
from omninode_bridge.client.backoff import Backoff
from omninode_bridge.contract.wire import Item
from tests.answerer import Answerer, Choice, answering, applied
from tests.deadline import wait_until
from tests.integration.brokers import RestartableBroker
from tests.integration.omninode_bridge.client.clients import client_of, heartbeat

# ---- losses ---------------------------------------------------------------------------------------------------------


def test_an_answer_that_was_not_told_is_found(broker: str, answerer: Answerer) -> None:
    answerer.choose = lambda _, items: ("silent", applied(items))
    with client_of(broker, _resend=Backoff(first_s=60, most_s=60)) as client:
        for number in range(3):  # more sweeps that find something than a subscription may miss
            assert client.submit(heartbeat(number)).result(60).committed
        answerer.choose = lambda _, items: ("answer", applied(items))
        assert client.submit(heartbeat()).result(60).committed
    assert client.stats().resent == 0


def test_a_lost_message_is_sent_again_under_the_same_ids(broker: str, answerer: Answerer) -> None:
    answerer.choose = lambda task_id, items: (
        ("drop", None) if answerer.deliveries[task_id] < 3 else ("answer", applied(items))
    )
    with client_of(broker) as client:
        handles = client.submit_many([heartbeat(number) for number in range(3)])
        client.flush(60)
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
    assert all(other.result(60).committed for other in others)
    assert not lost.done()
    with pytest.raises(OnexError, match="1 of 4"):
        client.close(0)


def test_a_failed_task_is_no_confirmation(broker: str, answerer: Answerer, caplog: pytest.LogCaptureFixture) -> None:
    answerer.choose = lambda task_id, items: (
        ("fail", None) if answerer.deliveries[task_id] < 2 else ("answer", applied(items))
    )
    with caplog.at_level(logging.WARNING), client_of(broker) as client:
        assert client.submit(heartbeat()).result(60).committed
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
        client.flush(60)
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
            assert client.submit(heartbeat()).result(60).committed
        assert client.stats().last_error is None
        admin.execute_command("ACL", "DELUSER", "producer")


# ---- outages --------------------------------------------------------------------------------------------------------


def test_what_is_submitted_while_the_broker_is_away_arrives_when_it_is_back(
    restartable_broker: RestartableBroker, caplog: pytest.LogCaptureFixture
) -> None:
    url = restartable_broker.url
    with answering(url) as answerer, client_of(url) as client:
        client.submit(heartbeat()).result(60)
        restartable_broker.kill()
        handles = client.submit_many([heartbeat(number) for number in range(1000)])
        wait_until(lambda: not client.stats().broker_available, seconds=5, what="the outage is noticed")
        assert client.stats().pending == 1000
        restartable_broker.start()
        client.flush(60)
        assert client.stats().broker_available
        assert all(handle.result(0).committed for handle in handles)
    assert len({item.operation_id for item in answerer.received}) == 1001


def test_batches_survive_a_broker_that_forgets(restartable_broker: RestartableBroker) -> None:
    url = restartable_broker.url
    with client_of(url, batch_operations=250) as client:
        client.submit_many([heartbeat(number) for number in range(1000)])
        wait_until(lambda: client.stats().sent_batches == 4, seconds=5, what="all batches were sent")
        with redis.Redis.from_url(url) as connection:
            connection.flushall()
        restartable_broker.kill()
        restartable_broker.start()
        with answering(url):
            client.flush(60)


def test_a_broker_that_answers_nothing_holds_up_no_close(black_hole: str) -> None:
    before = threading.enumerate()
    client = FleetClient(black_hole)
    client.submit(heartbeat())
    with pytest.raises(OnexError, match="1 of 1"):
        client.close(0.5)
    stuck = {thread.name for thread in threading.enumerate() if thread not in before}
    assert "fleet-client-send" in stuck, "it was not waited for: it is in its socket for seconds"
