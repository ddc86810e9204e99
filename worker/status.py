"""The fleet's status, gathered from broker, workers and database; what cannot be reached is said, not raised."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from migrations import shape
from omninode_bridge.client.broker import FLEET_STATE_COMMAND
from omninode_bridge.contract.errors import OnexError
from store import status as store_status
from store.database.connection import connection
from worker.incoming.unreadable import UNREADABLE
from worker.schedule.jobs import alert_limits
from worker.settings import Settings

REPLY_TIMEOUT_S = 1.0
CONNECT_TIMEOUT_S = 3  # of the broker; a status must answer soon


@dataclass
class FleetStatus:
    """What `fleet status` shows.

    queues    queue -> messages that wait (one message holds up to 1,000 operations); None where it cannot be told
    unreadable  messages that were no task and are kept in the broker; None where it cannot be told
    workers   worker name -> its own account (breaker, pool, paused, pid, rss_bytes, unreadable_total)
    problems  what could not be reached
    """

    queues: dict[str, int | None] = field(default_factory=dict)
    unreadable: int | None = None
    workers: dict[str, dict[str, Any]] = field(default_factory=dict)
    store: store_status.StoreStatus | None = None
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        if self.store is not None:
            outcomes = self.store.ledger.outcomes.items()
            plain["store"]["ledger"]["outcomes"] = {f"{o} {c}".strip(): n for (o, c), n in outcomes}
        return plain


def gather(app: Celery, settings: Settings, *, window_s: float = 10.0) -> FleetStatus:
    """Ask everybody once; takes a second or two."""
    status = FleetStatus()
    _try(status, "broker", lambda: _read_queues(status, app, settings))
    _try(status, "workers", lambda: status.workers.update(worker_states(app)))
    _try(status, "database", lambda: _read_store(status, settings, window_s))
    if "broker" not in " ".join(status.problems) and not status.workers:
        status.problems.append("workers: none answered")
    return status


def queue_depths(app: Celery, queues: tuple[str, ...]) -> dict[str, int | None]:
    """Messages that wait in each queue."""
    depths: dict[str, int | None] = {}
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, timeout=CONNECT_TIMEOUT_S)
        for queue in queues:
            try:
                depths[queue] = connection.default_channel.queue_declare(queue=queue, passive=True).message_count
            except connection.channel_errors:
                depths[queue] = 0  # nobody has declared it yet
    return depths


def worker_states(app: Celery) -> dict[str, dict[str, Any]]:
    """Each worker's own account of itself."""
    replies = app.control.broadcast(FLEET_STATE_COMMAND, reply=True, timeout=REPLY_TIMEOUT_S) or []
    return {name: state for reply in replies for name, state in sorted(reply.items())}


def _read_queues(status: FleetStatus, app: Celery, settings: Settings) -> None:
    depths = queue_depths(app, (*settings.worker_queues, UNREADABLE))
    status.unreadable = depths.pop(UNREADABLE)
    status.queues.update(depths)


def _read_store(status: FleetStatus, settings: Settings, window_s: float) -> None:
    with connection(settings.database_url) as conn:
        if (found := shape.examine(conn)).wrong:
            status.problems.append(f"schema: {found.line()}")
        status.store = store_status.read(conn, window_s=window_s, **alert_limits(settings))


def _try(status: FleetStatus, what: str, action: Callable[[], None]) -> None:
    try:
        action()
    except (OnexError, OperationalError, OSError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        status.problems.append(f"{what}: {first_line[:160] or type(error).__name__}")
