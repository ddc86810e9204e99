"""What is Kafka's own: requests refused as a whole, topics that are not there, rebalances, fatal errors."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from confluent_kafka import KafkaError

from tests.deadline import wait_until
from tests.kafka_harness import KafkaHarness
from worker.bus import BusConsumer, BusMessage, BusRecord, Partition
from worker.bus.kafka import KafkaBus, open_kafka_bus
from worker.bus.kafka_settings import kafka_settings
from worker.bus.protocol import PUBLISHED, BusAway
from worker.errors import FleetError
from worker.settings import Settings

TOPIC = "events"
PRODUCE, OFFSET_COMMIT = 0, 8  # kinds of requests
TIMEOUT_S = 10.0
PATIENCE_S = 30
LINGER = {"linger.ms": 200}  # until all of a batch is there, so that the requests are known


@pytest.fixture
def harness() -> Iterator[KafkaHarness]:
    with KafkaHarness() as one:
        one.mock.tell("topic", TOPIC, 1)
        yield one


@pytest.fixture
def bus(harness: KafkaHarness) -> Iterator[KafkaBus]:
    one = tuned(harness)
    yield one
    one.close()


def tuned(harness: KafkaHarness, **producer: Any) -> KafkaBus:
    """A bus whose producer has this configuration of librdkafka as well."""
    settings = Settings(bus="kafka", bus_url=harness.url, bus_claim_idle_s=2, bus_timeout_s=2)
    kafka = kafka_settings(settings)
    return KafkaBus(replace(kafka, producer={**kafka.producer, **producer}))


def batch(size: int, *, topic: str = TOPIC, key: str = "key", first: int = 0) -> list[BusMessage]:
    return [BusMessage(topic, key, b"%d" % number) for number in range(first, first + size)]


def statuses(bus: KafkaBus, messages: Sequence[BusMessage], *, timeout_s: float = TIMEOUT_S) -> list[str]:
    return [outcome.status for outcome in bus.publish(messages, timeout_s=timeout_s)]


def read(bus: KafkaBus, size: int, *, topic: str = TOPIC, group: str = "readers") -> list[BusRecord]:
    consumer = bus.consumer(group, [topic], on_lost=lambda partitions: None)
    records: list[BusRecord] = []
    wait_until(lambda: poll(consumer, records) >= size, seconds=PATIENCE_S, what=f"{size} records come")
    poll(consumer, records)
    consumer.close()
    return records


def poll(consumer: BusConsumer, records: list[BusRecord], limit: int = 1000) -> int:
    with suppress(BusAway):
        records += consumer.poll(limit, 0.1)
    return len(records)


def numbers(records: Sequence[BusRecord]) -> list[int]:
    return [int(record.value or b"-1") for record in records]


def in_the_end(records: Sequence[BusRecord]) -> list[int]:
    """The numbers by their last appearance."""
    return list(dict.fromkeys(reversed(numbers(records))))[::-1]


# ---- publishing -----------------------------------------------------------------------------------------------------


def test_messages_refused_for_a_neighbour_go_alone(harness: KafkaHarness) -> None:
    bus = tuned(harness, **LINGER)
    statuses(bus, batch(1, key="other"))
    too_large = KafkaError.MSG_SIZE_TOO_LARGE
    harness.mock.tell("errors", PRODUCE, too_large, 0, 0, too_large)
    assert statuses(bus, batch(5)) == ["published", "published", "refused", "published", "published"]
    assert [record.value for record in read(bus, 5) if record.key == "key"] == [b"0", b"1", b"3", b"4"]
    bus.close()


def test_what_followed_a_refused_request_goes_again_behind_it(harness: KafkaHarness) -> None:
    bus = tuned(harness, **LINGER, **{"batch.num.messages": 10})
    statuses(bus, batch(1, key="other"))
    harness.mock.tell("errors", PRODUCE, 0, KafkaError.INVALID_RECORD)
    assert statuses(bus, batch(40)) == ["published"] * 40
    records = [record for record in read(bus, 61) if record.key == "key"]
    assert in_the_end(records) == list(range(40))
    assert len(records) > 40  # the test met what it is about
    bus.close()


def test_a_refusal_of_one_that_was_alone_is_believed(harness: KafkaHarness, bus: KafkaBus) -> None:
    statuses(bus, batch(1))
    harness.mock.tell("errors", PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)
    assert statuses(bus, batch(1, first=1)) == ["refused"]
    assert statuses(bus, batch(1, first=2)) == ["published"]
    assert numbers(read(bus, 2)) == [0, 2]


@pytest.mark.parametrize("code", [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT, -195])
def test_errors_that_pass_neither_lose_nor_reorder(harness: KafkaHarness, code: int) -> None:
    bus = tuned(harness, **{"batch.num.messages": 10, "retry.backoff.ms": 10}, **LINGER)
    statuses(bus, batch(1, key="other"))
    for start in range(0, 200, 50):
        harness.mock.tell("errors", PRODUCE, code, 0, code, code)
        assert statuses(bus, batch(50, first=start)) == ["published"] * 50
    assert in_the_end([r for r in read(bus, 201) if r.key == "key"]) == list(range(200))
    bus.close()


def test_what_went_past_one_that_is_away_counts_as_away_too(harness: KafkaHarness) -> None:
    bus = tuned(harness, **{"batch.num.messages": 10}, **LINGER)
    statuses(bus, batch(1, key="other"))
    harness.mock.tell("errors", PRODUCE, 0, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
    assert statuses(bus, batch(30)) == ["published"] * 10 + ["away"] * 20
    assert statuses(bus, batch(20, first=10)) == ["published"] * 20
    assert in_the_end([r for r in read(bus, 31) if r.key == "key"]) == list(range(30))
    bus.close()


def test_a_topic_that_may_not_be_written_refuses_its_own_alone(harness: KafkaHarness, bus: KafkaBus) -> None:
    harness.mock.tell("topic-error", "secret", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    outcomes = bus.publish([*batch(1, topic="secret"), *batch(1)], timeout_s=TIMEOUT_S)
    assert [outcome.status for outcome in outcomes] == ["refused", "published"]
    assert "authorization" in outcomes[0].reason


def test_a_topic_that_nobody_makes_is_refused_before_the_time_is_over(harness: KafkaHarness, bus: KafkaBus) -> None:
    harness.mock.tell("topic-error", "nowhere", KafkaError.UNKNOWN_TOPIC_OR_PART)
    outcomes = bus.publish([*batch(1, topic="nowhere"), *batch(1)], timeout_s=TIMEOUT_S)
    assert [outcome.status for outcome in outcomes] == ["refused", "published"]
    assert "Unknown topic" in outcomes[0].reason


def test_after_a_fatal_error_another_producer_goes_on(harness: KafkaHarness, bus: KafkaBus) -> None:
    statuses(bus, batch(1))
    harness.mock.tell("errors", PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
    assert statuses(bus, batch(3, first=1)) == ["away"] * 3
    assert statuses(bus, batch(3, first=1)) == ["published"] * 3
    assert in_the_end(read(bus, 4)) == [0, 1, 2, 3]


def test_what_was_given_up_is_not_sent_behind_one_s_back(harness: KafkaHarness, bus: KafkaBus) -> None:
    statuses(bus, batch(1))
    harness.go_away()
    assert statuses(bus, batch(3, first=1), timeout_s=0.5) == ["away"] * 3
    harness.come_back()
    assert statuses(bus, batch(1, first=9)) == ["published"]
    consumer = bus.consumer("readers", [TOPIC], on_lost=lambda places: None)
    records: list[BusRecord] = []
    rounds = count(1)  # long enough for a producer that was not emptied to connect again
    wait_until(lambda: (poll(consumer, records), next(rounds) > 30)[1], seconds=PATIENCE_S, what="a look at it")
    assert numbers(records) == [0, 9]
    consumer.close()


def test_a_broker_that_takes_its_time_costs_no_more_than_the_time_given(harness: KafkaHarness, bus: KafkaBus) -> None:
    statuses(bus, batch(1))
    harness.mock.tell("delay", 5000)
    outcomes = bus.publish(batch(3, first=1), timeout_s=0.5)
    # Whoever waits for the answers gets them: they would be published.
    assert [outcome.status for outcome in outcomes] == ["away"] * 3 and all(o.reason for o in outcomes)
    harness.mock.tell("delay", 0)
    wait_until(lambda: statuses(bus, batch(3, first=1)) == ["published"] * 3, seconds=PATIENCE_S, what="it goes")


def test_a_full_queue_is_waited_for(harness: KafkaHarness) -> None:
    bus = tuned(harness, **{"queue.buffering.max.messages": 7})
    assert statuses(bus, batch(100)) == ["published"] * 100
    assert numbers(read(bus, 100)) == list(range(100))
    bus.close()


def test_a_full_queue_at_the_end_of_the_time_is_away(harness: KafkaHarness) -> None:
    bus = tuned(harness, **{"queue.buffering.max.messages": 7})
    harness.go_away()
    assert statuses(bus, batch(20), timeout_s=0.5) == ["away"] * 20
    bus.close()


def test_a_value_as_large_as_may_be_is_taken_with_key_and_headers(harness: KafkaHarness) -> None:
    bus = tuned(harness)
    largest = BusMessage(TOPIC, "k" * 1000, b"x" * (256 << 10), {"header": "h" * 1000})
    assert statuses(bus, [largest, replace(largest, value=largest.value + b"x")]) == ["published", "refused"]
    bus.close()


# Java's murmur2 of these keys, as Kafka's own tests have them.
@pytest.mark.parametrize(("key", "hash_"), [("21", -973932308), ("foobar", -790332482), ("abc", 479470107)])
def test_a_key_goes_where_java_clients_put_it(bus: KafkaBus, key: str, hash_: int) -> None:
    statuses(bus, batch(1, topic="four", key=key))
    assert [record.partition for record in read(bus, 1, topic="four")] == [(hash_ & 0x7FFFFFFF) % 4]


def test_text_that_utf_8_cannot_hold_is_refused_alone(bus: KafkaBus) -> None:
    messages = [replace(batch(1)[0], key="\ud800"), replace(batch(1)[0], headers={"a": "\ud800"}), *batch(1)]
    assert statuses(bus, messages) == ["refused", "refused", "published"]


# ---- consuming ------------------------------------------------------------------------------------------------------


class Member:
    """One that commits what it has read when its partitions go, and nothing before."""

    def __init__(self, bus: KafkaBus, topics: Sequence[str] = ("four",)) -> None:
        self.records: list[BusRecord] = []
        self.lost: list[set[Partition]] = []
        self.complaints: list[BusAway] = []
        self.consumer = bus.consumer("readers", topics, on_lost=self._on_lost)

    def poll(self) -> int:
        return poll(self.consumer, self.records)

    def _on_lost(self, places: Collection[Partition]) -> None:
        self.lost.append(set(places))
        try:
            self.consumer.commit([record for record in self.records if record.place in places])
        except BusAway as error:
            self.complaints.append(error)


def many(size: int, first: int = 0) -> list[BusMessage]:
    return [BusMessage("four", f"key-{number}", b"%d" % number) for number in range(first, first + size)]


def test_partitions_that_go_are_told_of_while_commits_still_reach_the_group(
    harness: KafkaHarness, bus: KafkaBus, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker takes such a commit. The mock does not while it deals out anew, so all comes again, as it may."""
    caplog.set_level("INFO", "worker.bus")
    statuses(bus, many(40))
    one, two = Member(bus), Member(tuned(harness))
    wait_until(lambda: one.poll() == 40, seconds=PATIENCE_S, what="one reads all")
    two.poll()
    wait_until(lambda: one.poll() and one.lost, seconds=PATIENCE_S, what="partitions go")
    assert one.lost == [{("four", number) for number in range(4)}]
    dropped = [record for record in caplog.records if record.message == "bus_commit_dropped"]
    assert ["rebalance" in vars(record)["fields"]["reason"] for record in dropped] == [True]
    statuses(bus, many(40, first=40))
    wait_until(
        lambda: one.poll() + two.poll() and {*numbers(one.records + two.records)} == {*range(80)},
        seconds=PATIENCE_S,
        what="all is read",
    )
    assert two.records
    one.consumer.close()
    two.consumer.close()


