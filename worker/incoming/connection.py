"""The fleet's connections to its broker: kombu's, with the transports of this room."""

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import pyamqp
from kombu.transport import redis as kombu_redis

from worker.incoming import rabbitmq, redis

TRANSPORTS = {
    kombu_redis.Transport: redis.Transport,
    kombu_redis.SentinelTransport: redis.SentinelTransport,
    pyamqp.Transport: rabbitmq.Transport,
    pyamqp.SSLTransport: rabbitmq.SSLTransport,
}


class FleetConnection(Connection):  # type: ignore[misc]  # kombu has no types
    """A connection whose transport checks what it receives."""

    def get_transport_cls(self) -> type:
        chosen: type = super().get_transport_cls()
        return TRANSPORTS.get(chosen, chosen)


class FleetAMQP(AMQP):  # type: ignore[misc]  # celery has no types
    """What a Celery app takes its connections from."""

    Connection = BrokerConnection = FleetConnection
