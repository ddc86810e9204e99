"""Working on dead letters: list, show, retry (repaired or as they are), discard."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg import Connection, DataError
from psycopg.rows import class_row
from pydantic import ValidationError

from omninode_bridge.bus.envelope import FLEET_SERVICE, ModelOnexEnvelopeV1
from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.clock import derived_uuid7
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.query_operation import AnswerQueryData
from omninode_bridge.contract.refusal import Refusal, is_cut
from omninode_bridge.contract.values import check_json
from omninode_bridge.contract.wire import Item, decode_operation, error_text
from omninode_bridge.intents.intents import intent_item
from store.database.errors import Fate, condition_of, fate_of, refusal_message
from store.database.statements import statements_beside
from store.outbox import outbox
from store.outbox.announcements import Announcement, of_envelope
from store.write import attempts
from store.write.batch import Limits, write

statement = statements_beside(__file__)

LetterStatus = Literal["open", "retried", "discarded"]
# A retried letter keeps its id, whose time bits may be the very fault, or grew old.
_WHATEVER_TIME = timedelta(days=365 * 8000)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter; `payload` only where the whole letter was asked for."""

    id: UUID
    digest: str
    operation_type: str | None
    correlation_id: UUID | None
    code: str
    message: str
    form: Literal["operation", "record", "event"]
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


def open_in_order(conn: Connection[Any], *, code: str | None = None) -> list[tuple[UUID, str]]:
    """Id and digest of every open letter, in the order in which they are to be retried.

    The oldest first; behind them events, in the order in which they had been committed.
    """
    return conn.execute(statement("open_letters_in_order"), {"code": code}).fetchall()


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
    CONFLICT, whose id belongs to another operation, gets a derived id. An event that the bus refused goes into the
    outbox again, under its id and to its topic, behind everything of its shard. Returns the id.
    Raises OnexError VALIDATION_ERROR, FUTURE, POISON when it still cannot be applied, CONFLICT when the letter is no
    longer open: then everything stays as it was.
    """
    if letter.form == "event":
        return _send_again(conn, letter, letter.payload if payload is None else payload)
    if letter.operation_type == AnswerQueryData.OPERATION_TYPE:
        raise invalid("operation_type: a query's refusal was its answer; whoever still wants to know asks anew")
    limits = limits or Limits()
    operation = _operation(letter, letter.payload if payload is None else payload)
    with conn.transaction():
        _hold(conn, letter)
        (now,) = conn.execute("select clock_timestamp()").fetchall()[0]
        if operation.occurred_at > now + limits.future_limit:
            raise OnexError(EnumCoreErrorCode.FUTURE, "occurred_at: still ahead of the database's clock")
        if letter.code != EnumCoreErrorCode.CONFLICT:
            conn.execute(statement("release_claim"), {"id": letter.id})
        attempts.forget(conn, [letter.id])
        outcome = _written(conn, operation, replace(limits, future_limit=_WHATEVER_TIME, horizon=_WHATEVER_TIME))
        if not outcome.committed:
            raise OnexError(EnumCoreErrorCode(outcome.code or "INTERNAL_ERROR"), outcome.message or "refused again")
        conn.execute(statement("resolve_dead_letter"), {"id": letter.id, "digest": letter.digest, "status": "retried"})
    return operation.operation_id


def _written(conn: Connection[Any], operation: Operation, limits: Limits) -> Outcome:
    """Raises OnexError POISON for what PostgreSQL still fails at: it may be this operation, or all of them."""
    try:
        (outcome,) = write(conn, [operation], limits)
    except Exception as error:
        if fate_of(error) is not Fate.SUSPECT:
            raise
        message = f"operation: PostgreSQL failed at it: {condition_of(error)}"
        raise OnexError(EnumCoreErrorCode.POISON, message) from error
    return outcome


def _send_again(conn: Connection[Any], letter: Letter, payload: str | None) -> UUID:
    announcement = _announcement(letter, _value(payload))
    try:
        with conn.transaction():
            _hold(conn, letter)
            if not outbox.requeue(conn, announcement):
                raise OnexError(EnumCoreErrorCode.CONFLICT, f"event {letter.id} is not one that the bus refused")
            conn.execute(
                statement("resolve_dead_letter"), {"id": letter.id, "digest": letter.digest, "status": "retried"}
            )
    except DataError as error:
        raise invalid(refusal_message(error)) from error
    return letter.id


def _announcement(letter: Letter, value: object) -> Announcement:
    """The event that a letter holds, repaired by `value`; id and topic stay.

    What was in an envelope stays in it, and the fleet's: `value` is that envelope, known by its version, or some of its
    fields, or else the payload.
    """
    assert letter.topic is not None and letter.partition_key is not None  # what the outbox held had both
    if not isinstance(value, dict):
        raise invalid("payload: not a JSON object")
    try:
        check_json(value)
        held = _value(letter.payload)
        if isinstance(held, dict) and "envelope_version" in held:
            repair = value if "envelope_version" in value else {"payload": value}
            own = {"event_id": str(letter.id), "source_service": FLEET_SERVICE}
            envelope = ModelOnexEnvelopeV1.model_validate(held | repair | own)
            return of_envelope(letter.id, envelope, topic=letter.topic)
    except ValidationError as error:
        raise invalid(error_text(error)) from error
    except ValueError as error:
        raise invalid(f"payload: {error}") from error
    event_type = letter.operation_type or ""
    trace = letter.correlation_id
    return Announcement(letter.id, event_type, letter.topic, letter.partition_key, trace, None, value, None)


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
    item = _parse(letter, _value(payload))
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
    if isinstance(value, Mapping) and "intent_type" in value:
        return intent_item(value)
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key not in ("operation_id", "digest")}
    return decode_operation(value, seed=str(letter.id), operation_type=letter.operation_type)


def _value(payload: str | None) -> object:
    try:
        return json.loads(payload or "null")
    except ValueError as error:
        if is_cut(payload or ""):
            message = "payload: only its beginning was kept; to retry it, give the whole one (--payload)"
            raise invalid(message) from None
        raise invalid(f"payload: not JSON: {error}") from None
    except RecursionError:
        raise invalid("payload: nested too deep") from None
