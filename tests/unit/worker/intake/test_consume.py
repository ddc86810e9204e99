"""A consumer of the bus, round by round, on a bus and a client in memory."""

import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest

from omninode_bridge.bus.envelope import FLEET_SERVICE
from omninode_bridge.bus.events import map_record
from omninode_bridge.client.handle import Handle, Home, settle
from omninode_bridge.contract.clock import TIMELESS
from omninode_bridge.contract.outcome import Outcome, Status
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import Item
from tests.bus_records import LATER, TOPIC, WORKFLOW, envelope
from tests.deadline import wait_until
from worker.bus import BusConsumer, BusMessage, BusRecord, Delivery, Partition
from worker.bus.protocol import PUBLISHED, BusAway
from worker.intake.bus_values import is_own, value_of
from worker.intake.consume import ConsumeConfig, Consumption
from worker.intake.dlq_record import dead_letter


class MemoryBus:
    """Records to be read, what was committed and published, and whether it is away."""

    name = "memory"

    def __init__(self, *records: BusRecord) -> None:
        self.waiting = list(records)
        self.committed: list[int | str] = []
        self.published: list[BusMessage] = []
        self.limits: list[int] = []
        self.is_away = self.takes_nothing = self.refuses = self.closed = False
        self.losing: Collection[Partition] = ()
        self._on_lost: Callable[[Collection[Partition]], None] = lambda places: None

    def publish(self, messages: Sequence[BusMessage], *, timeout_s: float) -> list[Delivery]:
        if self.is_away or self.takes_nothing:
            return [Delivery("away")] * len(messages)
        if self.refuses:
            return [Delivery("refused", "too large")] * len(messages)
        self.published.extend(messages)
        return [PUBLISHED] * len(messages)

    def consumer(
        self, group: str, topics: Sequence[str], *, on_lost: Callable[[Collection[Partition]], None]
    ) -> BusConsumer:
        self._on_lost = on_lost
        return self

    def poll(self, limit: int, timeout_s: float) -> list[BusRecord]:
        self._check()
        self.limits.append(limit)
        if self.losing:
            lost, self.losing = self.losing, ()
            self._on_lost(lost)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def commit(self, records: Sequence[BusRecord]) -> None:
        self._check()
        self.committed.extend(record.offset for record in records)

    def health(self, timeout_s: float) -> str | None:
        return "away" if self.is_away else None

    def tidy(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.is_away:
            raise BusAway("gone")


class MemoryFleet:
    """Takes items; a test confirms them when it likes."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._home = Home()
        self._handles: list[Handle] = []

    def submit(self, item: Item) -> Handle:
        handle = Handle(item.operation_id, item.operation_type, self._home)
        self.items.append(item)
        self._handles.append(handle)
        return handle

    def confirm(self, *positions: int, status: Status = "applied") -> None:
        code = ("FUTURE", "occurred_at: ahead") if status == "refused" else (None, None)
        handles = [self._handles[position] for position in positions]
        settle(handles, [Outcome(one.operation_id, status, *code) for one in handles], home=self._home)


def record(offset: int, value: object = None, *, topic: str = TOPIC, partition: int = 0) -> BusRecord:
    given = value if value is not None else {"event_type": "noted", "n": offset, "timestamp": LATER}
    raw = given if isinstance(given, bytes) else json.dumps(given).encode()
    return BusRecord(topic, partition, offset, "k", raw, 1_790_000_000_000)


def consuming(bus: MemoryBus, fleet: MemoryFleet, **options: Any) -> Consumption:
    config = ConsumeConfig(group="g", topics=("t",), lost_wait_s=0.01, stop_s=5, commit_every_s=0.2)
    return Consumption(replace(config, **options), bus=bus, submit=fleet.submit)


class Rounds:
    """Rounds of a consumer, a second apart."""

    def __init__(self, consumption: Consumption) -> None:
        self._consumption = consumption
        self._now_s = time.monotonic()

    def __call__(self, count: int = 1) -> None:
        for _ in range(count):
            self._now_s += 1.0
            self._consumption.run_once(self._now_s)


def letters(bus: MemoryBus) -> list[dict[str, Any]]:
    return [json.loads(message.value) for message in bus.published]


def test_records_are_committed_up_to_the_first_that_is_not_confirmed() -> None:
    bus, fleet = MemoryBus(*map(record, range(4))), MemoryFleet()
    rounds = Rounds(consuming(bus, fleet))
    rounds()
    fleet.confirm(1, 0, 3)
    rounds()
    assert bus.committed == [0, 1]
    fleet.confirm(2, status="duplicate")
    rounds()
    assert bus.committed == [0, 1, 2, 3]


def test_commits_come_no_more_often_than_they_may() -> None:
    bus, fleet = MemoryBus(*map(record, range(2))), MemoryFleet()
    consumption = consuming(bus, fleet)
    consumption.run_once(10.0)
    fleet.confirm(0, 1)
    consumption.run_once(10.1)
    assert bus.committed == []
    consumption.run_once(10.25)
    assert bus.committed == [0, 1]


def test_beyond_its_bounds_it_only_keeps_its_membership() -> None:
    bus, fleet = MemoryBus(*map(record, range(8))), MemoryFleet()
    rounds = Rounds(consuming(bus, fleet, max_records=3))
    rounds(2)
    assert bus.limits == [3, 0] and len(fleet.items) == 3
    fleet.confirm(0, 1)
    rounds()
    assert bus.limits[-1] == 2


def test_the_bytes_under_way_are_bounded_as_well() -> None:
    bus, fleet = MemoryBus(record(0)), MemoryFleet()
    Rounds(consuming(bus, fleet, max_bytes=10))(2)
    assert bus.limits == [500, 0]


def test_tombstones_and_what_the_fleet_said_itself_are_passed_over() -> None:
    own = envelope("state_persisted", {"aggregation_id": WORKFLOW}, source_service=FLEET_SERVICE)
    wrapped = {"original_topic": TOPIC, "original_data": own, "original_key": "k"}
    reply = record(3, {"success": True}, topic="dev.omninode-bridge.database.query-completed.v1")
    tombstone = replace(record(0), value=None)
    bus, fleet = MemoryBus(tombstone, record(1, own), record(2, wrapped, topic=TOPIC + ".dlq"), reply), MemoryFleet()
    consumption = consuming(bus, fleet)
    Rounds(consumption)(2)
    assert fleet.items == [] and bus.committed == [0, 1, 2, 3]
    assert consumption.counts.own == consumption.counts.committed == 4


def test_a_refused_record_is_committed_when_its_dead_letter_stands_on_the_bus() -> None:
    bus, fleet = MemoryBus(record(7, envelope("step_completed", {}, correlation_id=WORKFLOW))), MemoryFleet()
    rounds = Rounds(consuming(bus, fleet))
    rounds()
    assert isinstance(fleet.items[0], Refusal)
    fleet.confirm(0, status="refused")
    bus.is_away = True
    with pytest.raises(BusAway):
        rounds()
    assert bus.committed == []
    bus.is_away = False
    rounds(2)
    assert bus.committed == [7] and bus.published[0].topic == TOPIC + ".dlq" and bus.published[0].key == "k"
    letter = letters(bus)[0]
    assert letter["original_message"]["event_type"] == "step_completed"
    assert (letter["original_topic"], letter["original_partition"], letter["original_offset"]) == (TOPIC, 0, 7)
    assert (letter["original_timestamp"], letter["retry_count"]) == (1_790_000_000_000, 0)
    assert (letter["error_type"], letter["error_message"]) == ("FUTURE", "occurred_at: ahead")
    context = {"correlation_id": WORKFLOW, "operation_type": "event_routing", "retry_count": 0}
    assert letter["error_context"] == context and letter["failed_at"].endswith("+00:00")


def test_a_dead_letter_that_the_bus_refuses_holds_nothing_up() -> None:
    bus, fleet = MemoryBus(record(0, b"{no json")), MemoryFleet()
    bus.refuses = True
    consumption = consuming(bus, fleet)
    rounds = Rounds(consumption)
    rounds()
    fleet.confirm(0, status="refused")
    rounds()
    assert bus.committed == [0] and consumption.counts.dlq_refused == 1


def test_what_came_from_a_dead_letter_topic_gets_no_other_dead_letter() -> None:
    bus, fleet = MemoryBus(record(0, b"{no json", topic=TOPIC + ".dlq")), MemoryFleet()
    rounds = Rounds(consuming(bus, fleet))
    rounds()
    fleet.confirm(0, status="refused")
    rounds()
    assert bus.committed == [0] and bus.published == []


def test_a_lost_partition_commits_what_is_confirmed_and_drops_later_confirmations() -> None:
    bus = MemoryBus(record(0), record(1), record(0, partition=1))
    fleet = MemoryFleet()
    consumption = consuming(bus, fleet, commit_every_s=1e9)
    rounds = Rounds(consumption)
    rounds()
    fleet.confirm(0, 2)
    bus.losing = [(TOPIC, 0)]
    rounds()
    assert bus.committed == [0]
    fleet.confirm(1, status="refused")
    rounds()
    assert bus.committed == [0] and bus.published == [] and consumption.under_way == 0


def test_a_lost_partition_is_given_a_moment_for_what_is_under_way() -> None:
    bus, fleet = MemoryBus(record(0)), MemoryFleet()
    rounds = Rounds(consuming(bus, fleet, lost_wait_s=20))
    rounds()
    bus.losing = [(TOPIC, 0)]
    threading.Timer(0.05, fleet.confirm, [0]).start()
    rounds()
    assert bus.committed == [0]


def test_a_dead_letter_of_a_lost_partition_is_not_written() -> None:
    bus, fleet = MemoryBus(record(0, b"{no json"), record(0, partition=1)), MemoryFleet()
    consumption = consuming(bus, fleet)
    rounds = Rounds(consumption)
    rounds()
    fleet.confirm(1)
    fleet.confirm(0, status="refused")
    bus.takes_nothing = True
    rounds()
    assert bus.committed == [0], "the other partition does not wait for it"
    bus.losing = [(TOPIC, 0)]
    rounds()
    bus.takes_nothing = False
    rounds(2)
    assert bus.published == [] and bus.committed == [0] and consumption.under_way == 0


def test_a_commit_that_did_not_arrive_is_made_again() -> None:
    bus, fleet = MemoryBus(record(0)), MemoryFleet()
    rounds = Rounds(consuming(bus, fleet))
    rounds()
    fleet.confirm(0)
    bus.is_away = True
    with pytest.raises(BusAway):
        rounds()
    bus.is_away = False
    rounds()
    assert bus.committed == [0]


def test_a_stop_waits_for_confirmations_commits_and_leaves_the_group() -> None:
    bus, fleet = MemoryBus(record(0), record(1)), MemoryFleet()
    consumption = consuming(bus, fleet, max_records=1)
    running = threading.Thread(target=consumption.run, daemon=True)
    running.start()
    wait_until(lambda: fleet.items, seconds=5, what="the first record is read")
    consumption.stop()
    consumption.stop()
    fleet.confirm(0)
    running.join(60)
    assert not running.is_alive() and bus.closed
    assert bus.committed == [0] and len(fleet.items) == 1


def test_a_stop_does_not_wait_for_ever_and_commits_only_what_is_confirmed() -> None:
    bus, fleet = MemoryBus(record(0), record(1)), MemoryFleet()
    consumption = consuming(bus, fleet, stop_s=0.05)
    Rounds(consumption)()
    fleet.confirm(0)
    consumption.finish()
    assert bus.committed == [0] and bus.closed


def test_a_bus_that_is_away_is_an_interruption(caplog: pytest.LogCaptureFixture) -> None:
    bus, fleet = MemoryBus(record(0)), MemoryFleet()
    bus.is_away = True
    consumption = consuming(bus, fleet)
    running = threading.Thread(target=consumption.run, daemon=True)
    with caplog.at_level("INFO", logger="worker.intake.consume"):
        running.start()
        wait_until(lambda: "bus_away" in caplog.messages, seconds=5, what="it says that the bus is away")
        bus.is_away = False
        wait_until(lambda: fleet.items, seconds=5, what="it reads on")
        fleet.confirm(0)
        wait_until(lambda: bus.committed == [0], seconds=5, what="it commits")
        consumption.stop()
        running.join(60)
    assert caplog.messages.count("bus_away") == caplog.messages.count("bus_back") == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"{no json",
        b"\xff\xfe{",
        b'"text"',
        b'"{\\"event_type\\": \\"noted\\"}"',
        b"[1, 2]",
        b'{"a": NaN, "n": 12345678901234567890123}',
        b'{"n": 12345678901234567890123}',
        b'{"value": {"event_type": "noted"}}',
        b'{"bad": "\\ud800"}',
        b'{"event_type": "step_completed", "timestamp": "no time"}',
        b'{"event_type": "noted", "deep": ' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
def test_a_dead_letter_gives_the_operation_id_that_its_record_gave(raw: bytes) -> None:
    read = record(0, raw)
    before = map_record(read.topic, read.key, value_of(raw), timestamp=read.timestamp_ms)
    outcome = Outcome(before.operation_id, "refused", "VALIDATION_ERROR", "why")
    letter = dead_letter(read, outcome, correlation_id=None, at=TIMELESS)
    after = map_record(letter.topic, letter.key, value_of(letter.value), timestamp=1)
    assert (after.operation_id, after.digest) == (before.operation_id, before.digest)


def test_an_envelope_without_the_fleets_name_is_not_its_own() -> None:
    assert not is_own(TOPIC, "k", envelope("noted", {}))
    assert not is_own(TOPIC, "k", "text")
    assert not is_own(TOPIC, "k", {"source_service": FLEET_SERVICE, "event_type": "noted"})


def test_a_configuration_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="group, topics"):
        ConsumeConfig(group="", topics=("t",))
