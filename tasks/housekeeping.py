"""What the fleet does for itself, when beat says so. A run that fails is only logged: the next one is due soon."""

import logging

from celery import Celery

from omninode_bridge.broker import ENSURE_PARTITIONS_TASK
from store import partitions
from store.errors import Outage
from tasks.engine import Engine

logger = logging.getLogger(__name__)


def register(app: Celery, engine: Engine, *, days_back: int, days_ahead: int) -> None:
    """Give `app` the task `omninode.ensure_partitions`, which keeps the day partitions ready.

    days_back, days_ahead  how many days around today
    """

    @app.task(name=ENSURE_PARTITIONS_TASK, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def ensure() -> int | None:
        """The number of partitions made; None when it could not be done."""
        try:
            made = engine.run(lambda conn: partitions.ensure(conn, days_back=days_back, days_ahead=days_ahead))
        except Outage as outage:
            logger.warning("partitions_not_ensured", extra={"fields": {"reason": outage.message}})
            return None
        except Exception:
            logger.exception("partitions_not_ensured")
            return None
        logger.info("partitions_ensured", extra={"fields": {"made": made}})
        return made
