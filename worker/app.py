"""The fleet's Celery app: what worker, beat, Flower and the command line have in common."""

import time
from datetime import timedelta
from functools import partial
from typing import Any

from celery import Celery, bootsteps
from celery.worker.components import Hub

import tasks.database
import tasks.housekeeping
import tasks.intents
import tasks.persist
import tasks.queries
from omninode_bridge.client.broker import celery_settings
from store.database.breaker import Breaker
from store.database.pool import Pool
from tasks.housekeeping import Chore
from tasks.recovery import RecoveryBounds
from worker.bus.limits import max_message_bytes
from worker.database import breaker_config, limits, pool_config
from worker.process.begun_tasks import BegunTasks
from worker.process.consumer_pause import Consuming
from worker.process.database_gate import Gate
from worker.schedule.jobs import JOBS
from worker.schedule.schedules import schedules
from worker.settings import Settings, settings

HELD_LIMIT = 1000  # messages that a worker holds at most until their time has come
REPLY_MARGIN_BYTES = 2048  # of a query's answer, for what stands around its rows; above all its asker's own words


class FleetApp(Celery):  # type: ignore[misc]  # celery has no types
    """A Celery app that knows its worker's way to the database; nothing is opened before a worker starts."""

    amqp_cls = "worker.incoming.connection:FleetAMQP"
    gate: Gate


class DatabaseStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Part of the worker: opens the connections in the process that uses them."""

    requires = (Hub,)

    def start(self, worker: Any) -> None:
        worker.app.gate.open()

    def close(self, worker: Any) -> None:
        worker.app.gate.stop_waiting()


def make_app(settings: Settings) -> FleetApp:
    """A Celery app with the fleet's tasks, as the settings say. Connects to nothing."""
    app = FleetApp("omninode-bridge-fleet", task_cls="worker.process.task_summary:FleetTask", set_as_current=False)
    app.conf.update(fleet_settings(settings))
    app.gate = make_gate(settings, BegunTasks(partial(_notes, app), key_prefix=settings.broker_key_prefix))
    tasks.persist.register(app, app.gate)
    tasks.intents.register(app, app.gate, recovery_bounds(settings))
    tasks.queries.register(app, app.gate, max_bytes=max_message_bytes(settings) - REPLY_MARGIN_BYTES)
    tasks.database.register(app, app.gate)
    tasks.housekeeping.register(app, app.gate, chores(settings), slice_s=settings.schedule_slice_s)
    app.steps["worker"].add(DatabaseStep)
    app.steps["consumer"].add(Consuming)
    return app


def fleet_settings(settings: Settings) -> dict[str, Any]:
    """What fleet and clients agree on, and what workers and beat add; docs/fleet.md gives the reasons."""
    agreed = celery_settings(
        broker_url=settings.broker_url,
        result_backend_url=settings.result_backend_url,
        key_prefix=settings.broker_key_prefix,
        result_expires_s=settings.result_expires_s,
    )
    # The answer of a committed batch is worth waiting for: one that cannot be stored would turn into a failure.
    forever = {"retry_policy": {"max_retries": None, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 1}}
    return agreed | {
        "result_backend_transport_options": agreed["result_backend_transport_options"] | forever,
        "result_backend_always_retry": True,
        "result_backend_base_sleep_between_retries_ms": 100,
        "result_backend_max_sleep_between_retries_ms": 2000,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_concurrency": settings.worker_threads,
        "worker_prefetch_multiplier": 2,
        "worker_disable_prefetch": False,
        "worker_eta_task_limit": HELD_LIMIT,
        "worker_enable_prefetch_count_reduction": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": True,
        "worker_disable_rate_limits": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


def chores(settings: Settings) -> list[Chore]:
    """What the schedules' tasks do, as the settings say."""
    return [
        Chore(each.name, each.task, partial(JOBS[each.name], settings), each.expires_s, each.period_s)
        for each in schedules(settings)
    ]


def recovery_bounds(settings: Settings) -> RecoveryBounds:
    return RecoveryBounds(
        within=timedelta(days=settings.recover_within_days),
        rows_limit=settings.recover_limit,
        timeout_s=settings.recover_timeout_ms / 1000,
    )


def _notes(app: Celery) -> Any:
    """What talks to where confirmations lie: the broker itself, or the Redis beside a RabbitMQ."""
    return app.backend.client


def make_gate(settings: Settings, begun: BegunTasks) -> Gate:
    return Gate(
        pool=Pool(pool_config(settings, "omninode-bridge-fleet")),
        breaker=Breaker(breaker_config(settings), now=time.monotonic()),
        limits=limits(settings),
        publish_wait_s=settings.publish_wait_ms / 1000,
        begun=begun,
    )


app = make_app(settings())
