"""A bus in memory that does with each message what a test says."""

from collections.abc import Callable, Collection, Sequence

from worker.bus import Bus, BusConsumer, BusMessage, Delivery, Partition
from worker.bus.protocol import PUBLISHED, BusAway

AWAY = Delivery("away", "gone")


class ScriptedBus(Bus):
    """Publishes everything unless `decide` says otherwise. A message that is away may have arrived or not: here not.

    `published` is what arrived, `asked` how often somebody asked for its health.
    """

    def __init__(self, decide: Callable[[BusMessage], Delivery] = lambda message: PUBLISHED) -> None:
        self.decide = decide
        self.is_away = False
        self.published: list[BusMessage] = []
        self.batches = self.asked = 0

    @property
    def name(self) -> str:
        return "scripted"

    def publish(self, messages: Sequence[BusMessage], *, timeout_s: float) -> list[Delivery]:
        self.batches += 1
        deliveries = [AWAY if self.is_away else self.decide(message) for message in messages]
        pairs = zip(messages, deliveries, strict=True)
        self.published += [message for message, delivery in pairs if delivery.status == "published"]
        return deliveries

    def health(self, timeout_s: float) -> str | None:
        self.asked += 1
        return "gone" if self.is_away else None

    def consumer(
        self, group: str, topics: Sequence[str], *, on_lost: Callable[[Collection[Partition]], None]
    ) -> BusConsumer:
        raise NotImplementedError

    def tidy(self) -> int:
        if self.is_away:
            raise BusAway("gone")
        return 0

    def close(self) -> None:
        pass
