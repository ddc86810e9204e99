"""Database operations with an answer: the one function at which all ways to them end.

    insert, update, delete, upsert, batch_insert   store.generic.writes: once each, by the ledger
    query, count, exists                           store.generic.queries
    the six persist operations                     store.write.apply, like any operation
    a report's name                                store.reports.reports

Whatever comes in was sent by somebody: it is checked here, however it came.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from psycopg import Connection, Error
from psycopg.errors import QueryCanceled

from omninode_bridge.contract.clock import is_uuid7, now
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.names import operation_name
from omninode_bridge.contract.wire import OWN_TIMES, content_digest, decode_operation
from omninode_bridge.persistence.models import PERSIST_BLOCKS
from store.database.errors import Fate, HeldBack, Outage, condition_of, fate_of, is_about_schema, is_outage, outage_of
from store.generic import queries, writes
from store.generic.answers import ROW_BYTES
from store.generic.requests import WRITE_TYPES, check_fields
from store.generic.writes import Answer, Bounds
from store.reports import reports
from store.write import ledger
from store.write.apply import apply
from store.write.batch import Limits
from store.write.canary import demand_rows

logger = logging.getLogger(__name__)

MAX_BYTES = 4 * 1024 * 1024
TIMEOUT_MS = 5000
READ_TYPES = ("query", "count", "exists")


def carry_out(
    conn: Connection[Any],
    request: Mapping[str, Any],
    *,
    operation_id: UUID,
    limits: Limits,
    timeout_ms: int = TIMEOUT_MS,
    max_bytes: int = MAX_BYTES,
    row_bytes: int = ROW_BYTES,
) -> dict[str, Any]:
    """Carry out one operation, a write at most once under its id; `conn` is in autocommit mode.

    request     as `omninode_bridge.persistence.models.request_of` gives it
    timeout_ms  of a read; of a write each statement's, and that of waiting for others
    max_bytes   of the rows in an answer; row_bytes  of one that is there alone, if that is more
    Returns the fields of a ModelDatabaseOperationOutput as JSON values. Raises Outage, and nothing else.
    """
    started = time.perf_counter()
    name = operation_name(request.get("operation_type"))
    answer: dict[str, Any] = {"success": True, "error_message": None, "error_code": None}
    try:
        done = _dispatch(conn, name, request, operation_id, Bounds(limits, timeout_ms, max_bytes, row_bytes))
        answer |= {"rows_affected": done.rows_affected, "result_data": done.result_data}
    except Outage as outage:
        if not isinstance(outage, HeldBack):
            raise
        message = f"{name}: it cannot be done now, though the database answers; nothing was written"
        answer |= _failed(OnexError(EnumCoreErrorCode.TIMEOUT, message))
    except Exception as error:
        answer |= _failed(_refusal_of(error, name, timeout_ms, partial(demand_rows, conn, error, limits)))
    return answer | {
        "operation_type": name,
        "correlation_id": str(_correlation_id(request) or operation_id),
        "execution_time_ms": int((time.perf_counter() - started) * 1000),
    }


def _failed(refusal: OnexError) -> dict[str, Any]:
    told = {"success": False, "error_message": refusal.message, "error_code": str(refusal.error_code)}
    return told | {"rows_affected": 0, "result_data": None}


def _dispatch(
    conn: Connection[Any], name: str, request: Mapping[str, Any], operation_id: UUID, bounds: Bounds
) -> Answer:
    trace = _correlation_id(request)
    if trace is None and request.get("correlation_id") is not None:
        raise invalid("correlation_id: not a UUID")
    if trace is not None and not trace.int:
        raise invalid("correlation_id: all zeros")
    if not is_uuid7(operation_id):
        raise invalid("operation_id: not a UUID of version 7")
    for write_type in WRITE_TYPES:
        if name == write_type:
            claim = ledger.Write(operation_id, trace, _digest(request))
            return writes.carry_out(conn, write_type, request, claim=claim, bounds=bounds)
    check_fields(request)
    if name in READ_TYPES:
        sizes = {"max_bytes": bounds.max_bytes, "row_bytes": bounds.row_bytes}
        result, rows = queries.read(conn, request, timeout_ms=bounds.timeout_ms, **sizes)
        return Answer(rows, result)
    if name in PERSIST_BLOCKS:
        return _persist(conn, name, request, operation_id, bounds.limits)
    if name in reports.REPORTS:
        return _report(conn, name, request, bounds)
    raise invalid(f"operation_type: {name or 'what was given'} is not offered")


def _persist(
    conn: Connection[Any], name: str, request: Mapping[str, Any], operation_id: UUID, limits: Limits
) -> Answer:
    """One of the six operations. Its content is the block; the time at which it came in is none of it."""
    block = request.get(PERSIST_BLOCKS[name])
    if not isinstance(block, Mapping):
        raise invalid(f"{PERSIST_BLOCKS[name]}: an object is required for {name}")
    data, trace = dict(block), request.get("correlation_id")
    if name == "persist_workflow_execution" and data.get("correlation_id") is None:
        data["correlation_id"] = trace
    raw: dict[str, Any] = {"operation_type": name, "operation_id": str(operation_id), "data": data}
    raw["digest"] = content_digest({"operation_type": name, "data": data})
    if trace is not None:
        raw["correlation_id"] = trace
    if all(data.get(own) is None for own in OWN_TIMES):
        raw["occurred_at"] = now().isoformat()
    (outcome,) = apply(conn, [decode_operation(raw, seed=str(operation_id))], limits=limits)
    if not outcome.committed:
        code = EnumCoreErrorCode(outcome.code or EnumCoreErrorCode.INTERNAL_ERROR)
        raise OnexError(code, outcome.message or "refused")
    return Answer(1, None)


def _report(conn: Connection[Any], name: str, request: Mapping[str, Any], bounds: Bounds) -> Answer:
    parameters = request.get("query_filters")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise invalid("query_filters: not an object")
    thresholds = bounds.limits.liveness
    result = reports.ask(conn, name, parameters or {}, timeout_ms=bounds.timeout_ms, thresholds=thresholds)
    size = len(orjson.dumps(result))
    if size > bounds.max_bytes:
        raise invalid(f"{name}: the answer has {size} bytes, which exceeds maximum of {bounds.max_bytes}")
    return Answer(0, result)


def _refusal_of(error: Exception, name: str, timeout_ms: int, demand_rows: Callable[[], None]) -> OnexError:
    """What to answer for a failure. Raises Outage where the database is away, or takes no rows at all; HeldBack where a
    table lacks something: a migration that has not run, a grant."""
    if isinstance(error, OnexError):
        return error
    if isinstance(error, QueryCanceled):
        return OnexError(EnumCoreErrorCode.TIMEOUT, f"{name}: took longer than {timeout_ms} ms")
    if is_outage(error) or fate_of(error) is Fate.RUN_AGAIN:
        raise outage_of(error) from error
    if fate_of(error) is Fate.SUSPECT:
        demand_rows()
        if is_about_schema(error):
            raise HeldBack(f"{name}: {condition_of(error)}", original_error=error) from error
    logger.error("%s failed: %s", name, type(error).__name__, exc_info=error)
    if not isinstance(error, Error):
        return OnexError(EnumCoreErrorCode.INTERNAL_ERROR, f"{name}: a defect ({type(error).__name__})")
    wrote = name in PERSIST_BLOCKS or name in WRITE_TYPES
    code = EnumCoreErrorCode.DATABASE_OPERATION_ERROR if wrote else EnumCoreErrorCode.DATABASE_QUERY_ERROR
    return OnexError(code, f"{name}: {type(error).__name__}")


def _correlation_id(request: Mapping[str, Any]) -> UUID | None:
    try:
        return UUID(request["correlation_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _digest(request: Mapping[str, Any]) -> str:
    """Of everything but what is for tracing."""
    return content_digest({name: value for name, value in request.items() if name != "correlation_id"})
