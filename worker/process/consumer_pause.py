"""Stop taking messages while the database is away, and take them again when it is back.

The worker cancels its consumers and keeps its connection: messages stay in the broker, where any worker may have them,
while remote control (`fleet status`, Flower) still answers. Everything that touches the consumer runs in the worker's
event loop; other threads only leave a note there.
"""

import logging
from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

logger = logging.getLogger(__name__)


class Consuming(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Part of the worker's consumer; started again after every reconnection to the broker.

    Needs `app.gate`, which tells it when to pause.
    """

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._gate = consumer.app.gate
        self._consuming = True

    def start(self, consumer: Any) -> None:
        self._consuming = True  # the event loop consumes from the start; a pause is applied in its first round
        self._gate.on_pause = lambda paused: consumer.call_soon(self._apply, consumer)
        consumer.call_soon(self._apply, consumer)

    def stop(self, consumer: Any) -> None:
        self._gate.on_pause = lambda paused: None

    def _apply(self, consumer: Any) -> None:
        wanted = not self._gate.paused
        task_consumer = consumer.task_consumer
        if task_consumer is None or wanted is self._consuming:
            return
        self._consuming = wanted
        if wanted:
            task_consumer.consume()
            logger.info("consuming_resumed")
        else:
            task_consumer.cancel()
            logger.warning("consuming_paused")
