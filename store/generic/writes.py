"""Generic writes: operations at the database's time, each with its answer kept in the ledger.

    parse --> one transaction: claim the id, lock the rows in key order, read the clock, write, keep the answer
       committed         -> the answer
       id claimed before -> what was answered then; its rows are read anew
       contention        -> the same transaction again, for as long as the caller gives it
       took too long     -> TIMEOUT; nothing written and nothing kept: the id is free for another try
       refused           -> nothing written; the id is claimed with the refusal, in a transaction of its own
       defect of ours    -> INTERNAL_ERROR; nothing written and nothing kept either
       database away     -> Outage

The clock is read when the rows are locked, so that writes of a row happen in the order of their commits. Each column
takes its value only where nothing newer was said of it: see docs/convergence.md.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg import Connection
from psycopg import errors as pg

from omninode_bridge.contract.clock import (
    clock,
    fsm_state_clock,
    is_uuid7,
    millis,
    sibling_uuid7,
    uuid7_millis,
    workflow_state_clock,
)
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid
from store.database.errors import Fate, fate_of, outage_of
from store.database.rows import rows as json_rows
from store.database.session import limit_of
from store.database.statements import statements_beside
from store.generic import delete, locks, statements
from store.generic.answers import Row, fitting, rows_of, size_of
from store.generic.entities import Entity
from store.generic.errors import refusal_of
from store.generic.locks import Held, Key, Named, check_version, held, named, wanted
from store.generic.requests import Write, WriteType, parse
from store.write import ledger
from store.write.apply import again
from store.write.batch import Limits, transaction

statement = statements_beside(__file__)

_BY_DAY = ("workflow_steps", "fsm_transitions")  # partitioned by the time in their ids


@dataclass(frozen=True, slots=True)
class Answer:
    """What a generic write answers when it succeeds."""

    rows_affected: int
    result_data: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """timeout_ms  of each statement, and of waiting for others
    max_bytes   of the rows in an answer; row_bytes  of one that is there alone, if that is more
    """

    limits: Limits
    timeout_ms: int
    max_bytes: int
    row_bytes: int


def carry_out(
    conn: Connection[Any], write_type: WriteType, request: Mapping[str, Any], *, claim: ledger.Write, bounds: Bounds
) -> Answer:
    """Make the write's effect once, however often it is asked for; `conn` is in autocommit mode.

    Raises OnexError for a write that is refused, the same one every time; TIMEOUT and INTERNAL_ERROR for one that may
    be asked for again; Outage when the database is away; what PostgreSQL said where that may be of this write alone.
    """
    late = _deadline(bounds.timeout_ms)
    parsed: Write | None = None
    answer: Answer | OnexError
    try:
        parsed = write = parse(write_type, request)
        answer = again(lambda: _write(conn, write, claim, bounds), give_up=late)
    except Exception as error:
        refusal = refusal_of(error, bounds.timeout_ms)
        try:
            answer = again(lambda: _refuse(conn, write_type, parsed, refusal, claim, bounds))
        except psycopg.Error as failure:
            if fate_of(failure) is Fate.SUSPECT:
                raise
            raise outage_of(failure) from failure  # it could not even be kept: whoever sent it sends it again
    if isinstance(answer, OnexError):
        raise answer
    return answer


def _deadline(timeout_ms: int) -> Callable[[], bool]:
    until = time.monotonic() + timeout_ms / 1000
    return lambda: time.monotonic() > until


def _write(conn: Connection[Any], write: Write, claim: ledger.Write, bounds: Bounds) -> Answer | OnexError:
    """The transaction. Returns an error where the ledger says that the write was refused before."""
    has_limit = limit_of(conn) == bounds.timeout_ms
    if has_limit and (deleted := delete.at_once(conn, write, claim, bounds.limits)) is not None:
        return Answer(deleted, None)
    with transaction(conn), conn.cursor() as cursor:
        if not has_limit:
            cursor.execute(statement("limit_statements"), {"timeout_ms": str(bounds.timeout_ms)})
        _claim(cursor, claim, None, bounds)
        asked = locks.ask(conn, write)  # sent with the claim, so that all of it is one wait
        if cursor.fetchone() is None:
            return _answered(conn, write.type, write, claim, bounds)
        names = _EFFECTS[write.type](conn, write, claim.operation_id, held(write, asked, bounds.limits))
        kept: dict[str, Any] = {"rows_affected": len(names)}
        if write.returning or write.type not in ("update", "delete"):
            kept["keys"] = [name.key for name in names]
            if any(name.id != name.key[0] for name in names):
                kept["ids"] = [name.id for name in names]
        conn.execute(statement("keep_result"), {"id": claim.operation_id, "result": orjson.dumps(kept).decode()})
        texts = _read(conn, write, [name.key for name in names]) if write.returning else []
        if len(fitting(texts, bounds.max_bytes, bounds.row_bytes)) < len(texts):
            most = bounds.max_bytes if len(texts) > 1 else bounds.row_bytes
            raise invalid(f"returning: the rows have {size_of(texts)} bytes, which exceeds maximum of {most}")
        rows = rows_of(write.entity, texts, strict=write.strict) if write.returning else None
    return _answer(write.type, kept, rows)


def _refuse(
    conn: Connection[Any],
    write_type: WriteType,
    write: Write | None,
    refusal: OnexError,
    claim: ledger.Write,
    bounds: Bounds,
) -> Answer | OnexError:
    """Keep a refusal. Returns it; or, where somebody has claimed the id meanwhile, what that one was answered."""
    with transaction(conn), conn.cursor() as cursor:
        _claim(cursor, claim, str(refusal.error_code), bounds)
        if cursor.fetchone() is None:
            return _answered(conn, write_type, write, claim, bounds)
        kept = {"message": refusal.message}
        conn.execute(statement("keep_result"), {"id": claim.operation_id, "result": orjson.dumps(kept).decode()})
    return refusal


def _claim(cursor: psycopg.Cursor[Any], claim: ledger.Write, code: str | None, bounds: Bounds) -> None:
    limits = bounds.limits
    ledger.claim_write(cursor, claim, code=code, future_limit=limits.future_limit, horizon=limits.horizon)


def _answered(
    conn: Connection[Any], write_type: WriteType, write: Write | None, claim: ledger.Write, bounds: Bounds
) -> Answer | OnexError:
    """What was answered under the same id. Raises OnexError for an id whose time is out of bounds."""
    with conn.cursor() as cursor:
        before = ledger.answered(cursor, claim, horizon=bounds.limits.horizon)
    kept = before.result or {}
    if before.digest is None:
        raise OnexError(EnumCoreErrorCode(before.code or "INTERNAL_ERROR"), kept["message"])
    if before.digest != claim.digest:
        return OnexError(EnumCoreErrorCode.CONFLICT, "operation_id: already used for other content")
    if before.code is not None:
        return OnexError(EnumCoreErrorCode(before.code), kept.get("message", "refused before"))
    keys = [tuple(key) for key in kept.get("keys", ())]
    rows = None
    if write is not None and write.returning:
        # Whatever was said of them since: the write was carried out.
        rows = rows_of(write.entity, _read(conn, write, keys), strict=False)
    return _answer(write_type, kept, rows)


def _answer(write_type: WriteType, kept: Mapping[str, Any], rows: list[Row] | None) -> Answer:
    result: dict[str, Any] = {}
    if write_type in ("insert", "upsert", "batch_insert"):
        ids = kept.get("ids") or [key[0] for key in kept["keys"]]
        result = {"ids": ids} if write_type == "batch_insert" else {"id": ids[0]}
    if rows is not None:
        result["rows"] = rows
    return Answer(kept["rows_affected"], result or None)


def _insert(conn: Connection[Any], write: Write, operation_id: UUID, held: Held) -> list[Named]:
    names = _add(conn, write, held.rows, operation_id, held)
    if isinstance(names, int):
        where = f"batch_entities[{names}]: " if write.type == "batch_insert" else ""
        columns = ", ".join(write.entity.key)
        message = f"{where}{columns}: duplicate key, {write.entity.table} has such a row"
        raise OnexError(EnumCoreErrorCode.CONFLICT, message)
    return names


def _update(conn: Connection[Any], write: Write, operation_id: UUID, held: Held) -> list[Named]:
    (fields,) = held.rows
    if write.expected_version is not None:
        check_version(held, write.expected_version)
    _set(conn, write, held, fields, clock(held.at, operation_id))
    return held.names


def _upsert(conn: Connection[Any], write: Write, operation_id: UUID, held: Held) -> list[Named]:
    (fields,) = held.rows
    if held.names:
        _set(conn, write, held, fields, clock(held.at, operation_id))
        return held.names
    if write.incomplete is not None:
        raise write.incomplete
    if write.entity.table in _BY_DAY:
        _check_time(UUID(fields["id"]), held)
    made = _add(conn, write, [fields], operation_id, held)
    if isinstance(made, int):
        raise pg.SerializationFailure("somebody inserted the row meanwhile")
    return made


def _delete(conn: Connection[Any], write: Write, operation_id: UUID, held: Held) -> list[Named]:
    if held.names:
        if write.entity.table == "workflow_executions":
            conn.execute(statement("release_stamps"), {"ids": [name.id for name in held.names]})
        conn.execute(statements.delete(write.entity_name), wanted(held.keys))
    return held.names


def _check_time(id_: UUID, held: Held) -> None:
    """Rows of a day are kept, and go, together: the id says of which one it is."""
    if not is_uuid7(id_):
        raise invalid("id: not a UUID of version 7, by whose time the row would be kept")
    if uuid7_millis(id_) > millis(held.at + held.limits.future_limit):
        message = "id: of a time further ahead of the database's clock than is taken"
        raise OnexError(EnumCoreErrorCode.FUTURE, message)


_EFFECTS: dict[WriteType, Callable[[Connection[Any], Write, UUID, Held], list[Named]]] = {
    "insert": _insert,
    "batch_insert": _insert,
    "update": _update,
    "upsert": _upsert,
    "delete": _delete,
}


def _set(conn: Connection[Any], write: Write, held: Held, fields: Row, said: str) -> None:
    """Set the fields of rows that are held, under the clock `said`."""
    entity, keys = write.entity, held.keys
    for position, name in enumerate(entity.key):
        if name in fields and any(key[position] != str(fields[name]) for key in keys):
            raise invalid(f"{name}: a key, which an update cannot change")
    if not keys:
        return
    columns = tuple(name for name in entity.columns if name in fields and name not in entity.key)
    values = {name: fields[name] for name in columns}
    parameters: dict[str, Any] = {"fields": orjson.dumps(values).decode(), **wanted(keys)}
    if entity.key != ("id",):
        clocks = orjson.dumps(_clocks(entity, values, said)).decode()
        parameters |= {"said": said, "clocks": clocks, **held.judging()}
    conn.execute(statements.update(write.entity_name, columns), parameters)


def _clocks(entity: Entity, fields: Mapping[str, Any], said: str) -> dict[str, str]:
    """The clock of each field. A workflow's start has none: it is the earliest that anybody gives."""
    clocks = {name: said for name in fields if name not in entity.key}
    if entity.table == "workflow_executions":
        clocks.pop("started_at", None)
        if "current_state" in clocks:
            clocks["current_state"] = workflow_state_clock(fields["current_state"], said)
    return clocks


