"""Beat: asks the database which ticks are due, and sends their tasks until their rows say that they are done.

Any number of beats do this without knowing of each other; what each remembers is only an economy. Celery gives the life
of the process. A beat keeps running whatever is away: the database or the broker is told of once, and again when it is
back.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery import Celery
from celery.beat import Scheduler

from omninode_bridge.client.backoff import Backoff
from omninode_bridge.client.broker import HOUSEKEEPING_QUEUE
from store.database.errors import Fate, fate_of
from store.database.pool import Conn, PoolConfig, lone_connection
from store.housekeeping import schedules
from store.housekeeping.schedules import Due
from worker.database import pool_config
from worker.schedule.plan import Plan
from worker.schedule.schedules import Schedule
from worker.schedule.schedules import schedules as all_schedules
from worker.settings import Settings

logger = logging.getLogger(__name__)

RETRY = Backoff(first_s=0.5, most_s=5)  # between looks at a database or a broker that is away

Send = Callable[[Schedule, Due], None]  # puts a tick's task into its queue; raises what the broker's client raises


class Beat:
    """Looks and sends, round by round.

    ready_file  written when a first round has found the database
    """

    def __init__(
        self, config: PoolConfig, every: Sequence[Schedule], send: Send, *, ready_file: Path | None = None
    ) -> None:
        self._config = config
        self._plan = Plan(every)
        self._grids = [schedule.grid for schedule in every]
        self._send = send
        self._ready_file = ready_file
        self._session = ExitStack()
        self._conn: Conn | None = None
        self._away = {"database": 0, "broker": 0}  # failures in a row

    def round(self) -> float:
        """Send what is due; returns after how many seconds to look again. Raises nothing."""
        looked_at = time.monotonic()
        try:
            dues = schedules.due(self._connection(), self._grids)
        except Exception as error:
            self.close()
            return self._failed("database", error)
        self._succeeded("database")
        self._tell_ready()
        return self._send_all(dues) or self._plan.wait_s(dues, looked_at=looked_at, now=time.monotonic())

    def close(self) -> None:
        self._conn = None
        try:
            self._session.close()
        except Exception as error:  # the connection is lost: so it is closed
            logger.debug("connection_not_closed", extra={"fields": {"reason": type(error).__name__}})

    def _send_all(self, dues: Sequence[Due]) -> float:
        """Seconds to wait because the broker is away; 0 when it is not, or there was nothing to send."""
        for due in self._plan.to_send(dues, now=time.monotonic()):
            try:
                self._send(self._plan.schedules[due.tick.name], due)
            except Exception as error:
                return self._failed("broker", error)
            self._plan.sent(due, now=time.monotonic())
            self._succeeded("broker")
            logger.debug("tick_sent", extra={"fields": {"schedule": due.tick.name, "due_at": str(due.tick.due_at)}})
        return 0.0

    def _connection(self) -> Conn:
        if self._conn is None:
            self._conn = self._session.enter_context(lone_connection(self._config))
        return self._conn

    def _failed(self, what: str, error: Exception) -> float:
        self._away[what] += 1
        if self._away[what] == 1:
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            defect = what == "database" and fate_of(error) is Fate.BUG
            logger.warning(f"{what}_away", exc_info=defect, extra={"fields": {"reason": reason}})
        return RETRY.delay_s(self._away[what])

    def _succeeded(self, what: str) -> None:
        if self._away[what]:
            self._away[what] = 0
            logger.info(f"{what}_back")

    def _tell_ready(self) -> None:
        if self._ready_file is not None:
            self._ready_file.touch()
            self._ready_file = None


class TickScheduler(Scheduler):  # type: ignore[misc]  # celery has no types
    """What Celery's beat calls again and again; its schedule file is the database."""

    def __init__(
        self, app: Celery, *, settings: Settings, ready_file: Path | None = None, lazy: bool = False, **options: Any
    ) -> None:
        super().__init__(app, lazy=lazy, **options)
        config = pool_config(settings, "omninode-bridge-fleet beat")
        self._beat = Beat(config, all_schedules(settings), send_with(app), ready_file=ready_file)

    def setup_schedule(self) -> None:
        """Celery's own entries are not used."""

    def tick(self, *_: Any, **__: Any) -> float:
        return self._beat.round()

    def close(self) -> None:
        self._beat.close()
        super().close()


def send_with(app: Celery) -> Send:
    """Send a tick's task through the app."""

    def send(schedule: Schedule, due: Due) -> None:
        app.send_task(
            schedule.task,
            args=[due.tick.due_at.isoformat()],
            queue=HOUSEKEEPING_QUEUE,
            expires=schedule.expires_s,
            ignore_result=True,
        )

    return send
