"""What a failure of PostgreSQL asks for: refuse the data, run again, wait for an outage to end, or look for a defect.

Classes are by SQLSTATE (PostgreSQL's appendix "Error Codes"); what has none is a connection that went away.
"""

import re
from enum import Enum

import psycopg
import psycopg_pool
from psycopg import errors as pg

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError


class Fate(Enum):
    """What is to be done about a failed transaction."""

    REFUSE = "refuse"  # the data is wrong
    RUN_AGAIN = "run again"  # another transaction was in the way
    RUN_AGAIN_BRIEFLY = "run again briefly"  # a constraint: contention at first, wrong data if it repeats
    OUTAGE = "outage"  # the database is away or not ready: nothing is wrong with the data
    BUG = "bug"  # anything else


class Outage(OnexError):
    """The database is away or not ready for us. The work stays where it is and waits."""

    def __init__(self, message: str, original_error: BaseException | None = None) -> None:
        super().__init__(EnumCoreErrorCode.SERVICE_UNAVAILABLE, message, original_error=original_error)

    def __reduce__(self) -> tuple[type["Outage"], tuple[str]]:
        return Outage, (self.message,)


class Unfit(Outage):
    """The database answers, and the fleet cannot work with it until somebody changes something. Says what."""


_REFUSED = re.compile('"refused: (.+)"')
_CONTENTION = ("40001", "40P01", "55P03")
_MISSING_PARTITION = "23514"  # with no constraint named: "no partition of relation found for row"
_DATA_CLASSES = ("22", "54")
_CONSTRAINT_CLASS = "23"
_OUTAGE_CLASSES = ("08", "25", "28", "3D", "42", "53", "57", "58", "XX")


def fate_of(error: BaseException) -> Fate:
    """What to do about `error`, raised by psycopg or by our own code."""
    if isinstance(error, Outage | psycopg_pool.PoolTimeout | psycopg_pool.PoolClosed):
        return Fate.OUTAGE
    if not isinstance(error, psycopg.Error):
        return Fate.BUG
    state = error.sqlstate
    if state is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | pg.PipelineAborted)
        return Fate.OUTAGE if lost else Fate.REFUSE if isinstance(error, psycopg.DataError) else Fate.BUG
    if state in _CONTENTION:
        return Fate.RUN_AGAIN
    if state[:2] in _DATA_CLASSES:
        return Fate.REFUSE
    if state == _MISSING_PARTITION and error.diag.constraint_name is None:
        return Fate.OUTAGE
    if state[:2] == _CONSTRAINT_CLASS:
        return Fate.RUN_AGAIN_BRIEFLY
    return Fate.OUTAGE if state[:2] in _OUTAGE_CLASSES else Fate.BUG


def refusal_message(error: BaseException) -> str:
    """What was wrong with the data, by column or constraint, at a bounded length.

    A statement refuses in words of its own by a value that no type takes: 'refused: field: why' (write_workflows.sql).
    """
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        if told := _REFUSED.search(error.diag.message_primary or ""):
            return told[1][:160]
        where = error.diag.column_name or error.diag.constraint_name or "operation"
        return f"{where}: {(error.diag.message_primary or 'refused by the database')[:160]} ({error.sqlstate})"
    return f"operation: {type(error).__name__}"
