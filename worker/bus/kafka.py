"""The bus as Kafka topics: publishing and health. docs/bus.md, "Kafka", tells what holds and what was tried.

Kafka answers a request as a whole, and a request holds many messages of a partition: one that is too large may have all
of them refused. So what is refused in company goes once more, each message in a request of its own, and with it the
later messages of its key, which may be there already: twice is allowed, out of order is not.
"""

import time
from collections.abc import Callable, Collection, Sequence

from confluent_kafka import KafkaException, Producer

from omninode_bridge.bus.envelope import checked_topic
from omninode_bridge.contract.errors import OnexError
from worker.bus import kafka_library
from worker.bus.kafka_consumer import KafkaConsumer
from worker.bus.kafka_producer import KafkaProducer, Report
from worker.bus.kafka_settings import KafkaSettings, kafka_settings
from worker.bus.protocol import BusMessage, Delivery, Partition
from worker.errors import FleetError
from worker.settings import Settings

ALONE = {"batch.num.messages": 1, "linger.ms": 0}  # what is refused is refused for itself


def open_kafka_bus(settings: Settings) -> "KafkaBus":
    """The bus at settings.bus_url.   Raises FleetError for what cannot be the address or configuration of one."""
    kafka = kafka_settings(settings)
    try:
        Producer(dict(kafka.cluster), logger=kafka_library.log)  # the library's own check, of certificates for instance
    except KafkaException as error:
        raise FleetError(f"Kafka: {kafka.scrubbed(error.args[0].str())}") from None
    return KafkaBus(kafka)


class KafkaBus:
    """See worker.bus.protocol.Bus."""

    name = "kafka"

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer = KafkaProducer(settings.producer, scrubbed=settings.scrubbed)
        self._careful = KafkaProducer({**settings.producer, **ALONE}, scrubbed=settings.scrubbed)

    def publish(self, messages: Sequence[BusMessage], *, timeout_s: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout_s
        outcomes = [self._refusal(message) for message in messages]
        left = [index for index, outcome in enumerate(outcomes) if outcome is None]
        reports = self._producer.send([messages[index] for index in left], deadline=deadline)
        known = dict(zip(left, reports, strict=True))
        if again := _again(messages, known):
            alone = self._careful.send([messages[index] for index in again], deadline=deadline)
            known |= zip(again, alone, strict=True)
        deliveries = [outcome or known[index].delivery for index, outcome in enumerate(outcomes)]
        return _in_order(messages, deliveries)

    def health(self, timeout_s: float) -> str | None:
        """By a client of its own: it says whether one can connect now, not whether one could."""
        said: list[str] = []
        cluster = {**self._settings.cluster, "error_cb": lambda error: said.append(error.str())}
        client = Producer(cluster, logger=kafka_library.log)
        try:
            client.list_topics(timeout=timeout_s)
        except KafkaException as error:
            client.poll(0)  # what the connections met is told here
            return self._settings.scrubbed((said or [error.args[0].str()])[-1])
        return None

    def consumer(
        self, group: str, topics: Sequence[str], *, on_lost: Callable[[Collection[Partition]], None]
    ) -> KafkaConsumer:
        return KafkaConsumer(self._settings, group=group, topics=topics, on_lost=on_lost)

    def tidy(self) -> int:
        """Nothing to do: Kafka removes records by the topic's retention."""
        return 0

    def close(self) -> None:
        self._producer.close()
        self._careful.close()

    def _refusal(self, message: BusMessage) -> Delivery | None:
        """Why the bus will never take it, as far as that can be seen here."""
        try:
            checked_topic(message.topic)
            "".join((message.key, *message.headers, *message.headers.values())).encode()
        except OnexError as error:
            return Delivery("refused", error.message)
        except UnicodeEncodeError:
            return Delivery("refused", "key or headers: no text that UTF-8 can hold")
        size, bound = len(message.value), self._settings.max_bytes
        return (
            Delivery("refused", f"value: {size} bytes are more than the bus takes: {bound}") if size > bound else None
        )


def _again(messages: Sequence[BusMessage], known: dict[int, Report]) -> list[int]:
    """What was refused in company, and what came after it under the same key; nothing when it had no company."""
    accused = [index for index, report in known.items() if report.in_company]
    if len(accused) < 2:
        return []
    keys = {(messages[index].topic, messages[index].key): index for index in reversed(accused)}  # to its first
    return [index for index in known if index >= keys.get((messages[index].topic, messages[index].key), len(messages))]


def _in_order(messages: Sequence[BusMessage], deliveries: list[Delivery]) -> list[Delivery]:
    """After one that is away, what was published of its key counts as away too, so that it goes again behind it."""
    waiting: dict[tuple[str, str], Delivery] = {}
    for index, (message, delivery) in enumerate(zip(messages, deliveries, strict=True)):
        key = message.topic, message.key
        if delivery.status == "away":
            waiting.setdefault(key, delivery)
        elif delivery.status == "published" and key in waiting:
            deliveries[index] = waiting[key]
    return deliveries
