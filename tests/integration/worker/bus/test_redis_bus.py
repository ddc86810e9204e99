"""What is the Redis bus's own: its keys, its trimming, a server that is full, read-only, emptied or tampered with."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from tests.deadline import wait_until
from worker.bus import Bus, BusConsumer, BusMessage, BusRecord, open_bus, redis_tidy
from worker.bus.protocol import PUBLISHED, BusAway
from worker.bus.redis import CHUNK_MESSAGES
from worker.bus.redis_consumer import RedisConsumer
from worker.bus.redis_streams import partition_of
from worker.errors import FleetError
from worker.settings import Settings

TOPIC = "dev.bridge.events"
KIB = 1 << 10
TIMEOUT_S = 10.0


@pytest.fixture
def bus(broker: str) -> Iterator[Bus]:
    with opened(broker) as one:
        yield one


# docs/bus.md, "Rights"
RIGHTS = (
    "multi exec xadd hsetnx hmget hgetall hset xinfo xgroup xreadgroup xack xclaim xautoclaim xpending xtrim time ping"
)


@pytest.fixture
def server(broker: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker, protocol=2) as client:
        yield client
        client.replicaof("NO", "ONE")
        client.config_set("maxmemory", 0)


@contextmanager
def opened(url: str, **settings: Any) -> Iterator[Bus]:
    given: dict[str, Any] = {"bus_url": url, "bus_claim_idle_s": 0.5, **settings}
    one = open_bus(Settings(**given))
    yield one
    one.close()


@contextmanager
def member(bus: Bus, group: str = "readers", *topics: str) -> Iterator[RedisConsumer]:
    one = bus.consumer(group, topics or (TOPIC,), on_lost=lambda partitions: None)
    assert isinstance(one, RedisConsumer)
    yield one
    one.close()


def messages(*numbers: int, topic: str = TOPIC, size: int = 0) -> list[BusMessage]:
    return [BusMessage(topic, f"key-{number % 5}", b"%d" % number + b" " * size) for number in numbers]


def publish(bus: Bus, *numbers: int, topic: str = TOPIC) -> None:
    outcomes = bus.publish(messages(*numbers, topic=topic), timeout_s=TIMEOUT_S)
    assert outcomes == [PUBLISHED] * len(numbers)


def read(consumer: BusConsumer, count: int) -> list[BusRecord]:
    records: list[BusRecord] = []

    def came() -> bool:
        records.extend(consumer.poll(1000, 0.1))
        return len(records) >= count

    wait_until(came, seconds=20, what=f"{count} records come")
    return records


def numbers(records: Sequence[BusRecord]) -> list[int]:
    return sorted(int(record.value or b"-1") for record in records)


def entries(server: redis.Redis, topic: str = TOPIC, partitions: int = 4) -> int:
    return sum(int(server.xlen(f"bus:{topic}:{number}")) for number in range(partitions))


def statuses(bus: Bus, batch: Sequence[BusMessage]) -> list[str]:
    return [outcome.status for outcome in bus.publish(batch, timeout_s=TIMEOUT_S)]


def test_keys_have_the_prefix_and_partitions_are_the_platforms(broker: str, server: redis.Redis) -> None:
    with opened(broker, broker_key_prefix="mine:", bus_partitions=7) as bus:
        publish(bus, *range(20))
        with member(bus) as consumer:
            records = read(consumer, 20)
    assert all(record.partition == partition_of(record.key or "", 7) for record in records)
    assert len(server.keys("mine:bus:*")) == server.dbsize()
    assert partition_of("550e8400-e29b-41d4-a716-446655440000", 7) == 0xA3A9E1ED % 7  # its SHA-256 begins with these


def test_a_topic_keeps_the_partitions_it_began_with(broker: str, server: redis.Redis) -> None:
    with opened(broker, bus_partitions=3) as first, opened(broker, bus_partitions=9) as second:
        publish(first, 0)
        publish(second, *range(1, 30))
        assert server.hget("bus:topics", TOPIC) == b"3"
        assert entries(server, partitions=3) == 30
        with member(second) as consumer:
            assert numbers(read(consumer, 30)) == [*range(30)]


def test_a_key_that_is_no_stream_harms_only_its_own_messages(bus: Bus, server: redis.Redis) -> None:
    broken = partition_of("key-0", 4)
    server.set(f"bus:{TOPIC}:{broken}", "a text")
    batch = messages(*range(20))
    outcomes = bus.publish(batch, timeout_s=TIMEOUT_S)
    refused = [partition_of(one.key, 4) == broken for one in batch]
    assert [outcome.status == "refused" for outcome in outcomes] == refused
    assert all(outcome.reason.startswith("WRONGTYPE") for outcome in outcomes if outcome.status == "refused")
    with member(bus) as consumer:
        assert len(read(consumer, refused.count(False))) == refused.count(False)
        assert bus.tidy() == 0
        server.delete(f"bus:{TOPIC}:{broken}")
        publish(bus, 0)
        assert numbers(read(consumer, 1)) == [0]


def test_a_full_server_takes_a_chunk_or_none_and_nothing_behind_it(bus: Bus, server: redis.Redis) -> None:
    publish(bus, 0)
    server.config_set("maxmemory", int(server.info("memory")["used_memory"]) + 2000 * KIB)
    batch = messages(*range(1, 8000), size=KIB)
    outcomes = bus.publish(batch, timeout_s=TIMEOUT_S)
    published = [outcome.status for outcome in outcomes].count("published")
    assert 0 < published < len(batch) and published % CHUNK_MESSAGES == 0
    assert {outcome.status for outcome in outcomes[published:]} == {"away"}
    assert "memory" in outcomes[-1].reason and "XADD" not in outcomes[-1].reason
    assert entries(server) == 1 + published


def test_a_full_server_is_emptied_by_those_who_read(bus: Bus, server: redis.Redis) -> None:
    publish(bus, *range(10))
    with member(bus) as consumer:
        consumer.commit(read(consumer, 10))
        publish(bus, *range(10, 1000))
        server.config_set("maxmemory", 1)
        assert statuses(bus, messages(1000)) == ["away"]
    with member(bus) as consumer:  # another, which has to join while the server is full
        consumer.commit(read(consumer, 990))
    assert bus.tidy() == 1000
    server.config_set("maxmemory", 0)
    publish(bus, 1000)


def test_a_server_that_takes_no_writes_is_away(bus: Bus, server: redis.Redis) -> None:
    publish(bus, 1)
    with member(bus) as consumer:
        first = read(consumer, 1)
        server.replicaof("127.0.0.1", "1")
        assert statuses(bus, messages(2)) == ["away"]
        with pytest.raises(BusAway):
            consumer.poll(10, 0.1)
        with pytest.raises(BusAway):
            consumer.commit(first)
        server.replicaof("NO", "ONE")
        publish(bus, 2)
        consumer.commit(first)
        assert numbers(read(consumer, 1)) == [2]


def test_a_server_that_came_back_empty_is_used_on(broker: str, server: redis.Redis) -> None:
    quick_s = 0.003  # so that it renews what it holds, of which the server knows nothing any more
    with opened(broker, bus_claim_idle_s=quick_s) as bus, member(bus) as consumer:
        publish(bus, 1)
        held = read(consumer, 1)
        server.flushall()

        def came() -> list[BusRecord]:
            publish(bus, 2)
            try:
                return consumer.poll(1, 0.1)
            except BusAway:
                return []

        assert numbers(wait_until(came, seconds=20, what="what was published since comes")) == [2]
        consumer.commit(held)


def test_a_group_that_is_set_back_reads_again_what_it_does_not_hold(bus: Bus, server: redis.Redis) -> None:
    publish(bus, *range(20))
    with member(bus) as consumer:
        records = read(consumer, 20)
        consumer.commit(records[:8])
        for number in range(4):
            server.xgroup_setid(f"bus:{TOPIC}:{number}", "readers", "0")
        again = read(consumer, 8)
        assert numbers(again) == numbers(records[:8])


def test_an_answer_that_was_lost_is_asked_for_again(bus: Bus, server: redis.Redis) -> None:
    """As when the connection breaks while the server's answer is on its way: the entries are ours, unknown to us."""
    with opened_slow_claims(bus) as consumer:
        publish(bus, 1)
        held = read(consumer, 1)
        publish(bus, *range(2, 30))
        streams = {f"bus:{TOPIC}:{number}": ">" for number in range(4)}
        server.xreadgroup("readers", consumer.name, streams)  # type: ignore[arg-type]  # its dict is invariant
        assert consumer.poll(100, 0.0) == []
        server.replicaof("127.0.0.1", "1")
        with pytest.raises(BusAway):
            consumer.poll(100, 0.0)
        server.replicaof("NO", "ONE")
        records = read(consumer, 28)
        assert numbers(records) == [*range(2, 30)]
        consumer.commit(held + records)


