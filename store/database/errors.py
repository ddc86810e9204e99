"""What a failure of PostgreSQL asks for: refuse the data, run again, wait for an outage to end, look for the
row that it is about, or look for a defect.

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
    LOST = "lost"  # the connection broke: an outage, unless the database answers on another one
    SUSPECT = "suspect"  # said of one statement: an outage, unless the database takes other rows meanwhile
    BUG = "bug"  # a defect of ours


class Outage(OnexError):
    """The database is away or not ready for us. The work stays where it is and waits."""

    def __init__(self, message: str, original_error: BaseException | None = None) -> None:
        super().__init__(EnumCoreErrorCode.SERVICE_UNAVAILABLE, message, original_error=original_error)

    def __reduce__(self) -> tuple[type["Outage"], tuple[str]]:
        return type(self), (self.message,)


class Unfit(Outage):
    """The database answers, and the fleet cannot work with it until somebody changes something. Says what."""


class Lost(Outage):
    """The connection broke while it was used. Where the database answers on another one, the work may be the reason."""


class HeldBack(Outage):
    """The database answers, but not all of this work can be done now: try again after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float = 1.0, original_error: BaseException | None = None) -> None:
        super().__init__(message, original_error)
        self.retry_after_s = retry_after_s


_REFUSED = re.compile('"refused: (.+)"')
_LOCK_TIMEOUT = "55P03"
_CONTENTION = ("40001", "40P01", _LOCK_TIMEOUT)
_MISSING_PARTITION = "23514"  # with no constraint named: "no partition of relation found for row"
_DATA_CLASSES = ("22", "54")
_CONSTRAINT_CLASS = "23"
_LOST = ("57P01", "57P02", "57P04", "57P05", "25P03", "25P04")  # the server ended the session
_LOST_CLASS = "08"
_CANCELED = "57014"  # by statement_timeout, or by somebody's hand
_OUTAGE_CLASSES = ("25", "28", "3D", "53", "57", "58")


def fate_of(error: BaseException) -> Fate:
    """What to do about `error`, raised by psycopg or by our own code."""
    if isinstance(error, Outage | psycopg_pool.PoolTimeout | psycopg_pool.PoolClosed):
        return Fate.OUTAGE
    if not isinstance(error, psycopg.Error):
        return Fate.REFUSE if _is_unencodable(error) else Fate.BUG
    state = error.sqlstate
    if state is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | pg.PipelineAborted)
        return Fate.LOST if lost else Fate.REFUSE if isinstance(error, psycopg.DataError) else Fate.BUG
    if state in _CONTENTION:
        return Fate.RUN_AGAIN
    if state[:2] in _DATA_CLASSES:
        return Fate.REFUSE
    if state == _MISSING_PARTITION and error.diag.constraint_name is None:
        return Fate.SUSPECT
    if state[:2] == _CONSTRAINT_CLASS:
        return Fate.RUN_AGAIN_BRIEFLY
    if state in _LOST or state[:2] == _LOST_CLASS:
        return Fate.LOST
    return Fate.OUTAGE if state[:2] in _OUTAGE_CLASSES and state != _CANCELED else Fate.SUSPECT


def outage_of(error: Exception) -> Outage:
    """The outage that a failure of the database is, in words of ours."""
    if isinstance(error, Outage):
        return error
    if fate_of(error) is Fate.LOST:
        return Lost(f"the connection broke: {type(error).__name__}", original_error=error)
    return Outage(f"the database is away or not ready: {type(error).__name__}", original_error=error)


def is_outage(error: BaseException) -> bool:
    """Whether nothing can be done but wait, as far as the error alone tells."""
    return fate_of(error) in (Fate.OUTAGE, Fate.LOST)


def is_canceled(error: BaseException) -> bool:
    """Whether a statement took longer than it may."""
    return isinstance(error, psycopg.Error) and error.sqlstate == _CANCELED


def is_about_schema(error: BaseException) -> bool:
    """Whether a table, a column, a constraint or a grant is missing."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("42")


def is_lock_timeout(error: BaseException) -> bool:
    """Whether a lock was not had within `lock_timeout`."""
    return isinstance(error, psycopg.Error) and error.sqlstate == _LOCK_TIMEOUT


def is_lock_wait(error: BaseException) -> bool:
    """Whether another transaction was in the way."""
    return fate_of(error) is Fate.RUN_AGAIN


def _is_unencodable(error: BaseException) -> bool:
    """Text that no encoding has (a lone surrogate), or that the connection's has not; the JSON writers say so in errors
    of their own."""
    return isinstance(error, UnicodeError) or (isinstance(error, TypeError | ValueError) and "surrogate" in str(error))


def refusal_message(error: BaseException) -> str:
    """What was wrong with the data, by column or constraint, at a bounded length.

    A statement refuses in words of its own by a value that no type takes: 'refused: field: why' (write_workflows.sql).
    """
    if _is_unencodable(error):
        return "operation: has text that the database's encoding cannot hold"
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        if told := _REFUSED.search(error.diag.message_primary or ""):
            return told[1][:160]
        where = error.diag.column_name or error.diag.constraint_name or "operation"
        return f"{where}: {(error.diag.message_primary or 'refused by the database')[:160]} ({error.sqlstate})"
    return f"operation: {type(error).__name__}"


def condition_of(error: BaseException) -> str:
    """What PostgreSQL said, without any value: the name of its condition and its code."""
    if not isinstance(error, psycopg.Error):
        return type(error).__name__
    if error.sqlstate is None:
        return "the connection broke"
    try:
        name = pg.lookup(error.sqlstate).__name__
    except KeyError:
        name = type(error).__name__
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.rstrip("_")).lower()
    return f"{words} ({error.sqlstate})"
