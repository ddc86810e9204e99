"""The ledger: which operation ids count already.

An id is claimed in the transaction of its effect, so the two are there together or not at all. A claim that waits for
another transaction's claim of the same id sees how that one ended. Everything else follows from the digest: the same
id with the same
content is a duplicate, with other content a conflict, and the first to be claimed counts.

Most rows would know an operation again that the ledger has forgotten. A sum would not: what is added to one counts by
the ledger alone, and is refused once its id is older than the ledger's memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection, Cursor

from omninode_bridge.contract.clock import millis, uuid7_millis, uuid_hex
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.operation_types import OPERATION_CLASSES
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import Item, operation_digest, refusal_of
from store.database.rows import rows
from store.database.statements import statements_beside
from store.write.families import FAMILIES

statement = statements_beside(__file__)

# What nothing but the ledger keeps from counting twice.
LEDGER_ONLY = frozenset(name for family in FAMILIES for name in family.ledger_only)


class Entry(NamedTuple):
    """What the ledger says of an id."""

    digest: str
    outcome: str
    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch after its claim.

    outcomes  one per item, in order
    fresh     the items whose ids were taken now: operations to apply, refusals to keep
    refused   what the claim itself found wrong (CONFLICT, FUTURE, TOO_OLD), to keep
    """

    outcomes: list[Outcome]
    fresh: list[Item]
    refused: list[Refusal]


class Write(NamedTuple):
    """A generic write, as the ledger knows it: what it answers is remembered with its id."""

    operation_id: UUID
    correlation_id: UUID | None
    digest: str


