"""The event bus, by whichever means: Redis streams or Kafka behind one protocol. See docs/bus.md."""

from worker.bus.protocol import Bus as Bus
from worker.bus.protocol import BusConsumer as BusConsumer
from worker.bus.protocol import BusMessage as BusMessage
from worker.bus.protocol import BusRecord as BusRecord
from worker.bus.protocol import Delivery as Delivery
from worker.bus.protocol import Partition as Partition
from worker.errors import FleetError
from worker.settings import Settings


def require_bus(settings: Settings) -> None:
    """Raises FleetError when the bus's URL is missing or of another kind."""
    if not settings.bus_url:
        raise FleetError("OMNINODE_BUS_URL: missing; the broker is not a Redis that could be the bus as well")
    if settings.bus_url.startswith("kafka://") != (settings.bus == "kafka"):
        raise FleetError(f"OMNINODE_BUS_URL: not the address of a bus of the kind {settings.bus} (OMNINODE_BUS)")


def open_bus(settings: Settings) -> Bus:
    """The bus that the settings name; it connects at its first use.

    Raises FleetError as `require_bus`, and when its client library is not installed.
    """
    require_bus(settings)
    if settings.bus == "redis":
        from worker.bus.redis import open_redis_bus

        return open_redis_bus(settings)
    try:
        from worker.bus.kafka import open_kafka_bus
    except ImportError:
        raise FleetError("Kafka: the package confluent-kafka is missing; the extra `kafka` brings it") from None
    return open_kafka_bus(settings)