@contextmanager
def opened_slow_claims(bus: Bus) -> Iterator[RedisConsumer]:
    """A member to whom nothing comes by claiming within a test's time."""
    with member(bus) as consumer:
        consumer._claim_idle_s = 3600
        yield consumer


def test_what_was_deleted_while_it_was_pending_is_passed_over(bus: Bus, server: redis.Redis) -> None:
    publish(bus, *range(10))
    with member(bus) as first:
        doomed = read(first, 10)[3]
    server.xdel(f"bus:{TOPIC}:{doomed.partition}", doomed.offset)
    with member(bus) as second:
        records = read(second, 9)
        assert doomed.offset not in [record.offset for record in records if record.partition == doomed.partition]
        second.commit(records)
    assert bus.tidy() == 9
    assert entries(server) == 0


def test_a_member_that_leaves_with_nothing_pending_leaves_no_name(bus: Bus, server: redis.Redis) -> None:
    publish(bus, *range(10))
    with member(bus) as tidy, member(bus) as untidy:
        tidy.commit(read(tidy, 10))
        publish(bus, 10)
        read(untidy, 1)
    names = [
        m["name"].decode() for number in range(4) for m in server.xinfo_consumers(f"bus:{TOPIC}:{number}", "readers")
    ]
    assert names == [untidy.name]


