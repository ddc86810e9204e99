"""Celery programs beside a worker."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from celery import Celery


class Broker(NamedTuple):
    url: str
    prefix: str = ""


@contextmanager
def celery_app(broker: Broker, *, backend: str | None = None) -> Iterator[Celery]:
    """A Celery app without the fleet's code."""
    app = Celery("stranger", broker=broker.url, backend=backend or broker.url, set_as_current=False)
    prefixed = {"global_keyprefix": broker.prefix}
    if broker.prefix:
        app.conf.update(broker_transport_options=prefixed, result_backend_transport_options=prefixed)
    yield app
    gc.collect()
    app.close()
