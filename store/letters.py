"""Working on dead letters: list, show, retry (repaired or as they are), discard."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from omninode_bridge.clock import derived_uuid7
from omninode_bridge.enums import EnumCoreErrorCode
from omninode_bridge.errors import OnexError, invalid
from omninode_bridge.events import map_record
from omninode_bridge.operation import Operation
from omninode_bridge.refusal import Refusal
from omninode_bridge.wire import Item, decode_operation
from store.batch import Limits, write
from store.statements import statement

LetterStatus = Literal["open", "retried", "discarded"]
_WHATEVER_TIME = timedelta(days=365 * 8000)  # a retried letter keeps its id, whose time bits may be the very fault


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter; `payload` only where the whole letter was asked for."""

    id: UUID
    digest: str
    operation_type: str | None
    correlation_id: UUID | None
    code: str
    message: str
    form: Literal["operation", "record"]
    source: str | None
    topic: str | None
    partition_key: str | None
    status: LetterStatus
    created_at: datetime
    resolved_at: datetime | None
    payload: str | None = None


def list_letters(
    conn: Connection[Any], *, status: LetterStatus | None = "open", code: str | None = None, rows_limit: int = 100
) -> list[Letter]:
    """The newest letters; `status` None lists them all."""
    with conn.cursor(row_factory=class_row(Letter)) as cursor:
        cursor.execute(statement("list_dead_letters"), {"status": status, "code": code, "rows_limit": rows_limit})
        return cursor.fetchall()


def find(conn: Connection[Any], id_: UUID, digest: str | None = None) -> Letter:
    """The letter of an id.

    Raises OnexError NOT_FOUND, or CONFLICT when the id has several letters and `digest` (its leading part) does not
    tell which.
    """
    with conn.cursor(row_factory=class_row(Letter)) as cursor:
        letters = cursor.execute(statement("find_dead_letters"), {"id": id_, "digest": digest}).fetchall()
    if not letters:
        raise OnexError(EnumCoreErrorCode.NOT_FOUND, f"no dead letter {id_}" + (f" {digest}" if digest else ""))
    if len(letters) > 1:
        digests = ", ".join(letter.digest[:8] for letter in letters)
        raise OnexError(
            EnumCoreErrorCode.CONFLICT, f"{id_} has {len(letters)} dead letters: name one by its digest ({digests})"
        )
    return letters[0]


def retry(conn: Connection[Any], letter: Letter, *, payload: str | None = None, limits: Limits | None = None) -> UUID:
    """Apply what the letter holds, or the repaired `payload` (JSON text) in its place, in one transaction.

    The operation keeps its id and its first digest, so a late delivery of the original answers "duplicate"; only a
    CONFLICT,
    whose id belongs to another operation, gets a derived id. Returns the operation's id.
    Raises OnexError VALIDATION_ERROR, FUTURE when it still cannot be applied, CONFLICT when the letter is no longer
    open:
    then everything stays as it was.
    """
    limits = limits or Limits()
    operation = _operation(letter, letter.payload if payload is None else payload)
    with conn.transaction():
        _hold(conn, letter)
        (now,) = conn.execute("select clock_timestamp()").fetchall()[0]
        if operation.occurred_at > now + limits.future_limit:
            raise OnexError(EnumCoreErrorCode.FUTURE, "occurred_at: still ahead of the database's clock")
        if letter.code != EnumCoreErrorCode.CONFLICT:
            conn.execute(statement("release_claim"), {"id": letter.id})
        (outcome,) = write(conn, [operation], replace(limits, future_limit=_WHATEVER_TIME))
        if not outcome.committed:
            raise OnexError(EnumCoreErrorCode(outcome.code or "INTERNAL_ERROR"), outcome.message or "refused again")
        conn.execute(statement("resolve_dead_letter"), {"id": letter.id, "digest": letter.digest, "status": "retried"})
    return operation.operation_id


def discard(conn: Connection[Any], letter: Letter) -> None:
    """Say that a letter needs no more work; its row stays.   Raises OnexError CONFLICT when it is no longer open."""
    with conn.transaction():
        _hold(conn, letter)
        conn.execute(
            statement("resolve_dead_letter"), {"id": letter.id, "digest": letter.digest, "status": "discarded"}
        )


def _hold(conn: Connection[Any], letter: Letter) -> None:
    row = conn.execute(statement("lock_dead_letter"), {"id": letter.id, "digest": letter.digest}).fetchone()
    if row is None or row[0] != "open":
        state = "gone" if row is None else row[0]
        raise OnexError(EnumCoreErrorCode.CONFLICT, f"dead letter {letter.id} is {state}, not open")


def _operation(letter: Letter, payload: str | None) -> Operation:
    try:
        value = json.loads(payload or "null")
    except ValueError as error:
        raise invalid(f"payload: not JSON: {error}") from None
    item = _parse(letter, value)
    if isinstance(item, Refusal):
        raise invalid(item.message)
    id_ = letter.id
    if letter.code == EnumCoreErrorCode.CONFLICT:
        id_ = derived_uuid7(item.occurred_at, f"{letter.id}:{letter.digest}".encode())
    return item.model_copy(update={"operation_id": id_, "digest": letter.digest})


def _parse(letter: Letter, value: object) -> Item:
    if letter.form == "record":
        # A record without a time of its own got the bus's, which is still in the id that was derived from it.
        return map_record(letter.topic or "", letter.partition_key, value, timestamp=(letter.id.int >> 80) or None)
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key not in ("operation_id", "digest")}
    return decode_operation(value, seed=str(letter.id), operation_type=letter.operation_type)