def test_names_of_dead_members_go_once_nothing_is_pending_under_them(
    bus: Bus, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_tidy, "GONE_MEMBER_MS", -1)
    stream = f"bus:{TOPIC}:{partition_of('key-0', 4)}"
    publish(bus, 0)
    server.xgroup_create(stream, "readers", id="0")
    server.xgroup_createconsumer(stream, "readers", "idle")
    server.xreadgroup("readers", "holding", {stream: ">"})
    bus.tidy()
    found = server.xinfo_consumers(stream, "readers")
    assert [m["name"] for m in found] == [b"holding"]
    with member(bus) as consumer:
        assert numbers(read(consumer, 1)) == [0]  # still pending, so still claimed


def test_tidying_removes_what_both_groups_acknowledged_and_nothing_else(bus: Bus, server: redis.Redis) -> None:
    publish(bus, *range(40))
    with member(bus, "one") as one, member(bus, "two") as two:
        first, second = read(one, 40), read(two, 40)
        assert bus.tidy() == 0
        one.commit(first)
        assert bus.tidy() == 0
        two.commit(second[:25])
        removed = bus.tidy()
        assert 0 < removed <= 25
        two.commit(second[25:])
        assert bus.tidy() == 40 - removed
        publish(bus, 40)
        assert bus.tidy() == 0
        assert numbers(read(one, 1)) == numbers(read(two, 1)) == [40]


@pytest.mark.parametrize("seed", range(8))
def test_tidying_never_takes_what_a_group_still_needs(bus: Bus, seed: int) -> None:
    """Two groups read, commit, leave and come back in any order, with a tidying after each step."""
    choice = random.Random(seed)
    groups = ("one", "two")
    needed = {group: set[int]() for group in groups}
    held: dict[str, list[BusRecord]] = {group: [] for group in groups}
    members = {group: bus.consumer(group, [TOPIC], on_lost=lambda partitions: None) for group in groups}
    for one in members.values():
        one.poll(0, 0.0)  # a group begins with the earliest record that there is when it joins
    published = 0
    for _ in range(60):
        group = choice.choice(groups)
        match choice.randrange(5):
            case 0 | 1:
                fresh = range(published, published + choice.randrange(1, 30))
                publish(bus, *fresh)
                published = fresh.stop
                for want in needed.values():
                    want.update(fresh)
            case 2:
                held[group] += members[group].poll(choice.randrange(1, 40), 0.0)
            case 3:
                done, held[group] = held[group][:7], held[group][7:]
                members[group].commit(done)
                needed[group] -= set(numbers(done))
            case _:
                members[group].close()
                held[group] = []
                members[group] = bus.consumer(group, [TOPIC], on_lost=lambda partitions: None)
        bus.tidy()
    for group in groups:
        members[group].close()
        with member(bus, group) as last:
            records = read(last, len(needed[group])) if needed[group] else []
            assert set(numbers(records)) == needed[group]
            last.commit(records)
    bus.tidy()
    with member(bus, "three") as late:
        assert late.poll(10, 0.1) == []


