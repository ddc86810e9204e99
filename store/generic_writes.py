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

from omninode_bridge.clock import clock, fsm_state_clock, sibling_uuid7, workflow_state_clock
from omninode_bridge.enums import EnumCoreErrorCode
from omninode_bridge.errors import OnexError, invalid, quoted
from store import generic_statements, ledger
from store.apply import again, outage_of
from store.batch import Limits, transaction
from store.entities import Entity
from store.generic_errors import refusal_of
from store.generic_requests import Write, WriteType, parse
from store.liveness import Thresholds
from store.rows import rows as json_rows
from store.session import limit_of
from store.statements import statement

SHOWN_NAMESPACES = 10  # of a bridge, in a message
_Key = tuple[str, ...]
_Row = dict[str, Any]
_CHILDREN = ("workflow_steps", "metadata_stamps")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a generic write answers when it succeeds."""

    rows_affected: int
    result_data: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """timeout_ms  of each statement, and of waiting for others; max_bytes  of the rows in an answer"""

    limits: Limits
    timeout_ms: int
    max_bytes: int


def carry_out(
    conn: Connection[Any], write_type: WriteType, request: Mapping[str, Any], *, claim: ledger.Write, bounds: Bounds
) -> Answer:
    """Make the write's effect once, however often it is asked for; `conn` is in autocommit mode.

    Raises OnexError for a write that is refused, the same one every time; TIMEOUT and INTERNAL_ERROR for one that may
    be asked for again; Outage when the database is away.
    """
    late = _deadline(bounds.timeout_ms)
    wanted: Write | None = None
    answer: Answer | OnexError
    try:
        wanted = write = parse(write_type, request)
        answer = again(lambda: _write(conn, write, claim, bounds), give_up=late)
    except Exception as error:
        refusal = refusal_of(error, bounds.timeout_ms)
        try:
            answer = again(lambda: _refuse(conn, write_type, wanted, refusal, claim, bounds))
        except psycopg.Error as failure:
            raise outage_of(failure) from failure  # it could not even be kept: whoever sent it sends it again
    if isinstance(answer, OnexError):
        raise answer
    return answer


def _deadline(timeout_ms: int) -> Callable[[], bool]:
    until = time.monotonic() + timeout_ms / 1000
    return lambda: time.monotonic() > until


def _write(conn: Connection[Any], write: Write, claim: ledger.Write, bounds: Bounds) -> Answer | OnexError:
    """The transaction. Returns an error where the ledger says that the write was refused before."""
    with transaction(conn), conn.cursor() as cursor:
        if limit_of(conn) != bounds.timeout_ms:
            cursor.execute(statement("limit_statements"), {"timeout_ms": str(bounds.timeout_ms)})
        _claim(cursor, claim, None, bounds)
        asked = _ask(conn, write)  # sent with the claim, so that all of it is one wait
        if cursor.fetchone() is None:
            return _answered(conn, write.type, write, claim, bounds)
        keys = _EFFECTS[write.type](conn, write, claim.operation_id, _hold(write, asked, bounds))
        kept: dict[str, Any] = {"rows_affected": len(keys)}
        if write.returning or write.type not in ("update", "delete"):
            kept["keys"] = keys
        conn.execute(statement("keep_result"), {"id": claim.operation_id, "result": orjson.dumps(kept).decode()})
        rows = _read(conn, write, keys) if write.returning else None
        if rows is not None and (size := len(orjson.dumps(rows))) > bounds.max_bytes:
            raise invalid(f"returning: the rows have {size} bytes, which exceeds maximum of {bounds.max_bytes}")
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
    rows = _read(conn, write, keys) if write is not None and write.returning else None
    return _answer(write_type, kept, rows)


def _answer(write_type: WriteType, kept: Mapping[str, Any], rows: list[_Row] | None) -> Answer:
    result: dict[str, Any] = {}
    if write_type == "batch_insert":
        result["ids"] = [key[0] for key in kept["keys"]]
    elif write_type in ("insert", "upsert"):
        result["id"] = kept["keys"][0][0]
    if rows is not None:
        result["rows"] = rows
    return Answer(kept["rows_affected"], result or None)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Cursors of what a write locks and looks up before it changes anything.

    standing  the clock after that, and of each row that stands its version and key
    """

    parents: psycopg.Cursor[Any] | None
    standing: psycopg.Cursor[Any]


