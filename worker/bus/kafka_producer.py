"""One librdkafka producer after another: each sends batches until one is in doubt, then another takes its place.

The producer is idempotent: retries neither repeat a message nor reorder any. It has no time limit for a message. The
limit is the batch's: what is not delivered by then is purged from the producer, which goes away with it, so that
nothing of it is sent any more behind the caller's back.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from worker.bus import kafka_library
from worker.bus.kafka_library import FAILURES, kafka_error
from worker.bus.kafka_settings import Config
from worker.bus.protocol import PUBLISHED, BusMessage, Delivery

SLICE_S = 0.25  # of waiting: a fatal error and Ctrl-C are noticed after it
TIME_OVER = "the time was over"

# For good, whoever sends it however often.
_REFUSING = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._INVALID_ARG,
}
# For good as well, but said of a whole request: one message in it may be the cause for all.
_REFUSING_ALL = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
}


class Report(NamedTuple):
    """What became of a message. `in_company`: the refusal may be meant for another one of the same request."""

    delivery: Delivery
    in_company: bool = False


class KafkaProducer:
    """Used by one thread."""

    def __init__(self, config: Config, *, scrubbed: Callable[[str], str]) -> None:
        self._config = config
        self._scrubbed = scrubbed
        self._producer: Any = None
        self._fatal = False
        self._trouble = ""

    def send(self, messages: Sequence[BusMessage], *, deadline: float) -> list[Report]:
        """One report a message, in input order; by `deadline` (of time.monotonic) whatever is not delivered is away."""
        reports: list[Report | None] = [None] * len(messages)
        self._trouble = ""
        try:
            producer = self._connected()
            for index, message in enumerate(messages):
                reports[index] = self._produce(producer, message, _noting(reports, index, self._scrubbed), deadline)
            self._wait(producer, deadline)
        except FAILURES as failure:
            self._note(kafka_error(failure))
        if self._fatal or None in reports:
            self._discard()
        away = Report(Delivery("away", self._trouble or TIME_OVER))
        return [report or away for report in reports]

    def close(self) -> None:
        self._discard()

    def _connected(self) -> Any:
        if self._producer is None:
            self._fatal = False
            self._producer = Producer({**self._config, "error_cb": self._note}, logger=kafka_library.log)
        return self._producer

    def _produce(
        self, producer: Any, message: BusMessage, on_delivery: Callable[[Any, Any], None], deadline: float
    ) -> Report | None:
        """None when it is under way; a full queue is waited for."""
        headers = [(name, value.encode()) for name, value in message.headers.items()]
        key = message.key.encode() or None  # an empty key is none: any partition will do
        while time.monotonic() < deadline:
            try:
                producer.produce(message.topic, message.value, key, headers=headers, on_delivery=on_delivery)
                return None
            except BufferError:
                producer.poll(SLICE_S)
            except KafkaException as error:
                if error.args[0].code() in _REFUSING | _REFUSING_ALL:
                    return Report(Delivery("refused", self._scrubbed(error.args[0].str())))
                raise
        return Report(Delivery("away", TIME_OVER))

    def _wait(self, producer: Any, deadline: float) -> None:
        """Until all is delivered. `flush` does not linger for more messages."""
        while not self._fatal and (left := deadline - time.monotonic()) > 0:
            if not producer.flush(min(left, SLICE_S)):
                return

    def _note(self, error: Any) -> None:
        self._fatal = self._fatal or error.fatal() or error.code() == KafkaError._FATAL
        self._trouble = self._scrubbed(error.str())

    def _discard(self) -> None:
        """Nothing of it may be sent after this: neither what waits in it nor what it would send again."""
        producer, self._producer = self._producer, None
        if producer is not None and len(producer):
            producer.purge()


def _noting(reports: list[Report | None], index: int, scrubbed: Callable[[str], str]) -> Callable[[Any, Any], None]:
    def note(error: Any, _: Any) -> None:
        reports[index] = Report(PUBLISHED) if error is None else _report(error, scrubbed(error.str()))

    return note


def _report(error: Any, reason: str) -> Report:
    status: Literal["refused", "away"] = "refused" if error.code() in _REFUSING | _REFUSING_ALL else "away"
    return Report(Delivery(status, reason), in_company=error.code() in _REFUSING_ALL)
