"""Recoveries: questions among the intents, answered from the store. They change nothing and are in no ledger."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.intent_operation import RecoverFsmStatesData
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.outcome import Outcome
from store.database.errors import Fate, Lost, Outage, condition_of, fate_of
from store.database.pool import Conn
from store.reports import recovery
from store.write.apply import Limits
from store.write.canary import demand_rows
from tasks.engine import Engine
from tasks.settle import BROKE, DEFECT, FEW_BREAKS, persevere

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecoveryBounds:
    """What one message may ask for.

    within      how far back an answer goes that was not asked for more or less
    rows_limit  workflows in an answer at most
    timeout_s   for all answers together, after which they are partial
    max_bytes   of all answers together
    """

    within: timedelta = recovery.WITHIN
    rows_limit: int = recovery.ROWS_LIMIT
    timeout_s: float = recovery.TIMEOUT_S
    max_bytes: int = recovery.MAX_BYTES


def answers(
    engine: Engine, asked: Sequence[tuple[Operation, RecoverFsmStatesData]], bounds: RecoveryBounds
) -> Iterator[Outcome]:
    """One outcome each, in order, with what was recovered as its detail.

    Raises Outage when the database is away; it would have to be asked all over again.
    """
    deadline = time.monotonic() + bounds.timeout_s
    for operation, data in asked:
        share = bounds.max_bytes // len(asked)
        yield _answer(engine, operation, data, bounds, left_s=deadline - time.monotonic(), max_bytes=share)


def _answer(
    engine: Engine,
    operation: Operation,
    data: RecoverFsmStatesData,
    bounds: RecoveryBounds,
    *,
    left_s: float,
    max_bytes: int,
) -> Outcome:
    try:
        found = persevere(
            engine,
            lambda conn: _recover(conn, data, bounds, engine.limits, left_s=left_s, max_bytes=max_bytes),
            breaks=FEW_BREAKS,
        )
    except Lost:
        return Outcome(operation.operation_id, "refused", EnumCoreErrorCode.DATABASE_QUERY_ERROR, BROKE)
    except Outage:
        raise
    except OnexError as error:
        return Outcome(operation.operation_id, "refused", error.error_code, error.message)
    except Exception:
        logger.exception("recovery_defect", extra={"fields": {"operation_id": str(operation.operation_id)}})
        return Outcome(operation.operation_id, "refused", EnumCoreErrorCode.INTERNAL_ERROR, DEFECT)
    _log(operation, found)
    # A result's first characters are shown in logs and in Flower: the states come last.
    told = {"total_recovered": len(found.states), "failed": 0, "partial": found.partial, "next_page": found.next_page}
    return Outcome(operation.operation_id, "applied", detail=told | {"recovered_states": found.states})


def _recover(
    conn: Conn, data: RecoverFsmStatesData, bounds: RecoveryBounds, limits: Limits, *, left_s: float, max_bytes: int
) -> recovery.Recovered:
    """Raises OnexError for what PostgreSQL fails at while it takes rows."""
    try:
        return recovery.recover(
            conn,
            within=timedelta(days=data.within_days) if data.within_days is not None else bounds.within,
            rows_limit=min(data.limit or bounds.rows_limit, bounds.rows_limit),
            timeout_s=left_s,
            page=data.page,
            max_bytes=max_bytes,
        )
    except Exception as error:
        if fate_of(error) is not Fate.SUSPECT:
            raise
        demand_rows(conn, error, limits)
        message = f"recovery: the database failed at it while it takes rows: {condition_of(error)}"
        raise OnexError(EnumCoreErrorCode.DATABASE_QUERY_ERROR, message) from error


def _log(operation: Operation, found: recovery.Recovered) -> None:
    level = logging.WARNING if found.partial else logging.INFO
    told = {"workflows": len(found.states), "partial": found.partial, "more": found.next_page is not None}
    logger.log(level, "states_recovered", extra={"fields": {"operation_id": str(operation.operation_id), **told}})
