"""The database as a process finds it when it starts: what it cannot work with ends it there, in one line.

A database that is away is no reason to end: whoever works waits for it. Neither is one whose migrations have not all
run, or one of a newer release: the order of an upgrade costs time, and no data.
"""

import logging

from migrations import shape
from migrations.shape import Comparison
from store.database.connection import connection
from store.database.errors import Outage, Unfit
from worker.errors import FleetError
from worker.settings import Settings

logger = logging.getLogger(__name__)


def require_database(settings: Settings) -> None:
    """Raises FleetError that says what is wrong with the database that the settings name, if it answers."""
    try:
        with connection(settings.database_url) as conn:
            found = shape.examine(conn)
    except Unfit as unfit:
        raise FleetError(f"database: {unfit.message}") from None
    except Outage as outage:
        logger.debug("database_not_examined", extra={"fields": {"reason": outage.message}})
        return
    if found.wrong:
        raise FleetError(f"database: {found.line()}")
    _tell(found)


def _tell(found: Comparison) -> None:
    fields = {"schema": found.schema, "revision": found.revision, "release": shape.kept().head}
    if found.is_behind:
        logger.warning("schema_behind", extra={"fields": fields | {"to_do": "fleet migrate up"}})
    if found.is_newer:
        logger.warning("schema_newer", extra={"fields": fields})
    if found.noted:
        logger.info("schema_noted", extra={"fields": fields | {"differences": found.noted}})