def _add(conn: Connection[Any], write: Write, rows: Sequence[Row], operation_id: UUID, held: Held) -> list[Named] | int:
    """Insert rows. Returns their names, in order; or the position of the first whose key stands already."""
    entity = write.entity
    new = [
        {**entity.defaults, **row, **_own_columns(write, row, position, operation_id, held.at)}
        for position, row in enumerate(rows)
    ]
    keys = [tuple(str(row[name]) for name in entity.key) for row in new]
    seen: set[Key] = set()
    for position, key in enumerate(keys):
        if key in seen:
            return position
        seen.add(key)
    text = json_rows(new)
    cursor = conn.execute(statements.insert(write.entity_name), {"rows": text, **held.judging()})
    made = {name.key: name for name in (named(id_, key) for id_, *key in cursor.fetchall())}
    if len(made) < len(keys):
        return next(position for position, key in enumerate(keys) if key not in made)
    if entity.table == "fsm_transitions":
        conn.execute(statement("move_fsm_states"), {"rows": text})
    return [made[key] for key in keys]


def _own_columns(write: Write, row: Row, position: int, operation_id: UUID, at: datetime) -> Row:
    """What the store gives a new row: its id or its clocks. Transitions of a batch happen in its order."""
    entity = write.entity
    if entity.key != ("id",):
        return {"clocks": _first_clocks(entity, row, clock(at, operation_id))}
    id_ = operation_id
    if "id" in row:
        id_ = UUID(row["id"])
    elif write.type == "batch_insert":
        id_ = sibling_uuid7(operation_id, f"{operation_id}:{position}".encode())
    if entity.table != "fsm_transitions":
        return {"id": id_}
    moved_at = at + timedelta(microseconds=position)
    return {"id": id_, "transition_at": moved_at, "clock": fsm_state_clock(moved_at, row["to_state"], id_)}


def _first_clocks(entity: Entity, row: Row, said: str) -> dict[str, str]:
    if entity.table == "bridge_states":
        return {"snapshot": said}
    clocks = _clocks(entity, row, said)
    if entity.table == "node_registrations" and "health_status" in clocks:
        clocks.setdefault("last_heartbeat", "")  # not said with it: any heartbeat is newer
    return clocks


def _read(conn: Connection[Any], write: Write, keys: Sequence[Key]) -> list[str]:
    """The rows of these keys that there are, as JSON texts."""
    if not keys:
        return []
    return [row for (row,) in conn.execute(statements.read(write.entity_name), wanted(keys))]