def test_a_member_that_the_group_went_on_without_commits_nothing(harness: KafkaHarness, bus: KafkaBus) -> None:
    statuses(bus, many(40))
    member = Member(bus)
    wait_until(lambda: member.poll() == 40, seconds=PATIENCE_S, what="all is read")
    harness.go_away()
    wait_until(lambda: (member.poll(), member.lost)[1], seconds=PATIENCE_S, what="its session is over")
    member.consumer.commit(member.records)  # no error: there is nobody to tell
    assert member.complaints == []
    harness.come_back()
    member.consumer.commit(member.records)
    member.consumer.close()
    assert sorted(numbers(read(bus, 40, topic="four"))) == list(range(40))


def test_a_pause_ends_with_the_next_reading_though_partitions_came_anew_meanwhile(bus: KafkaBus) -> None:
    statuses(bus, many(40))
    member = Member(bus, ["^(four|five)$"])
    consumer: Any = member.consumer
    wait_until(lambda: poll(consumer, member.records, limit=1), seconds=PATIENCE_S, what="the first record comes")
    poll(consumer, member.records, limit=0)
    statuses(bus, batch(1, topic="five"))
    wait_until(lambda: (poll(consumer, [], 0), member.lost)[1], seconds=PATIENCE_S, what="partitions go")
    wait_until(lambda: (poll(consumer, [], 0), consumer._assigned)[1], seconds=PATIENCE_S, what="and come again")
    wait_until(lambda: {*range(40)} <= {*numbers(member.records)} if member.poll() else False, seconds=5, what="all")
    consumer.close()


