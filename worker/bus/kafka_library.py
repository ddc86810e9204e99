"""What is odd about librdkafka's Python client, in one place."""

import logging
from typing import Any

from confluent_kafka import KafkaException

log = logging.getLogger("worker.bus.librdkafka")  # the library's own lines; given none, it writes to stderr

# With an error callback a fatal error comes as a SystemError, because the client calls back with it already raised.
FAILURES = (KafkaException, SystemError)


def kafka_error(failure: BaseException) -> Any:
    """The KafkaError within; raises what has none."""
    cause = failure if isinstance(failure, KafkaException) else failure.__cause__
    if not isinstance(cause, KafkaException):
        raise failure
    return cause.args[0]
