"""What every event bus keeps, on each of them: the conformance suite of worker.bus.protocol."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest

from tests.buses import BusHarness, redis_harness
from tests.conftest import clean_environment
from tests.deadline import wait_until
from worker.bus import Bus, BusConsumer, BusMessage, BusRecord
from worker.bus.protocol import PUBLISHED, BusAway

TOPIC = "dev.omninode_bridge.onex.evt.stamp-workflow-started.v1"
PATIENCE_S = 60  # a group of Kafka takes this long over a member that died
TIMEOUT_S = 10.0
CLAIM_IDLE_S = 0.6
# A bus that goes away ten times a second for ever can be published to never: between two times a client has to connect,
# and Kafka's to be given its numbers. So the times between grow, until there is enough.
LONGER = 1.2


@pytest.fixture(params=["redis", "kafka"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BusHarness]:
    if request.param == "redis":
        with redis_harness(tmp_path) as one:
            yield one
        return
    if importlib.util.find_spec("confluent_kafka") is None and not os.environ.get("CI"):
        pytest.skip("confluent-kafka, of the extra `kafka`, is not installed")
    from tests.kafka_harness import KafkaHarness

    with KafkaHarness() as other:
        yield other


@pytest.fixture
def bus(harness: BusHarness) -> Iterator[Bus]:
    with opened(harness) as one:
        yield one


@contextmanager
def opened(harness: BusHarness, **overrides: Any) -> Iterator[Bus]:
    one = harness.open(**{"bus_claim_idle_s": CLAIM_IDLE_S} | overrides)
    yield one
    one.close()


@contextmanager
def member(bus: Bus, group: str = "readers", topics: Sequence[str] = (TOPIC,)) -> Iterator[BusConsumer]:
    one = bus.consumer(group, topics, on_lost=lambda partitions: None)
    yield one
    one.close()


def message(number: int, *, key: str | None = None, topic: str = TOPIC) -> BusMessage:
    return BusMessage(topic, f"key-{number % 7}" if key is None else key, b"%d" % number)


def publish(bus: Bus, messages: Sequence[BusMessage]) -> None:
    """Publish them all, anew as long as the bus is away."""
    left = list(messages)

    def went() -> bool:
        outcomes = bus.publish(left, timeout_s=2)
        assert len(outcomes) == len(left) and not any(o.status == "refused" for o in outcomes), outcomes
        left[:] = [one for one, outcome in zip(left, outcomes, strict=True) if outcome.status == "away"]
        return not left

    wait_until(went, seconds=PATIENCE_S, what="everything is published")


def read(consumer: BusConsumer, count: int, *, limit: int = 1000) -> list[BusRecord]:
    """At least so many records; the bus may be away meanwhile."""
    records: list[BusRecord] = []
    wait_until(lambda: poll(consumer, records, limit) >= count, seconds=PATIENCE_S, what=f"{count} records come")
    return records


def poll(consumer: BusConsumer, records: list[BusRecord], limit: int = 1000) -> int:
    try:
        found = consumer.poll(limit, 0.2)
    except BusAway:
        return len(records)
    assert len(found) <= limit
    records += found
    return len(records)


def numbers(records: Sequence[BusRecord]) -> list[int]:
    return [int(record.value or b"-1") for record in records]


def by_key(records: Sequence[BusRecord]) -> dict[str | None, list[int]]:
    """The numbers of each key in the order in which they came; of one that came again the last counts."""
    found: dict[str | None, dict[int, None]] = {}
    for record in records:
        of_key = found.setdefault(record.key, {})
        number = int(record.value or b"-1")
        of_key.pop(number, None)
        of_key[number] = None
    return {key: list(of_key) for key, of_key in found.items()}


def expected_by_key(messages: Sequence[BusMessage]) -> dict[str | None, list[int]]:
    found: dict[str | None, list[int]] = {}
    for one in messages:
        found.setdefault(one.key, []).append(int(one.value))
    return found


def test_a_key_keeps_its_order_over_many_batches(bus: Bus) -> None:
    messages = [message(number) for number in range(600)]
    for start in range(0, len(messages), 40):
        assert bus.publish(messages[start : start + 40], timeout_s=TIMEOUT_S) == [PUBLISHED] * 40
    with member(bus) as consumer:
        records = read(consumer, len(messages), limit=25)
    assert by_key(records) == expected_by_key(messages)
    assert sorted(numbers(records)) == list(range(600))
    assert len({record.partition for record in records}) > 1
    assert all(len({r.partition for r in records if r.key == key}) == 1 for key in by_key(records))


def test_nothing_to_publish_is_no_mistake(bus: Bus) -> None:
    assert bus.publish([], timeout_s=TIMEOUT_S) == []


def test_a_poisoned_message_is_refused_alone_and_with_a_reason(harness: BusHarness, bus: Bus) -> None:
    poison = [replace(harness.make_refusable(number), key="key") for number in range(2)]
    topic = poison[0].topic
    good = [message(number, key="key", topic=topic) for number in range(4)]
    outcomes = bus.publish([good[0], poison[0], good[1], good[2], poison[1], good[3]], timeout_s=TIMEOUT_S)
    assert [outcome.status for outcome in outcomes] == [
        "published",
        "refused",
        "published",
        "published",
        "refused",
        "published",
    ]
    assert outcomes[1].reason and outcomes[4].reason and "xxxx" not in outcomes[1].reason
    with member(bus, topics=[topic]) as consumer:
        assert numbers(read(consumer, 4)) == [0, 1, 2, 3]


@pytest.mark.parametrize("topic", ["", ".", "..", "no spaces", "no/slash", "no:colon", "ü", "x" * 250])
def test_an_impossible_topic_is_refused_alone(bus: Bus, topic: str) -> None:
    outcomes = bus.publish([message(1, topic=topic), message(2)], timeout_s=TIMEOUT_S)
    assert [outcome.status for outcome in outcomes] == ["refused", "published"]
    assert "topic" in outcomes[0].reason


def test_what_was_away_comes_through_when_it_is_published_again(harness: BusHarness, bus: Bus) -> None:
    messages = [message(number) for number in range(40)]
    publish(bus, messages[:10])
    harness.go_away()
    outcomes = bus.publish(messages[10:], timeout_s=1)
    assert [outcome.status for outcome in outcomes] == ["away"] * 30
    assert all(outcome.reason for outcome in outcomes)
    harness.come_back()
    publish(bus, messages[10:])
    with member(bus) as consumer:
        assert by_key(read(consumer, 40)) == expected_by_key(messages)


def test_a_key_keeps_its_order_while_the_bus_comes_and_goes(harness: BusHarness, bus: Bus) -> None:
    messages = [message(number) for number in range(3000)]
    publish(bus, messages[:1])
    with ThreadPoolExecutor(1) as elsewhere:  # not the shaking: a server goes with the thread that started it
        publishing = elsewhere.submit(publish_in_batches, bus, messages[1:])
        pause_s = 0.1
        while not publishing.done():
            harness.go_away()
            harness.come_back()
            wait({publishing}, timeout=pause_s)
            pause_s *= LONGER
    publishing.result()
    with member(bus) as consumer:
        records = read(consumer, len(messages))
        while by_key(records) != expected_by_key(messages) and poll(consumer, records):
            pass
    assert by_key(records) == expected_by_key(messages)


def publish_in_batches(bus: Bus, messages: Sequence[BusMessage]) -> None:
    for start in range(0, len(messages), 5):
        publish(bus, messages[start : start + 5])


def test_bytes_key_headers_and_time_come_back(bus: Bus) -> None:
    value, headers = bytes(range(256)), {"event_id": "ü-1", "empty": ""}
    before_ms = int(time() * 1000)
    published = [BusMessage(TOPIC, "kéy", value, headers), BusMessage(TOPIC, "plain", b"")]
    assert bus.publish(published, timeout_s=TIMEOUT_S) == [PUBLISHED] * 2
    with member(bus) as consumer:
        records = {record.key: record for record in read(consumer, 2)}
    assert records["kéy"].value == value
    assert dict(records["kéy"].headers) == headers
    assert dict(records["plain"].headers) == {}
    assert records["plain"].value == b""
    assert all(record.topic == TOPIC for record in records.values())
    slack_ms = 5000
    for record in records.values():
        assert record.timestamp_ms is not None
        assert before_ms - slack_ms < record.timestamp_ms < time() * 1000 + slack_ms


def test_a_message_without_a_key_has_none(bus: Bus) -> None:
    publish(bus, [message(1, key="")])
    with member(bus) as consumer:
        assert [record.key for record in read(consumer, 1)] == [None]


def test_records_of_other_producers_come_as_they_are(harness: BusHarness, bus: Bus) -> None:
    harness.put(TOPIC, key=None, value=b"no key")
    harness.put(TOPIC, key=b"dead", value=None)
    harness.put(TOPIC, key=b"\xff", value=b"\xff")
    with member(bus) as consumer:
        records = read(consumer, 3)
    assert {(record.key, record.value) for record in records} == {
        (None, b"no key"),
        ("dead", None),
        ("\\xff", b"\xff"),
    }


def test_a_group_begins_with_the_earliest_record(bus: Bus) -> None:
    publish(bus, [message(number) for number in range(20)])
    with member(bus) as consumer:
        assert sorted(numbers(read(consumer, 20))) == list(range(20))


def test_what_was_committed_is_not_read_again(bus: Bus) -> None:
    publish(bus, [message(number) for number in range(40)])
    with member(bus) as first:
        records = read(first, 40)
        done = [record for record in records if record.partition % 2]
        first.commit(done)
    with member(bus) as second:
        again = read(second, 40 - len(done))
        second.commit(again)
    assert sorted(numbers(done) + numbers(again)) == list(range(40))
    with member(bus) as third:
        publish(bus, [message(40)])
        assert numbers(read(third, 1)) == [40]


def test_a_committed_prefix_stays_and_the_rest_comes_again_in_order(bus: Bus) -> None:
    publish(bus, [message(number, key="one") for number in range(30)])
    with member(bus) as first:
        records = read(first, 30)
        first.commit(records[:5])
        first.commit(records[5:12])
    with member(bus) as second:
        assert numbers(read(second, 18)) == list(range(12, 30))


def test_what_a_killed_member_held_comes_to_another(harness: BusHarness, bus: Bus) -> None:
    publish(bus, [message(number) for number in range(30)])
    environment = {
        "OMNINODE_BUS": harness.kind,
        "OMNINODE_BUS_URL": harness.url,
        "OMNINODE_BUS_CLAIM_IDLE_S": str(CLAIM_IDLE_S),
    }
    command = [sys.executable, "-m", "tests.bus_member", "readers", TOPIC]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment(environment)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(30)]
        process.kill()
    assert all(lines)
    with member(bus) as survivor:
        records = read(survivor, 30)
        survivor.commit(records)
    assert by_key(records) == expected_by_key([message(number) for number in range(30)])


def test_two_members_share_without_loss(harness: BusHarness, bus: Bus) -> None:
    publish(bus, [message(number) for number in range(200)])
    with opened(harness) as other, member(bus) as one, member(other) as two:
        records: list[BusRecord] = []

        def turn(upto: int) -> bool:
            for consumer in (one, two):
                start = len(records)
                poll(consumer, records, 10)
                commit(consumer, records[start:])
            return {*range(upto)} <= {*numbers(records)}

        wait_until(lambda: turn(200), seconds=PATIENCE_S, what="both members have read what there was")
        publish(bus, [message(number) for number in range(200, 400)])
        wait_until(lambda: turn(400), seconds=PATIENCE_S, what="they have read what came later")


def commit(consumer: BusConsumer, records: Sequence[BusRecord]) -> None:
    with suppress(BusAway):
        consumer.commit(records)


def test_a_member_that_leaves_gives_its_records_to_the_other_at_once(harness: BusHarness) -> None:
    with opened(harness, bus_claim_idle_s=3600) as bus, opened(harness, bus_claim_idle_s=3600) as other:
        publish(bus, [message(number) for number in range(50)])
        with member(other) as heir:
            with member(bus) as leaving:
                held: list[BusRecord] = []
                wait_until(
                    lambda: (poll(heir, [], 5), poll(leaving, held, 5))[1],
                    seconds=PATIENCE_S,
                    what="the other one has some",
                )
            inherited: list[BusRecord] = []
            wait_until(
                lambda: poll(heir, inherited) and {*numbers(held)} <= {*numbers(inherited)},
                seconds=PATIENCE_S,
                what="what it held comes",
            )


def test_two_groups_each_see_everything(bus: Bus) -> None:
    publish(bus, [message(number) for number in range(20)])
    for group in ("readers", "others"):
        with member(bus, group) as consumer:
            records = read(consumer, 20)
            consumer.commit(records)
            assert sorted(numbers(records)) == list(range(20))


def test_a_pattern_finds_topics_that_are_made_later_and_no_others(bus: Bus) -> None:
    publish(bus, [message(1, topic="dev.bridge.a")])
    with member(bus, topics=["^dev[.]bridge[.].", "named"]) as consumer:
        first = read(consumer, 1)
        assert numbers(first) == [1]
        consumer.commit(first)
        others = ["prefix.dev.bridge.a", "dev.bridge.a.suffix", "named.not", "dev-bridge-a"]
        publish(bus, [message(9, topic=topic) for topic in others])
        publish(bus, [message(2, topic="dev.bridge.b"), message(3, topic="named")])
        assert sorted(numbers(read(consumer, 2))) == [2, 3]
        assert consumer.poll(10, 2.0) == []  # long enough that new topics are looked for


def test_a_limit_of_nothing_reads_nothing_and_keeps_the_membership(harness: BusHarness, bus: Bus) -> None:
    publish(bus, [message(number) for number in range(20)])
    with opened(harness) as elsewhere, member(bus) as consumer:
        records = read(consumer, 20)
        publish(bus, [message(number) for number in range(20, 40)])
        with member(elsewhere, "watchers") as watcher:
            seen: list[BusRecord] = []
            rounds = 0
            while rounds * 0.1 < 3 * CLAIM_IDLE_S:
                assert consumer.poll(0, 0.1) == []
                rounds += 1
            poll(watcher, seen)
        records += read(consumer, 20)
        consumer.commit(records)
    assert sorted(numbers(records)) == list(range(40))


def test_a_slow_member_loses_nothing_while_it_keeps_in_touch(harness: BusHarness) -> None:
    idle_s = 1.5
    with opened(harness, bus_claim_idle_s=idle_s) as bus, opened(harness, bus_claim_idle_s=idle_s) as elsewhere:
        publish(bus, [message(number) for number in range(20)])
        with member(bus) as slow, member(elsewhere) as quick:
            records, stolen = read(slow, 20), list[BusRecord]()
            enough = monotonic() + 2 * idle_s
            while monotonic() < enough:
                assert slow.poll(0, idle_s / 10) == []
                poll(quick, stolen)
            if harness.kind == "redis":  # Kafka gives partitions to whoever joins, and their records come again
                assert stolen == []
            slow.commit(records)


def test_a_healthy_bus_says_nothing_and_one_that_is_gone_says_what_is_wrong(harness: BusHarness, bus: Bus) -> None:
    assert bus.health(5) is None
    harness.go_away()
    complaint = bus.health(1)
    assert complaint and "\n" not in complaint and ":test@" not in complaint
    harness.come_back()
    wait_until(lambda: bus.health(2) is None, seconds=PATIENCE_S, what="it is well again")


def test_a_consumer_goes_on_after_an_outage(harness: BusHarness, bus: Bus) -> None:
    publish(bus, [message(number) for number in range(10)])
    with member(bus) as consumer:
        records = read(consumer, 10)
        harness.go_away()
        if harness.kind == "redis":
            with pytest.raises(BusAway) as caught:
                consumer.poll(10, 0.5)
            assert str(caught.value)
        harness.come_back()
        publish(bus, [message(number) for number in range(10, 20)])
        wait_until(
            lambda: poll(consumer, records) and {*numbers(records)} == {*range(20)}, seconds=PATIENCE_S, what="all come"
        )


def test_closing_never_raises_even_when_the_bus_is_away(harness: BusHarness, bus: Bus) -> None:
    publish(bus, [message(1)])
    with member(bus) as consumer:
        read(consumer, 1)
        harness.go_away()
