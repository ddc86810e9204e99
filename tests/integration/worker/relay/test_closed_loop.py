"""What the fleet has said comes back to it over the bus, as itself and as a dead letter: it is nothing new to it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge.bus import events
from omninode_bridge.contract.clock import now, uuid7
from omninode_bridge.contract.enums import EnumFleetEvent, EnumReducerEvent
from omninode_bridge.contract.wire import Item, refusal_of
from store.outbox import outbox
from store.outbox.announcements import Announcement, of_findings
from store.write.apply import apply
from tests.deadline import wait_until
from tests.factories import contribution, publish_event, store_connection, transition_intent
from tests.scripted_bus import ScriptedBus
from worker.bus import Bus, BusMessage, Delivery, open_bus
from worker.intake.consume import ConsumeConfig, Consumption
from worker.relay.round import run_round
from worker.settings import Settings

PATIENCE_S = 60
REFUSED = Delivery("refused", "not as it is")
SPECIAL = {*events._RULES, *EnumReducerEvent, "query_requested", "anything_else"}


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with store_connection(database) as opened:
        yield opened


@pytest.fixture(params=["redis", "kafka"])
def bus(request: pytest.FixtureRequest, broker: str) -> Iterator[Bus]:
    if request.param == "redis":
        one = open_bus(Settings.load(bus="redis", bus_url=broker))
        yield one
        one.close()
        return
    pytest.importorskip("confluent_kafka")
    from tests.kafka_harness import KafkaHarness

    with KafkaHarness() as kafka:
        one = kafka.open()
        yield one
        one.close()


def everything(conn: psycopg.Connection[Any]) -> int:
    """Put into the outbox whatever the fleet may say; returns how many events that is."""
    about = {"workflow_id": str(uuid4()), "node_id": "n", "health_status": "HEALTHY", "timestamp": now().isoformat()}
    batch: list[Item] = [publish_event(kind, payload=about, metadata={"namespace": "n"}) for kind in sorted(SPECIAL)]
    batch += [contribution(), transition_intent(), refusal_of(contribution(), "VALIDATION_ERROR", "namespaces: no")]
    apply(conn, batch)
    found = [of_findings(kind, [(uuid4(), about)], at=now(), environment="development")[0] for kind in EnumFleetEvent]
    answer = {"correlation_id": about["workflow_id"], "success": True, "rows": []}
    for ending in ("completed", "failed"):
        topic = f"dev.omninode-bridge.database.query-{ending}.v1"
        found.append(Announcement(uuid7(), f"query_{ending}", topic, "k", None, None, answer, None))
    with conn.transaction():
        outbox.append(conn, found)
    return len(batch) + len(found)


def taken() -> Callable[[BusMessage], bool]:
    return lambda message: True


def refused() -> Callable[[BusMessage], bool]:
    return lambda message: message.topic.endswith(".dlq")


def refused_whole() -> Callable[[BusMessage], bool]:
    """The dead letter is taken when it comes a second time, which it does without its content."""
    seen: Counter[str] = Counter()

    def takes(message: BusMessage) -> bool:
        seen[message.headers["event_id"]] += message.topic.endswith(".dlq")
        return seen[message.headers["event_id"]] == 2

    return takes


@pytest.mark.parametrize("goes", [taken, refused, refused_whole])
@pytest.mark.timeout(180)
def test_what_the_fleet_said_is_passed_over(
    conn: psycopg.Connection[Any], bus: Bus, goes: Callable[[], Callable[[BusMessage], bool]]
) -> None:
    said, takes = everything(conn), goes()
    picky = ScriptedBus(lambda m: bus.publish([m], timeout_s=PATIENCE_S)[0] if takes(m) else REFUSED)
    done = run_round(conn, picky, range(outbox.SHARDS), rows_limit=500, timeout_s=1)
    assert (done.settled, len(picky.published)) == (said, said), "all of it is on the bus"
    assert {m.topic.endswith(".dlq") for m in picky.published} == {goes is not taken}

    def submit(item: Item) -> Any:
        raise AssertionError(f"the fleet takes its own word for an operation: {item!r}")

    consumption = Consumption(ConsumeConfig(group="loop", topics=("^.*$",)), bus=bus, submit=submit)

    def consumed() -> bool:
        consumption.run_once(time.monotonic())
        return consumption.counts.committed >= said

    wait_until(consumed, seconds=PATIENCE_S, what="all of it is consumed")
    consumption.finish()
    assert consumption.counts.own == said
