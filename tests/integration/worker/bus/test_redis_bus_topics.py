"""A topic of the Redis bus that cannot be used harms its own messages only: for publishing, reading and trimming."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from tests.deadline import wait_until
from worker.bus import Bus, BusConsumer, BusMessage, open_bus
from worker.bus.redis import CHUNK_MESSAGES
from worker.bus.redis_streams import MAX_PARTITIONS, partition_count
from worker.settings import Settings

TIMEOUT_S = 10.0
GOOD, BAD = "allowed.events", "other.events"


@pytest.fixture
def server(broker: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker, protocol=2) as client:
        yield client


@contextmanager
def opened(url: str, **settings: Any) -> Iterator[Bus]:
    one = open_bus(Settings(bus_url=url, **settings))
    yield one
    one.close()


@pytest.fixture
def narrow(broker: str, server: redis.Redis) -> Iterator[Bus]:
    """The bus for a user who may touch some of its keys only."""
    keys = ["bus:topics", "bus:groups", "bus:allowed.*"]
    server.acl_setuser("narrow", enabled=True, reset=True, passwords="+word", keys=keys, commands=["+@all"])
    with opened(broker.replace(":test@", "narrow:word@")) as bus:
        yield bus
    server.acl_deluser("narrow")


def message(topic: str, number: int) -> BusMessage:
    return BusMessage(topic, f"key-{number}", b"%d" % number)


def statuses(bus: Bus, *batch: BusMessage) -> list[str]:
    return [outcome.status for outcome in bus.publish(batch, timeout_s=TIMEOUT_S)]


def numbers(server: redis.Redis, topic: str) -> list[int]:
    """What is on the topic, in the order of each partition."""
    found: list[Any] = [server.xrange(f"bus:{topic}:{n}") for n in range(4)]
    return [int(fields[b"v"]) for entries in found for _, fields in entries]


def test_a_topic_that_the_user_may_not_write_to_refuses_its_own_messages(narrow: Bus, server: redis.Redis) -> None:
    batch = [message(BAD if n % 100 == 7 else GOOD, n) for n in range(3 * CHUNK_MESSAGES)]
    outcomes = narrow.publish(batch, timeout_s=TIMEOUT_S)
    assert [one.status for one in outcomes] == ["refused" if m.topic == BAD else "published" for m in batch]
    assert {one.reason for one in outcomes if one.status == "refused"} == {
        "NoPermissionError: No permissions to access a key"
    }
    assert sorted(numbers(server, GOOD)) == [n for n in range(3 * CHUNK_MESSAGES) if n % 100 != 7]
    assert numbers(server, BAD) == []
    assert statuses(narrow, message(BAD, 1)) == ["refused"]


def test_a_topic_that_is_allowed_later_is_written_to(narrow: Bus, server: redis.Redis) -> None:
    assert statuses(narrow, message(BAD, 1), message(GOOD, 2)) == ["refused", "published"]
    server.acl_setuser("narrow", keys=["bus:other.*"])
    assert statuses(narrow, message(BAD, 3)) == ["published"]
    assert numbers(server, BAD) == [3]


def test_looking_for_what_is_forbidden_leaves_nothing_behind(narrow: Bus, server: redis.Redis) -> None:
    assert statuses(narrow, message(BAD, 1), message(GOOD, 2), message(GOOD, 2)) == [
        "refused",
        "published",
        "published",
    ]
    assert numbers(server, GOOD) == [2, 2]
    assert len(server.keys("bus:*")) == 2, "the topics and one stream"


def test_a_user_who_may_not_even_know_the_topics_is_away(broker: str, narrow: Bus, server: redis.Redis) -> None:
    server.acl_setuser(
        "narrow", reset=True, enabled=True, passwords="+word", keys=["bus:allowed.*"], commands=["+@all"]
    )
    assert statuses(narrow, message(GOOD, 1)) == ["away"]


def test_a_user_who_loses_every_key_is_away_until_they_are_given_back(narrow: Bus, server: redis.Redis) -> None:
    assert statuses(narrow, message(GOOD, 1)) == ["published"]
    server.acl_setuser("narrow", enabled=True, reset_keys=True)
    assert statuses(narrow, message(GOOD, 2), message(GOOD, 3)) == ["away", "away"]
    server.acl_setuser("narrow", enabled=True, keys=["bus:topics", "bus:allowed.*"])
    assert statuses(narrow, message(GOOD, 2), message(GOOD, 3)) == ["published", "published"]
    assert sorted(numbers(server, GOOD)) == [1, 2, 3]


def test_who_reads_and_who_trims_pass_over_a_topic_that_is_forbidden(narrow: Bus, server: redis.Redis) -> None:
    with member(narrow) as consumer:
        assert statuses(narrow, message(BAD, 1), message(GOOD, 2)) == ["refused", "published"]
        records = wait_until(lambda: consumer.poll(10, 0.1), seconds=10, what="the other comes")
        assert [record.value for record in records] == [b"2"]
        consumer.commit(records)
        assert narrow.tidy() == 1


@contextmanager
def member(bus: Bus) -> Iterator[BusConsumer]:
    consumer = bus.consumer("readers", ["^.*$"], on_lost=lambda partitions: None)
    yield consumer
    consumer.close()


@pytest.mark.parametrize("wrong", ["0", "abc", "-1", "4.0", "", "9" * 5000, str(MAX_PARTITIONS + 1), "1000000000"])
def test_a_topic_whose_number_of_partitions_is_none_refuses_its_own_messages(
    broker: str, server: redis.Redis, wrong: str
) -> None:
    server.hset("bus:topics", BAD, wrong)
    with opened(broker) as bus, member(bus) as consumer:
        assert statuses(bus, message(BAD, 1), message(GOOD, 2), message(BAD, 3)) == ["refused", "published", "refused"]
        records = wait_until(lambda: consumer.poll(10, 0.1), seconds=10, what="the other comes")
        assert [record.topic for record in records] == [GOOD]
        assert bus.tidy() == 0
        server.hset("bus:topics", BAD, "4")
        assert statuses(bus, message(BAD, 4)) == ["published"]


def test_a_number_of_partitions_is_what_the_settings_allow() -> None:
    assert [partition_count(text) for text in (b"1", b"4", b"256")] == [1, 4, 256]
    with pytest.raises(ValueError, match="bus_partitions"):
        Settings(bus_partitions=MAX_PARTITIONS + 1)