def test_what_comes_in_spite_of_a_pause_is_kept_for_the_next_reading(
    bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses(bus, batch(40))
    member = Member(bus, [TOPIC])
    consumer: Any = member.consumer
    monkeypatch.setattr(consumer, "_pause_or_resume", lambda *_, **__: None)
    none: list[BusRecord] = []
    wait_until(lambda: (poll(consumer, none, 0), consumer._kept)[1], seconds=PATIENCE_S, what="one slips through")
    assert none == []
    wait_until(lambda: member.poll() >= 40, seconds=PATIENCE_S, what="all come")
    assert numbers(member.records) == list(range(40))
    consumer.close()


def test_a_commit_without_a_bus_is_an_error_and_succeeds_later(harness: KafkaHarness, bus: KafkaBus) -> None:
    statuses(bus, many(4))
    records: list[BusRecord] = []
    patient = open_kafka_bus(Settings(bus="kafka", bus_url=harness.url, bus_claim_idle_s=4, bus_timeout_s=0.5))
    consumer = patient.consumer("readers", ["four"], on_lost=lambda places: None)
    wait_until(lambda: poll(consumer, records) == 4, seconds=PATIENCE_S, what="all is read")
    harness.go_away()
    with pytest.raises(BusAway):
        consumer.commit(records)
    harness.come_back()
    wait_until(lambda: committed(consumer, records), seconds=PATIENCE_S, what="it is committed")
    consumer.close()
    statuses(bus, many(1, first=4))
    assert numbers(read(patient, 1, topic="four")) == [4]
    patient.close()


def committed(consumer: BusConsumer, records: Sequence[BusRecord]) -> bool:
    try:
        consumer.commit(records)
    except BusAway:
        return False
    return True


@pytest.mark.parametrize("code", [KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID])
def test_a_commit_that_the_group_has_outdated_is_dropped(harness: KafkaHarness, bus: KafkaBus, code: int) -> None:
    statuses(bus, many(4))
    member = Member(bus)
    wait_until(lambda: member.poll() == 4, seconds=PATIENCE_S, what="all is read")
    harness.mock.tell("errors", OFFSET_COMMIT, code)
    member.consumer.commit(member.records)
    member.consumer.close()
    assert sorted(numbers(read(bus, 4, topic="four"))) == [0, 1, 2, 3]


def test_a_poll_without_a_bus_says_so(harness: KafkaHarness, bus: KafkaBus) -> None:
    harness.go_away()
    consumer = bus.consumer("readers", [TOPIC], on_lost=lambda places: None)
    with pytest.raises(BusAway) as caught:
        consumer.poll(10, 0.1)
    assert str(caught.value)
    harness.come_back()
    statuses(bus, batch(1))
    records: list[BusRecord] = []
    wait_until(lambda: poll(consumer, records), seconds=PATIENCE_S, what="it reads")
    consumer.close()


def test_an_error_of_on_lost_comes_out_of_poll_and_loses_no_record(harness: KafkaHarness, bus: KafkaBus) -> None:
    statuses(bus, many(40))

    errors = [RuntimeError("from on_lost")]

    def fail(places: Collection[Partition]) -> None:
        if errors:
            raise errors.pop()

    failing = bus.consumer("readers", ["four"], on_lost=fail)
    records: list[BusRecord] = []
    wait_until(lambda: poll(failing, records) == 40, seconds=PATIENCE_S, what="all is read")
    other = Member(tuned(harness))
    other.poll()
    with pytest.raises(RuntimeError, match="from on_lost"):
        wait_until(lambda: poll(failing, []) < 0, seconds=PATIENCE_S, what="partitions go")
    again: list[BusRecord] = []
    wait_until(
        lambda: poll(failing, again) + other.poll() >= 40 and {*numbers(again + other.records)} == {*range(40)},
        seconds=PATIENCE_S,
        what="all come again",
    )
    failing.close()
    other.consumer.close()


def test_kafka_s_own_topics_are_not_read(harness: KafkaHarness, bus: KafkaBus) -> None:
    harness.put("__consumer_offsets", key=b"k", value=b"-7")
    statuses(bus, batch(1))
    assert numbers(read(bus, 1, topic="^.*")) == [0]


def test_a_pattern_that_is_none_is_refused_by_name(bus: KafkaBus) -> None:
    with pytest.raises(FleetError, match="OMNINODE_CONSUME_TOPICS"):
        bus.consumer("readers", ["^(a"], on_lost=lambda places: None)


# ---- telling --------------------------------------------------------------------------------------------------------


def test_the_library_neither_writes_to_the_console_nor_logs_every_attempt(
    harness: KafkaHarness, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    harness.go_away()
    bus = tuned(harness)
    consumer = bus.consumer("readers", [TOPIC], on_lost=lambda places: None)
    assert statuses(bus, batch(1), timeout_s=0.5) == ["away"]
    assert "refused" in (bus.health(1) or "")
    assert poll(consumer, []) == 0
    consumer.close()
    bus.close()
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name == "worker.bus.librdkafka"] == []


def test_certificates_that_are_not_there_are_an_error_at_the_start() -> None:
    url = "kafka://127.0.0.1:1/?security_protocol=SSL&ssl_ca_location=/nowhere"
    with pytest.raises(FleetError, match=r"ssl[.]ca[.]location"):
        open_kafka_bus(Settings(bus="kafka", bus_url=url))


def test_there_is_nothing_to_tidy(bus: KafkaBus) -> None:
    assert bus.tidy() == 0
    assert bus.publish(batch(1), timeout_s=TIMEOUT_S) == [PUBLISHED]