@dataclass(frozen=True, slots=True)
class _Held:
    """What a write has locked.

    rows            what is to be written, with the ids of the workflows that were named
    versions, keys  of the rows that stand, in key order
    at              the time after the locks
    liveness        what a node's silence means
    """

    rows: Sequence[_Row]
    versions: list[int]
    keys: list[_Key]
    at: datetime
    liveness: Thresholds

    def judging(self) -> dict[str, Any]:
        """Parameters of the statements that judge how long a node has been silent."""
        return {"at": self.at, **self.liveness.as_parameters()}


def _insert(conn: Connection[Any], write: Write, operation_id: UUID, held: _Held) -> list[_Key]:
    keys = _add(conn, write, held.rows, operation_id, held)
    if isinstance(keys, int):
        where = f"batch_entities[{keys}]: " if write.type == "batch_insert" else ""
        columns = ", ".join(write.entity.key)
        message = f"{where}{columns}: duplicate key, {write.entity.table} has such a row"
        raise OnexError(EnumCoreErrorCode.CONFLICT, message)
    return keys


def _update(conn: Connection[Any], write: Write, operation_id: UUID, held: _Held) -> list[_Key]:
    (fields,) = held.rows
    if write.expected_version is not None:
        _check_version(held, write.expected_version)
    _set(conn, write, held, fields, clock(held.at, operation_id))
    return held.keys


def _upsert(conn: Connection[Any], write: Write, operation_id: UUID, held: _Held) -> list[_Key]:
    (fields,) = held.rows
    if held.keys:
        _set(conn, write, held, fields, clock(held.at, operation_id))
        return held.keys
    if write.incomplete is not None:
        raise write.incomplete
    made = _add(conn, write, [fields], operation_id, held)
    if isinstance(made, int):
        raise pg.SerializationFailure("somebody inserted the row meanwhile")
    return made


def _delete(conn: Connection[Any], write: Write, operation_id: UUID, held: _Held) -> list[_Key]:
    if held.keys:
        conn.execute(generic_statements.delete(write.entity_name), _wanted(held.keys))
    return held.keys


_EFFECTS: dict[WriteType, Callable[[Connection[Any], Write, UUID, _Held], list[_Key]]] = {
    "insert": _insert,
    "batch_insert": _insert,
    "update": _update,
    "upsert": _upsert,
    "delete": _delete,
}


def _ask(conn: Connection[Any], write: Write) -> _Asked:
    """Lock the workflows that rows name, then the rows that the write is about, and read the clock after that."""
    named = sorted(_parents_named(write))
    parents = conn.execute(statement("find_parents"), {"ids": named}) if named else None
    if write.type in ("insert", "batch_insert"):
        return _Asked(parents, conn.execute("select clock_timestamp(), null"))
    condition, values = write.found_by
    text = generic_statements.lock(write.entity_name, condition, to_delete=write.type == "delete")
    return _Asked(parents, conn.execute(text, values))


def _hold(write: Write, asked: _Asked, bounds: Bounds) -> _Held:
    """Raises OnexError for a workflow that is not there, too many rows, and a bridge of several namespaces."""
    rows = _with_parents(write, asked.parents)
    standing = asked.standing.fetchall()
    held = [(version, tuple(map(str, key))) for _, version, *key in standing if version is not None]
    if len(held) > generic_statements.MAX_ROWS:
        raise invalid(f"query_filters: the number of rows exceeds maximum of {generic_statements.MAX_ROWS}")
    if write.one_bridge and len(held) > 1:
        shown = ", ".join(quoted(namespace) for _, (_, namespace) in held[:SHOWN_NAMESPACES])
        more = ", ..." if len(held) > SHOWN_NAMESPACES else ""
        message = f"bridge_id: {len(held)} bridge states, name one by its namespace: {shown}{more}"
        raise OnexError(EnumCoreErrorCode.CONFLICT, message)
    at = standing[0][0]
    return _Held(rows, [version for version, _ in held], [key for _, key in held], at, bounds.limits.liveness)


def _check_version(held: _Held, expected: int) -> None:
    if not held.keys:
        raise OnexError(EnumCoreErrorCode.NOT_FOUND, "expected_version: no row is found by query_filters")
    if len(held.keys) > 1:
        message = f"expected_version: {len(held.keys)} rows are found by query_filters, it is about one"
        raise OnexError(EnumCoreErrorCode.CONFLICT, message)
    if held.versions[0] != expected:
        message = f"expected_version: {expected} was expected, the row has version {held.versions[0]}"
        raise OnexError(EnumCoreErrorCode.CONFLICT, message)