class Answered(NamedTuple):
    """What a write is to be answered whose id could not be claimed; `digest` is None where nobody has claimed it."""

    digest: str | None
    code: str | None
    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Of an operation's time, around the database's clock."""

    future_limit: timedelta
    horizon: timedelta


def claim(cursor: Cursor[Any], batch: Sequence[Item], *, future_limit: timedelta, horizon: timedelta) -> Claimed:
    """Take the batch's ids in the ledger, once each.

    future_limit  how far ahead of the database's clock an operation's time may lie
    horizon       how long the ledger remembers
    """
    bounds = _Bounds(future_limit, horizon)
    offered = [_Offer(uuid_hex(item.operation_id), _digest(item), item) for item in batch]
    first: dict[str, _Offer] = {}
    for offer in offered:
        first.setdefault(offer.key, offer)
    candidates = [first[key] for key in sorted(first)]
    taken = _take(cursor, candidates, bounds)
    fresh = [offer.item for offer in candidates if offer.key in taken]
    if len(taken) == len(offered) and not any(isinstance(item, Refusal) for item in fresh):
        return Claimed([Outcome(item.operation_id, "applied") for item in batch], fresh, [])
    standing = _known(cursor, [offer.key for offer in candidates if offer.key not in taken])
    outside = [offer for offer in candidates if offer.key not in taken and offer.key not in standing]
    letters = _refuse(cursor, outside, bounds)
    standing |= {key: _entry(letter, letter.digest) for key, letter in letters.items()}
    standing |= _known(cursor, [offer.key for offer in outside if offer.key not in letters])
    standing |= {offer.key: _entry(offer.item, offer.digest) for offer in candidates if offer.key in taken}
    refused = {(key, letter.digest): letter for key, letter in letters.items()}
    outcomes: list[Outcome] = []
    for offer in offered:
        is_new = offer.key in taken and first[offer.key] is offer
        outcomes.append(_outcome(offer, standing[offer.key], is_new=is_new, refused=refused))
    return Claimed(outcomes, fresh, list(refused.values()))


def first_known(conn: Connection[Any], operation_ids: Sequence[UUID]) -> UUID | None:
    """The first of these ids that was claimed; another transaction may be about to claim one."""
    with conn.cursor() as cursor:
        known = _known(cursor, [uuid_hex(id_) for id_ in operation_ids])
    return next((id_ for id_ in operation_ids if uuid_hex(id_) in known), None)


def _outcome(offer: "_Offer", entry: Entry, *, is_new: bool, refused: dict[tuple[str, str], Refusal]) -> Outcome:
    """What to answer, given what the ledger says of the id; conflicts are added to `refused`."""
    id_ = offer.item.operation_id
    if offer.digest != entry.digest:
        letter = refused.setdefault((offer.key, offer.digest), _conflict(offer))
        return Outcome(id_, "refused", letter.code, letter.message)
    if entry.outcome == "refused":
        return Outcome(id_, "refused", entry.code, entry.message)
    return Outcome(id_, "applied" if is_new else "duplicate")


def claim_write(
    cursor: Cursor[Any], write: Write, *, code: str | None, future_limit: timedelta, horizon: timedelta
) -> None:
    """Take a generic write's id, with the code of its refusal where it is refused. The cursor has a row if it was free:
    who has more to send fetches it afterwards.
    """
    when = uuid7_millis(write.operation_id) if code is None else None  # a refusal is kept whatever its time
    row = {
        "i": write.operation_id,
        "c": write.correlation_id,
        "t": "database_operation",
        "d": write.digest,
        "e": code,
        "l": when,
        "o": when,
    }
    limits = {"future_limit_ms": in_millis(future_limit), "horizon_ms": in_millis(horizon)}
    cursor.execute(statement("claim"), {"rows": rows([row])} | limits)


def answered(cursor: Cursor[Any], write: Write, *, horizon: timedelta) -> Answered:
    """What the ledger says of a write whose id could not be claimed; or else what is wrong with its time."""
    cursor.execute(statement("answered_before"), {"id": write.operation_id, "horizon": horizon})
    ((digest, code, result, is_old),) = cursor.fetchall()
    if digest is not None:
        return Answered(digest, code, result)
    if is_old:
        return Answered(None, EnumCoreErrorCode.TOO_OLD, {"message": _too_old_text(horizon)})
    message = "operation_id: of a time further ahead of the database's clock than is taken"
    return Answered(None, EnumCoreErrorCode.FUTURE, {"message": message})


class _Offer(NamedTuple):
    """An item with its id as 32 digits."""

    key: str
    digest: str
    item: Item


def _take(cursor: Cursor[Any], candidates: Sequence[_Offer], bounds: _Bounds) -> set[str]:
    """Claim ids. Returns those taken: of refusals whatever their time."""
    limits = {"future_limit_ms": in_millis(bounds.future_limit), "horizon_ms": in_millis(bounds.horizon)}
    cursor.execute(statement("claim"), {"rows": "[" + ",".join(map(_claim_row, candidates)) + "]"} | limits)
    return {key for (key,) in cursor.fetchall()}


def _claim_row(offer: _Offer) -> str:
    item = offer.item
    trace = f',"c":"{item.correlation_id}"' if item.correlation_id is not None else ""
    if isinstance(item, Refusal):
        kind = item.refused_type if item.refused_type in OPERATION_CLASSES else "unknown"
        return f'{{"i":"{offer.key}","d":"{offer.digest}","t":"{kind}","e":"{EnumCoreErrorCode(item.code)}"{trace}}}'
    when = f',"l":{_latest_ms(item)}'
    if item.operation_type in LEDGER_ONLY:
        when += f',"o":{uuid7_millis(item.operation_id)}'
    return f'{{"i":"{offer.key}","d":"{offer.digest}","t":"{item.operation_type}"{trace}{when}}}'


def _latest_ms(operation: Operation) -> int:
    """The later of when it happened and when its id says that it was made: neither may lie ahead."""
    return max(millis(operation.occurred_at), uuid7_millis(operation.operation_id))


def in_millis(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _known(cursor: Cursor[Any], keys: Sequence[str]) -> dict[str, Entry]:
    if not keys:
        return {}
    cursor.execute(statement("claimed_before"), {"ids": list(keys)})
    return {key: Entry(*entry) for key, *entry in cursor.fetchall()}


def _entry(item: Item, digest: str) -> Entry:
    """What the ledger says of an item that was claimed just now."""
    if isinstance(item, Refusal):
        return Entry(digest, "refused", item.code, item.message)
    return Entry(digest, "applied", None, None)


def _digest(item: Item) -> str:
    return item.digest or operation_digest(item) if isinstance(item, Operation) else item.digest


def _refuse(cursor: Cursor[Any], outside: Sequence[_Offer], bounds: _Bounds) -> dict[str, Refusal]:
    """The refusals, by id, of operations whose time is out of bounds; not of those that another took meanwhile."""
    if not outside:
        return {}
    cursor.execute(statement("read_clock"))
    ((now_ms,),) = cursor.fetchall()
    oldest_ms = now_ms - in_millis(bounds.horizon)
    letters = [_too_old(offer, bounds.horizon) if _is_beyond(offer, oldest_ms) else _future(offer) for offer in outside]
    offers = [_Offer(offer.key, letter.digest, letter) for offer, letter in zip(outside, letters, strict=True)]
    taken = _take(cursor, offers, bounds)
    return {offer.key: letter for offer, letter in zip(offers, letters, strict=True) if offer.key in taken}


def _is_beyond(offer: _Offer, oldest_ms: int) -> bool:
    item = offer.item
    return item.operation_type in LEDGER_ONLY and uuid7_millis(item.operation_id) < oldest_ms


def _too_old(offer: _Offer, horizon: timedelta) -> Refusal:
    return refusal_of(offer.item, EnumCoreErrorCode.TOO_OLD, _too_old_text(horizon), offer.digest)


def _too_old_text(horizon: timedelta) -> str:
    remembered = f"{horizon / timedelta(days=1):g} days"
    return f"operation_id: of a time that the ledger, which remembers {remembered}, has forgotten"


def _future(offer: _Offer) -> Refusal:
    message = "occurred_at: further ahead of the database's clock than is taken"
    return refusal_of(offer.item, EnumCoreErrorCode.FUTURE, message, offer.digest)


def _conflict(offer: _Offer) -> Refusal:
    message = "operation_id: already used for other content"
    return refusal_of(offer.item, EnumCoreErrorCode.CONFLICT, message, offer.digest)
