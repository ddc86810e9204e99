"""The life of one process of the fleet: a worker, beat, or Flower, from start to a clean stop.

A worker stops warm on SIGTERM: it takes no more messages, finishes what its threads are at, and gives back to the
broker what it had only fetched. Celery's soft shutdown is not used: it waits its whole time whether or not there is
anything left to do, and then kills processes, which threads are not.
"""

import gc
import logging
import os
import signal
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from celery import signals
from celery.concurrency.thread import TaskPool
from celery.exceptions import CPendingDeprecationWarning
from celery.utils.nodenames import default_nodename, host_format

import worker.process.remote_control  # noqa: F401  # registers the remote control command
from worker.app import FleetApp
from worker.errors import FleetError
from worker.found import require_database
from worker.incoming.compression import bound_decompression
from worker.incoming.consumer import FleetConsumer
from worker.incoming.unreadable import UNREADABLE
from worker.logs import configure
from worker.schedule.beat import TickScheduler
from worker.settings import Settings

logger = logging.getLogger(__name__)

EXIT_STUCK = 70  # EX_SOFTWARE: a thread did not end within the time for stopping
STOP_MARGIN_S = 5.0  # beyond soft_shutdown_s, for acknowledgements and connections


class ThreadPool(TaskPool):  # type: ignore[misc]  # celery has no types
    """Celery's thread pool, where "terminate this job" is a no-op rather than an error: a thread cannot be killed."""

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        pass


def run_worker(app: FleetApp, settings: Settings, name: str | None, queues: tuple[str, ...], threads: int) -> int:
    """Be a worker in this process until SIGTERM or Ctrl-C; returns the exit code.

    name    its name before the @; None takes Celery's default
    queues  the queues that it takes
    Raises FleetError for a database that it cannot work with.
    """
    _log_as(settings)
    require_database(settings)
    signals.worker_shutting_down.connect(_watch_the_stop(settings.soft_shutdown_s), weak=False)
    signals.worker_ready.connect(_stop_warm_on_interrupt, weak=False)
    if UNREADABLE in queues:
        raise FleetError(f"queues: {UNREADABLE} is where messages are kept that are no tasks; no worker takes it")
    forget_builtin_tasks(app)
    bound_decompression()
    worker = app.Worker(
        hostname=host_format(default_nodename(f"{name}@%h" if name else None)),
        pool_cls=ThreadPool,
        consumer_cls=FleetConsumer,
        concurrency=threads,
        queues=list(queues),
        task_events=True,
        without_gossip=True,
        without_mingle=True,
        loglevel=settings.log_level,
        quiet=True,
    )
    # Celery says at every reconnection that tasks go on running; docs/fleet.md says why that is meant.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    # What was imported stays. To look through it again and again for garbage holds every thread up, 40 ms each time.
    gc.freeze()
    try:
        worker.start()
    finally:
        app.gate.close()
    return int(worker.exitcode or 0)


def forget_builtin_tasks(app: FleetApp) -> None:
    """Leave only the fleet's tasks: Celery's own (chords, maps, clean-up) would run whatever a message names."""
    app.finalize()
    for name in [name for name in app.tasks if name.startswith("celery.")]:
        app.tasks.unregister(name)


def run_beat(app: FleetApp, settings: Settings, ready_file: Path | None) -> None:
    """Be a scheduler in this process until SIGTERM; `ready_file` is written when it has looked for the first time.

    Raises FleetError for a database that it cannot work with.
    """
    _log_as(settings)
    require_database(settings)
    scheduler = partial(TickScheduler, settings=settings, ready_file=ready_file)
    app.Beat(scheduler_cls=scheduler, loglevel=settings.log_level, quiet=True).run()


def run_flower(app: FleetApp, settings: Settings) -> None:
    """Be Flower in this process until SIGTERM, behind its login.

    Raises FleetError without a password: an open Flower may shut workers down.
    """
    password = settings.flower_password.get_secret_value()
    if not password:
        raise FleetError("OMNINODE_FLOWER_PASSWORD: missing; Flower never runs without a login")
    _log_as(settings)
    options = {
        "address": settings.flower_host,
        "port": settings.flower_port,
        "basic_auth": f"{settings.flower_user}:{password}",
        "persistent": False,
        "logging": "none",  # ours is in place already
    }
    app.start(["flower", *(f"--{key}={value}" for key, value in options.items())])


def _log_as(settings: Settings) -> None:
    configure(level=settings.log_level, form=settings.log_format)
    # With a receiver, Celery leaves the logging alone.
    signals.setup_logging.connect(_logging_is_set_up, weak=False)


def _logging_is_set_up(**_: Any) -> None:
    """Celery asks whether somebody sets up the logging; that is done."""


def _stop_warm_on_interrupt(**_: Any) -> None:
    """Ctrl-C means what SIGTERM means, however often; Celery's own second one would drop what the threads are at."""
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))


def _watch_the_stop(seconds: float) -> Any:
    """A receiver for the beginning of a stop, which ends the process when its threads do not come to an end."""

    def watch(**_: Any) -> None:
        timer = threading.Timer(seconds + STOP_MARGIN_S, _end_stuck)
        timer.daemon = True
        timer.start()

    return watch


def _end_stuck() -> None:
    """Leave without waiting: what is unfinished was never acknowledged, and comes back to its queue."""
    logger.critical("stop_took_too_long", extra={"fields": {"threads": threading.active_count()}})
    logging.shutdown()
    os._exit(EXIT_STUCK)
