"""The outbox: events that wait to go out, in the order in which they were committed.

    append                     in the transaction of what is announced: lock the shards, take seq, nudge
    take_shards -> pending -> settle -> release_shards         a relay's round; docs/outbox.md is the whole story

A key belongs to one shard. Who appends to a shard holds its lock from before seq is taken until the commit, so a reader
that sees a seq sees every lower one of that shard. Who publishes from a shard holds another lock of it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import orjson
from psycopg import Connection, Cursor, sql

from omninode_bridge.bus.envelope import ModelOnexEnvelopeV1
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.wire import content_digest
from store.database.rows import rows
from store.database.statements import statements_beside
from store.outbox.announcements import Announcement

statement = statements_beside(__file__)

SHARDS = 64  # as many relays can share the work; a batch locks at most that many
CHANNEL = "omninode_outbox"  # something was appended
PUBLISHED_CHANNEL = "omninode_published"  # these events were published
BYTES_LIMIT = 8 << 20  # of JSON in a read; a batch of 500 events of 16 KiB is still whole
APPENDING = 0x4F555441  # the class of the advisory locks of who appends to a shard,
PUBLISHING = 0x4F555450  # and of who publishes from it; no other lock of the fleet is of these

_ENVELOPE_FIELDS = tuple(ModelOnexEnvelopeV1.model_fields)


class PendingEvent(NamedTuple):
    """An event that waits; `envelope` is None where the record is the payload alone."""

    id: UUID
    seq: int
    event_type: str
    topic: str
    partition_key: str
    payload: dict[str, Any]
    envelope: dict[str, Any] | None
    attempts: int
    created_at: datetime

    def value(self) -> bytes:
        """The record: UTF-8 JSON, an envelope's fields in their order."""
        if self.envelope is None:
            return orjson.dumps(self.payload)
        fields = self.envelope | {"payload": self.payload}
        return orjson.dumps({name: fields.get(name) for name in _ENVELOPE_FIELDS})

    def headers(self) -> dict[str, str]:
        """By `event_id` a consumer knows what it has seen already."""
        return {"event_id": str(self.id), "event_type": self.event_type}


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """pending events, the age of the first of them in seconds, and refused ones that wait for somebody."""

    pending: int
    oldest_s: float | None
    refused: int


def shard_of(key: str) -> int:
    """The shard of a partition key: the same in every process, and for ever."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) % SHARDS


def rows_of(announcements: Sequence[Announcement]) -> str | None:
    """The rows of `append_outbox`."""
    if not announcements:
        return None
    return rows({"position": position, **_row(one)} for position, one in enumerate(announcements))


def _row(announcement: Announcement) -> dict[str, Any]:
    return announcement._asdict() | {"shard": shard_of(announcement.partition_key)}


def statements_of(announcements: Sequence[Announcement]) -> list[tuple[LiteralString, dict[str, Any]]]:
    """What is to be run to put events into the outbox: (text of a statement, parameters), in this order.

    They are to be the last of their transaction. Who waits for a shard here then wants nothing more, so nobody can wait
    in a circle; and the shards are held from before seq is taken until the commit.
    """
    rows_text = rows_of(announcements)
    if rows_text is None:
        return []
    shards = sorted({shard_of(one.partition_key) for one in announcements})
    return [
        (statement("lock_outbox"), {"class": APPENDING, "shards": shards}),
        (statement("append_outbox"), {"rows": rows_text}),
        (statement("nudge_outbox"), {"channel": CHANNEL}),
    ]


def append(cursor: Connection[Any] | Cursor[Any], announcements: Sequence[Announcement]) -> None:
    """Put events into the outbox: the last thing that the caller's transaction does before its commit."""
    for text, parameters in statements_of(announcements):
        cursor.execute(text, parameters)


def take_shards(conn: Connection[Any], wanted: Sequence[int]) -> list[int]:
    """Those of the shards that nobody else publishes from: ours until they are released or the connection ends."""
    found = conn.execute(statement("take_outbox"), {"class": PUBLISHING, "shards": list(wanted)})
    return [shard for (shard,) in found]


def release_shards(conn: Connection[Any], shards: Sequence[int]) -> None:
    """Let others publish from shards that `take_shards` gave."""
    conn.execute(statement("release_outbox"), {"class": PUBLISHING, "shards": list(shards)})


