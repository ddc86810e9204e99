"""What a generic write that failed is answered: by what PostgreSQL, the network or a check said of it."""

import logging

import psycopg
from psycopg import errors as pg

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid
from store.database.errors import Fate, Outage, fate_of, is_outage, outage_of

logger = logging.getLogger(__name__)


def refusal_of(error: Exception, timeout_ms: int) -> OnexError:
    """What to answer for a failure, now and whenever the id comes again.

    Raises what says nothing about the write, so that nobody may remember it: Outage where the database is away,
    OnexError TIMEOUT where it was slow, OnexError INTERNAL_ERROR for a defect; `error` where PostgreSQL failed at it.
    """
    if isinstance(error, OnexError) and not isinstance(error, Outage):
        return error
    fate = fate_of(error)
    if isinstance(error, pg.QueryCanceled) or fate is Fate.RUN_AGAIN:
        message = f"operation: took longer than {timeout_ms} ms; nothing was written"
        raise OnexError(EnumCoreErrorCode.TIMEOUT, message) from error
    if is_outage(error):
        raise outage_of(error) from error
    if fate is Fate.SUSPECT:
        raise error
    if isinstance(error, pg.UniqueViolation):
        return OnexError(EnumCoreErrorCode.CONFLICT, f"{_where(error)}: duplicate key")
    if isinstance(error, pg.ForeignKeyViolation):
        return OnexError(EnumCoreErrorCode.NOT_FOUND, "workflow_id: no such workflow")
    if isinstance(error, psycopg.Error) and fate is not Fate.BUG:
        return invalid(f"{_where(error)}: refused by the database ({type(error).__name__})")
    logger.error("generic write failed: %s", type(error).__name__, exc_info=error)
    message = f"operation: a defect ({type(error).__name__}); nothing was written"
    raise OnexError(EnumCoreErrorCode.INTERNAL_ERROR, message) from error


def _where(error: psycopg.Error) -> str:
    return error.diag.column_name or error.diag.constraint_name or "entity"
