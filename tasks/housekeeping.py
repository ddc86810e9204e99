"""What the fleet does for itself: a task for each schedule, sent by beats for one of its ticks.

known, busy   nothing to do here; worth a warning when the schedule falls behind and somebody is still at it
unfinished    the task sends itself again, for the same tick, so that others have their turn in between
it fails      the tick's row says so; beats send the tick again, so nothing is raised and nothing goes back
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery import Celery

from omninode_bridge.client.broker import HOUSEKEEPING_QUEUE
from omninode_bridge.contract.errors import quoted
from store.database.errors import HeldBack, Outage
from store.database.pool import Conn
from store.housekeeping import schedules
from store.housekeeping.job import Job
from store.housekeeping.schedules import Ran, Tick
from tasks.engine import Engine

logger = logging.getLogger(__name__)

LATE_PERIODS = 2  # without a tick that was done: then one was missed as a whole


@dataclass(frozen=True, slots=True)
class Chore:
    """A schedule's task.

    schedule   its name
    task       the name of the Celery task
    make_job   a job for one run
    expires_s  how long a message of it is good for
    period_s   from one tick to the next
    """

    schedule: str
    task: str
    make_job: Callable[[], Job]
    expires_s: float
    period_s: float


def register(app: Celery, engine: Engine, chores: Sequence[Chore], *, slice_s: float) -> None:
    """Give `app` the task of each chore, `TASK(due_at)`.

    slice_s  how long one message's work goes on before others have their turn
    """
    for chore in chores:
        _register(app, engine, chore, slice_s=slice_s)


def _register(app: Celery, engine: Engine, chore: Chore, *, slice_s: float) -> None:
    @app.task(name=chore.task, bind=True, shared=False, ignore_result=True)  # type: ignore[untyped-decorator]
    def keep_house(task: Any, due_at: Any = None) -> str | None:
        """How the run ended, as a word; None when it did not."""
        fields = {"schedule": chore.schedule, "due_at": quoted(due_at)}
        if engine.deaths(task.request.id):
            logger.error("tick_ends_workers", extra={"fields": fields})
            return None
        ran = _run(engine, chore, due_at, ran_by=str(task.request.hostname), slice_s=slice_s, fields=fields)
        if ran is not None and ran.outcome == "unfinished":
            _send_again(app, chore, due_at, fields)
        return ran.outcome if ran is not None else None


def _run(
    engine: Engine, chore: Chore, due_at: object, *, ran_by: str, slice_s: float, fields: dict[str, Any]
) -> Ran | None:
    """None when it failed, which is logged."""
    try:
        tick = Tick(chore.schedule, _instant_of(due_at))
        until = time.monotonic() + slice_s

        def late() -> bool:
            return engine.stopping or time.monotonic() >= until

        def work(conn: Conn) -> tuple[Ran, float]:
            ran = schedules.run(conn, tick, chore.make_job, ran_by=ran_by, late=late, pause=engine.wait)
            return ran, schedules.undone_s(conn, chore.schedule) if ran.outcome == "busy" else 0.0

        ran, undone_s = engine.run(work)
    except HeldBack as held:
        logger.error("tick_failed", extra={"fields": fields | {"reason": held.message}})
        return None
    except Outage as outage:
        logger.warning("tick_put_off", extra={"fields": fields | {"reason": outage.message}})
        return None
    except Exception:
        logger.exception("tick_failed", extra={"fields": fields})
        return None
    _log(ran, fields)
    if undone_s > LATE_PERIODS * chore.period_s:
        logger.warning("schedule_late", extra={"fields": fields | {"outcome": ran.outcome, "undone_s": undone_s}})
    return ran


def _instant_of(due_at: object) -> datetime:
    """Raises ValueError for what is no instant with an offset in ISO text."""
    if isinstance(due_at, str):
        instant = datetime.fromisoformat(due_at)
        if instant.tzinfo is not None:
            return instant
    raise ValueError("due_at: an instant with its offset, as ISO text, is needed")


def _send_again(app: Celery, chore: Chore, due_at: object, fields: dict[str, Any]) -> None:
    """Where this does not work, a beat sends the tick: its row does not say that it is done."""
    try:
        app.send_task(chore.task, args=[due_at], queue=HOUSEKEEPING_QUEUE, expires=chore.expires_s, ignore_result=True)
    except Exception as error:
        logger.warning("tick_not_sent_again", extra={"fields": fields | {"reason": type(error).__name__}})


def _log(ran: Ran, fields: dict[str, Any]) -> None:
    worked = ran.outcome in ("done", "unfinished")
    told = {"outcome": ran.outcome, "rows": ran.rows, **ran.counts, "worked_ms": ran.worked_ms} if worked else {}
    level = logging.INFO if ran.rows or any(ran.counts.values()) else logging.DEBUG
    logger.log(level, f"tick_{ran.outcome}", extra={"fields": fields | told})
