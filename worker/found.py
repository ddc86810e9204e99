"""The database as a process finds it when it starts: what it cannot work with ends it there, in one line.

A database that is away is no reason to end: whoever works waits for it. Neither is one whose migrations have not all
run, or one of a newer release: the order of an upgrade costs time, and no data.
"""

import logging

from migrations import shape
from migrations.shape import Comparison
from store.database.connection import connection
from store.database.errors import Outage, Unfit
from store.housekeeping import partitions
from store.housekeeping.partitions import LockRoom
from worker.errors import FleetError
from worker.settings import Settings, env_name

WANTED = 4  # sessions at once, each with a statement over every day of every table
logger = logging.getLogger(__name__)


def require_database(settings: Settings) -> None:
    """Raises FleetError that says what is wrong with the database that the settings name, if it answers."""
    try:
        with connection(settings.database_url) as conn:
            found = shape.examine(conn)
            room = partitions.lock_room(conn)
    except Unfit as unfit:
        raise FleetError(f"database: {unfit.message}") from None
    except Outage as outage:
        logger.debug("database_not_examined", extra={"fields": {"reason": outage.message}})
        return
    if found.wrong:
        raise FleetError(f"database: {found.line()}")
    _require_locks(settings, room)
    _tell(found)


def _require_locks(settings: Settings, room: LockRoom) -> None:
    """The days that are kept, and those ahead, against what the server has room for."""
    kept = {table: getattr(settings, f"retain_{table}_days") for table in room.a_day}
    ahead = settings.partitions_days_ahead + 2  # today, and the day that is about to go
    taken = room.taken({table: days + ahead for table, days in kept.items() if days})
    table, most = max(taken.items(), key=lambda one: one[1])
    if most > room.room:
        name = env_name(f"retain_{table}_days")
        raise FleetError(
            f"database: a statement over the days of {table} takes {most:,} locks ({name}={kept[table]}), and the "
            f"server has room for {room.room:,}: set its max_locks_per_transaction to "
            f"{room.setting_for(WANTED * most)}, or keep fewer days"
        )
    if WANTED * sum(taken.values()) > room.room:
        fields = {"locks_of_a_statement": taken, "room": room.room}
        to_do = {"max_locks_per_transaction": room.setting_for(WANTED * sum(taken.values()))}
        logger.warning("locks_scarce", extra={"fields": fields | to_do})


def _tell(found: Comparison) -> None:
    fields = {"schema": found.schema, "revision": found.revision, "release": shape.kept().head}
    if found.is_behind:
        logger.warning("schema_behind", extra={"fields": fields | {"to_do": "fleet migrate up"}})
    if found.is_newer:
        logger.warning("schema_newer", extra={"fields": fields})
    if found.noted:
        logger.info("schema_noted", extra={"fields": fields | {"differences": found.noted}})