def _set(conn: Connection[Any], write: Write, held: _Held, fields: _Row, said: str) -> None:
    """Set the fields of rows that are held, under the clock `said`."""
    entity, keys = write.entity, held.keys
    for position, name in enumerate(entity.key):
        if name in fields and any(key[position] != str(fields[name]) for key in keys):
            raise invalid(f"{name}: a key, which an update cannot change")
    if not keys:
        return
    columns = tuple(name for name in entity.columns if name in fields and name not in entity.key)
    values = {name: fields[name] for name in columns}
    parameters: dict[str, Any] = {"fields": orjson.dumps(values).decode(), **_wanted(keys)}
    if entity.key != ("id",):
        clocks = orjson.dumps(_clocks(entity, values, said)).decode()
        parameters |= {"said": said, "clocks": clocks, **held.judging()}
    conn.execute(generic_statements.update(write.entity_name, columns), parameters)


def _clocks(entity: Entity, fields: Mapping[str, Any], said: str) -> dict[str, str]:
    """The clock of each field. A workflow's start has none: it is the earliest that anybody gives."""
    clocks = {name: said for name in fields if name not in entity.key}
    if entity.table == "workflow_executions":
        clocks.pop("started_at", None)
        if "current_state" in clocks:
            clocks["current_state"] = workflow_state_clock(fields["current_state"], said)
    return clocks


def _add(
    conn: Connection[Any], write: Write, rows: Sequence[_Row], operation_id: UUID, held: _Held
) -> list[_Key] | int:
    """Insert rows. Returns their keys, in order; or the position of the first whose key stands already."""
    entity = write.entity
    new = [
        {**entity.defaults, **row, **_own_columns(write, row, position, operation_id, held.at)}
        for position, row in enumerate(rows)
    ]
    keys = [tuple(str(row[name]) for name in entity.key) for row in new]
    seen: set[_Key] = set()
    for position, key in enumerate(keys):
        if key in seen:
            return position
        seen.add(key)
    text = json_rows(new)
    cursor = conn.execute(generic_statements.insert(write.entity_name), {"rows": text, **held.judging()})
    made = {tuple(map(str, key)) for key in cursor.fetchall()}
    if len(made) < len(keys):
        return next(position for position, key in enumerate(keys) if key not in made)
    if entity.table == "fsm_transitions":
        conn.execute(statement("move_fsm_states"), {"rows": text})
    return keys


def _own_columns(write: Write, row: _Row, position: int, operation_id: UUID, at: datetime) -> _Row:
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


def _first_clocks(entity: Entity, row: _Row, said: str) -> dict[str, str]:
    if entity.table == "bridge_states":
        return {"snapshot": said}
    clocks = _clocks(entity, row, said)
    if entity.table == "node_registrations" and "health_status" in clocks:
        clocks.setdefault("last_heartbeat", "")  # not said with it: any heartbeat is newer
    return clocks


def _rows_given(write: Write) -> Sequence[_Row]:
    return write.rows if write.type in ("insert", "batch_insert") else (write.fields,)


def _parents_named(write: Write) -> set[str]:
    if write.entity.table not in _CHILDREN:
        return set()
    return {row["workflow_id"] for row in _rows_given(write) if row.get("workflow_id") is not None}


def _with_parents(write: Write, found: psycopg.Cursor[Any] | None) -> Sequence[_Row]:
    """The rows given, with the ids of the workflows that they name. Raises OnexError NOT_FOUND."""
    rows = _rows_given(write)
    if found is None:
        return rows
    pairs = found.fetchall()
    parents = {str(id_): str(id_) for _, id_ in pairs} | {str(workflow): str(id_) for workflow, id_ in pairs}
    for id_ in sorted(_parents_named(write)):
        if id_ not in parents:
            raise OnexError(EnumCoreErrorCode.NOT_FOUND, f"workflow_id: no workflow {id_}")
    return [
        {**row, "workflow_id": parents[row["workflow_id"]]} if row.get("workflow_id") is not None else row
        for row in rows
    ]


def _read(conn: Connection[Any], write: Write, keys: Sequence[_Key]) -> list[_Row]:
    """The rows of these keys that there are."""
    if not keys:
        return []
    return [row for (row,) in conn.execute(generic_statements.read(write.entity_name), _wanted(keys))]


def _wanted(keys: Sequence[_Key]) -> dict[str, list[str]]:
    return {f"key_{n}": list(column) for n, column in enumerate(zip(*keys, strict=True))}
