"""Empty buses of both kinds for the real fleet, and what a group has still to do there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import pytest
import redis

from tests.deadline import wait_until
from worker.bus import BusRecord, open_bus
from worker.settings import Settings

DATABASE = "9"  # of the broker's server, where nothing else lies
TIMEOUT_S = 10
# With a dead member, and the mock cluster at every rebalance: it waits for this time although all have answered.
PATIENCE = {"OMNINODE_BUS_CLAIM_IDLE_S": "3"}


class BusUnderTest(Protocol):
    @property
    def variables(self) -> Mapping[str, str]: ...

    def left(self, group: str) -> int:
        """How much the group has not committed."""
        ...


class RedisUnderTest:
    def __init__(self, broker_url: str) -> None:
        self.url = broker_url.rpartition("/")[0] + "/" + DATABASE
        self.variables = {"OMNINODE_BUS": "redis", "OMNINODE_BUS_URL": self.url, **PATIENCE}

    def left(self, group: str) -> int:
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            return sum(self._left(client, key, group) for key in client.scan_iter(_type="stream"))

    def _left(self, client: Any, key: str, group: str) -> int:
        groups = [one for one in client.xinfo_groups(key) if one["name"] == group]
        if not groups:
            return int(client.xlen(key))
        unread = client.xrange(key, min=f"({groups[0]['last-delivered-id']}")
        return len(unread) + int(groups[0]["pending"])


class KafkaUnderTest:
    def __init__(self, url: str) -> None:
        self.variables = {"OMNINODE_BUS": "kafka", "OMNINODE_BUS_URL": url, **PATIENCE}
        self._servers = url.removeprefix("kafka://")

    def left(self, group: str) -> int:
        from confluent_kafka import Consumer, TopicPartition

        client = Consumer({"bootstrap.servers": self._servers, "group.id": group, "enable.auto.commit": False})
        topics = client.list_topics(timeout=TIMEOUT_S).topics.values()
        places = [TopicPartition(topic.topic, number) for topic in topics for number in topic.partitions]
        committed = client.committed(places, timeout=TIMEOUT_S)
        ends = [client.get_watermark_offsets(place, timeout=TIMEOUT_S)[1] for place in places]
        client.close()
        return sum(end - max(place.offset, 0) for place, end in zip(committed, ends, strict=True))


@contextmanager
def bus_under_test(kind: str, broker_url: str) -> Iterator[BusUnderTest]:
    """An empty bus."""
    if kind == "redis":
        one = RedisUnderTest(broker_url)
        with redis.Redis.from_url(one.url) as client:
            client.flushdb()
        yield one
        return
    pytest.importorskip("confluent_kafka")
    from tests.kafka_harness import KafkaMock

    mock = KafkaMock()
    try:
        yield KafkaUnderTest(mock.url)
    finally:
        mock.close()


def read_all(bus: BusUnderTest, topics: str) -> list[BusRecord]:
    """The records of these topics, by a group of its own, until no more come."""
    given = {name.removeprefix("OMNINODE_").lower(): value for name, value in bus.variables.items()}
    opened = open_bus(Settings.load(**given))
    consumer = opened.consumer("reader", [topics], on_lost=lambda places: None)
    records = list(wait_until(lambda: consumer.poll(1000, 1), seconds=TIMEOUT_S, what="a record comes"))
    while some := consumer.poll(1000, 1):
        records += some
    consumer.close()
    opened.close()
    return records