def pending(
    conn: Connection[Any],
    shards: Sequence[int],
    *,
    rows_limit: int,
    bytes_limit: int = BYTES_LIMIT,
    without: Sequence[str] = (),
) -> list[PendingEvent]:
    """The next events of shards that are ours, in the order of seq.

    No more than about `bytes_limit` of them: one that is larger comes alone.
    without  topics that are left out
    """
    wanted = {"shards": list(shards), "rows_limit": rows_limit, "bytes_limit": bytes_limit}
    if without:
        found = conn.execute(statement("pending_outbox_without"), wanted | {"without": list(without)})
    else:
        found = conn.execute(statement("pending_outbox"), wanted)
    return [PendingEvent(*row) for row in found]


def settle(conn: Connection[Any], *, published: Sequence[UUID], refused: Sequence[tuple[PendingEvent, str]]) -> None:
    """Note what became of events, in one transaction: the bus has them, or it will never take them, and why.

    Who listens for it hears at the commit which are published. A refused one becomes a dead letter; `letters.retry`
    sends it out again.
    """
    with conn.transaction(), conn.pipeline():
        if published:
            conn.execute(statement("settle_outbox"), {"ids": list(published), "status": "published"})
            conn.execute(statement("tell_published"), {"channel": PUBLISHED_CHANNEL, "ids": list(published)})
        if refused:
            ids = [event.id for event, _ in refused]
            conn.execute(statement("settle_outbox"), {"ids": ids, "status": "refused"})
            letters = rows(_letter(event, reason) for event, reason in refused)
            conn.execute(statement("keep_event_letters"), {"rows": letters})


def settle_at_once(conn: Connection[Any]) -> None:
    """From now on this connection's commits do not wait for the disk: what a crash takes back is published again."""
    conn.execute("set synchronous_commit to off")


def _letter(event: PendingEvent, reason: str) -> dict[str, Any]:
    return {
        "id": event.id,
        "digest": content_digest(str(event.id)),  # one letter an event, whatever a repair made of its content
        "operation_type": event.event_type,
        "correlation_id": (event.envelope or {}).get("correlation_id"),
        "code": EnumCoreErrorCode.VALIDATION_ERROR,
        "message": reason,
        "payload": event.value().decode(),
        "form": "event",
        "source": "relay",
        "topic": event.topic,
        "partition_key": event.partition_key,
    }


def requeue(conn: Connection[Any], announcement: Announcement) -> bool:
    """Send out again an event that the bus refused, in the caller's transaction; False when it is not a refused one.

    It goes behind everything of its shard. An event whose row is gone is appended anew.
    """
    shard = shard_of(announcement.partition_key)
    conn.execute(statement("lock_outbox"), {"class": APPENDING, "shards": [shard]})
    row = conn.execute(statement("requeue_event"), {"rows": rows([_row(announcement)])}).fetchone()
    conn.execute(statement("nudge_outbox"), {"channel": CHANNEL})
    return row is not None


def ends(conn: Connection[Any], ids: Sequence[UUID]) -> dict[UUID, bool]:
    """Of those events that wait no more: whether the bus has them; those that it has not were refused."""
    return dict(conn.execute(statement("ends_outbox"), {"ids": list(ids)}).fetchall())


def depth(conn: Connection[Any]) -> OutboxDepth:
    """How much waits."""
    row = conn.execute(statement("outbox_depth")).fetchone()
    assert row is not None
    return OutboxDepth(*row)


def listen(conn: Connection[Any], channel: str = CHANNEL) -> None:
    """Hear from now on what is told there; `conn` is in autocommit mode, and no pooler stands before it."""
    conn.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))


def wait(conn: Connection[Any], timeout_s: float) -> bool:
    """Wait until somebody has appended, or for `timeout_s`; True when somebody has since the last call.

    Call it with 0 before looking into the outbox while there is always something: nudges that nobody takes are kept.
    """
    return bool(_heard(conn, timeout_s))


def hear_published(conn: Connection[Any], timeout_s: float) -> list[UUID]:
    """Wait until somebody has noted events as published, or for `timeout_s`; these events, since the last call."""
    return [UUID(hex=text[start : start + 32]) for text in _heard(conn, timeout_s) for start in range(0, len(text), 32)]


def _heard(conn: Connection[Any], timeout_s: float) -> list[str]:
    first = list(conn.notifies(timeout=timeout_s, stop_after=1))
    return [note.payload for note in (*first, *conn.notifies(timeout=0))]