def test_a_topic_that_no_group_reads_is_kept_for_its_time(broker: str, server: redis.Redis) -> None:
    with opened(broker) as patient, opened(broker, bus_retention_hours=1e-9) as hasty:
        publish(patient, *range(10))
        assert patient.tidy() == 0
        wait_until(lambda: hasty.tidy() or entries(server) == 0, seconds=5, what="a retention of no time is over")
        assert entries(server) == 0


def test_a_topic_made_while_a_group_was_away_waits_for_it(broker: str, server: redis.Redis) -> None:
    with opened(broker, bus_retention_hours=1e-9) as bus:
        for group in ("busy", "away"):
            with member(bus, group, "^dev[.]bridge[.].*") as consumer:
                consumer.poll(1, 0.0)
        publish(bus, 1, topic="dev.bridge.new")
        with member(bus, "busy", "^dev[.]bridge[.].*") as consumer:
            consumer.commit(read(consumer, 1))
        assert bus.tidy() == 0
        with member(bus, "away", "^dev[.]bridge[.].*") as consumer:
            consumer.commit(read(consumer, 1))
        assert bus.tidy() == 1


def test_a_server_that_never_answers_is_away_within_the_time(black_hole: str) -> None:
    with opened(black_hole, bus_timeout_s=0.2) as bus:
        assert [o.status for o in bus.publish(messages(*range(1000)), timeout_s=0.2)] == ["away"] * 1000
        assert "imeout" in (bus.health(0.2) or "")
        with pytest.raises(BusAway):
            bus.tidy()
        with member(bus) as consumer, pytest.raises(BusAway):
            consumer.poll(1, 0.1)


@pytest.mark.parametrize(("missing", "status"), [(None, "published"), ("xadd", "away")])
def test_a_client_needs_the_rights_that_the_docs_name(
    broker: str, server: redis.Redis, missing: str | None, status: str
) -> None:
    commands = [f"+{command}" for command in RIGHTS.split() if command != missing]
    server.acl_setuser("narrow", enabled=True, reset=True, passwords="+word", keys=["bus:*"], commands=commands)
    try:
        with opened(broker.replace(":test@", "narrow:word@")) as bus:
            assert statuses(bus, messages(1)) == [status]
            with member(bus) as consumer:
                consumer.commit(read(consumer, int(missing is None)))
            assert bus.tidy() == int(missing is None)
            assert bus.health(1) is None
    finally:
        server.acl_deluser("narrow")


def test_no_complaint_holds_the_password(broker: str) -> None:
    url = broker.replace(":test@", ":s3cr%20et@")
    with opened(url) as bus:
        outcome = bus.publish(messages(1), timeout_s=1)[0]
        with pytest.raises(BusAway) as caught:
            bus.tidy()
        said = [outcome.reason, bus.health(1) or "", str(caught.value), repr(bus._streams)]  # type: ignore[attr-defined]
    assert outcome.status == "away"
    assert all(text and "s3cr" not in text for text in said)


def test_an_address_that_no_client_can_use_is_refused_at_once() -> None:
    with pytest.raises(FleetError, match="OMNINODE_BUS_URL") as caught:
        open_bus(Settings(bus_url="redis://:secret@host:port/0"))
    assert "secret" not in str(caught.value)


def test_a_pattern_that_is_none_is_refused_by_name(bus: Bus) -> None:
    with pytest.raises(FleetError, match="OMNINODE_CONSUME_TOPICS"):
        bus.consumer("readers", ["^("], on_lost=lambda partitions: None)


def test_a_large_message_is_allowed_by_environment(broker: str) -> None:
    sizes = {"development": 256 * KIB, "staging": 512 * KIB, "production": 1024 * KIB}
    for environment, size in sizes.items():
        with opened(broker, environment=environment) as bus:
            batch = [BusMessage(TOPIC, "key", b"x" * (size + extra)) for extra in (0, 1)]
            assert statuses(bus, batch) == ["published", "refused"]
