"""The outbox: appended with the effect, in the order of commit within a shard, settled once."""

import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest

from omninode_bridge.bus.envelope import announcement_id
from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.operation import EventData, Operation
from omninode_bridge.contract.wire import Item, refusal_of
from store import letters
from store.outbox import outbox
from store.outbox.announcements import Announcement
from store.outbox.outbox import CHANNEL, PUBLISHED_CHANNEL, SHARDS, OutboxDepth, PendingEvent, statement
from store.write.apply import Limits, apply
from tests import factories
from tests.deadline import wait_until
from tests.factories import count, store_connection

Conn = psycopg.Connection[Any]
EVERY = range(SHARDS)
MIB = 1 << 20


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as connection:
        yield connection


@pytest.fixture
def other(database_any: str, conn: Conn) -> Iterator[Conn]:
    """Another connection to the same database."""
    with store_connection(database_any) as connection:
        yield connection


def waiting(conn: Conn, rows_limit: int = 10_000) -> list[PendingEvent]:
    return outbox.pending(conn, EVERY, rows_limit=rows_limit)


def event(key: str = "k", **fields: Any) -> Operation:
    return factories.publish_event(partition_key=key, **fields)


def bare(key: str = "k") -> Announcement:
    """A record without an envelope, as the answer to a query is."""
    return Announcement(uuid7(), "query_completed", "queries.answers", key, None, None, {"success": True}, None)


# ---- appended --------------------------------------------------------------------------------------------------------


def test_an_intent_is_in_the_outbox_with_its_effect_and_only_once(conn: Conn) -> None:
    aggregation, entity = uuid4(), uuid4()
    batch = [event("k"), factories.contribution(aggregation), factories.transition_intent(entity)]
    assert [outcome.status for outcome in apply(conn, batch, limits=Limits(environment="staging"))] == ["applied"] * 3
    assert [outcome.status for outcome in apply(conn, batch)] == ["duplicate"] * 3
    rows = waiting(conn)
    assert [row.id for row in rows] == [
        batch[0].operation_id,
        announcement_id(batch[1].operation_id),
        announcement_id(batch[2].operation_id),
    ]
    assert [row.partition_key for row in rows] == ["k", str(aggregation), str(entity)]
    assert {orjson.loads(row.value())["environment"] for row in rows} == {"staging"}
    assert [row.seq for row in rows] == sorted(row.seq for row in rows)


def test_a_row_of_the_outbox_says_what_the_log_wants_to_know(conn: Conn) -> None:
    session = uuid4()
    operation = event(metadata={"namespace": "dev"}, session_id=session).model_copy(update={"correlation_id": uuid4()})
    apply(conn, [operation])
    names = "direction, status, attempts, published_at, shard, correlation_id, session_id, metadata, payload"
    (row,) = conn.execute(f"select {names} from event_logs".encode()).fetchall()
    expected = ("out", "pending", 0, None, outbox.shard_of("k"), operation.correlation_id, session)
    assert row == (*expected, {"namespace": "dev"}, {"batch_number": 1})


def test_what_is_undone_is_not_announced(conn: Conn) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), conn.transaction():
        apply(conn, [event(), factories.contribution()])
        conn.execute("select 1/0")
    assert count(conn, "event_logs") == count(conn, "operations") == 0


def test_events_of_a_batch_have_their_seq_in_the_order_in_which_they_were_submitted(conn: Conn) -> None:
    batch = [event() for _ in range(200)]
    apply(conn, batch)
    assert [row.id for row in waiting(conn)] == [operation.operation_id for operation in batch]


def test_a_refused_intent_is_announced_once_however_often_it_arrives(conn: Conn) -> None:
    refusal = refusal_of(factories.contribution(), "VALIDATION_ERROR", "namespaces: no")
    for _ in range(3):
        assert [outcome.status for outcome in apply(conn, [refusal])] == ["refused"]
    (row,) = waiting(conn)
    assert (row.event_type, row.payload["operation_id"]) == ("operation_failed", str(refusal.operation_id))
    assert count(conn, "dead_letters") == 1


def test_what_the_claim_refuses_is_announced_once_as_well(conn: Conn) -> None:
    first = event()
    conflict = first.model_copy(update={"data": first.data.model_copy(update={"payload": {"other": 1}})})
    for _ in range(2):
        apply(conn, [first, conflict])
    assert [row.event_type for row in waiting(conn)] == ["batch_processed", "operation_failed"]
    assert waiting(conn)[1].payload["error_code"] == "CONFLICT"


def test_what_only_the_database_refuses_is_announced_while_its_neighbours_go_out(conn: Conn) -> None:
    """A letter's message that text cannot hold: the batch is halved until it stands alone."""
    batch: list[Item] = [event(), refusal_of(event(), "VALIDATION_ERROR", "nul \0 inside"), event()]
    assert [outcome.status for outcome in apply(conn, batch)] == ["applied", "refused", "applied"]
    assert [row.event_type for row in waiting(conn)] == ["batch_processed", "operation_failed", "batch_processed"]


def test_the_six_operations_and_their_refusals_leave_the_outbox_alone(conn: Conn) -> None:
    six = [factories.execution(), factories.step(), factories.transition(), factories.stamp()]
    six += [factories.bridge_state(), factories.heartbeat()]
    apply(conn, [*six, refusal_of(factories.step(), "VALIDATION_ERROR", "step_name: no")])
    assert waiting(conn) == []
    assert conn.execute("select is_called from event_logs_seq").fetchall() == [(False,)]


def test_an_event_that_was_made_of_a_bus_event_goes_out_under_its_id(conn: Conn) -> None:
    operation = event().model_copy(update={"event": EventData(event_type="asked_for", payload={})})
    apply(conn, [operation])
    assert [row.id for row in waiting(conn)] == [operation.operation_id]


def test_a_record_without_an_envelope_goes_out_as_it_is(conn: Conn) -> None:
    with conn.transaction():
        outbox.append(conn, [bare()])
    (row,) = waiting(conn)
    assert row.envelope is None and row.value() == b'{"success":true}'


@pytest.mark.parametrize("number", [1e22, 1e300, -1e-300, 0.1, 2**63 - 1, -(2**63)])
def test_a_number_comes_out_as_it_went_in(conn: Conn, number: float) -> None:
    apply(conn, [event(payload={"n": number})])
    (row,) = waiting(conn)
    assert orjson.loads(row.value())["payload"] == {"n": number}


# ---- order -----------------------------------------------------------------------------------------------------------


def test_a_later_event_of_a_shard_waits_for_the_commit_of_an_earlier_one(conn: Conn, other: Conn) -> None:
    """Without the lock it would commit first, and a relay would publish it before the one with the lower seq."""
    with conn.transaction():
        outbox.append(conn, [bare("k")])
        other.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable), other.transaction():
            outbox.append(other, [bare("k")])
        with other.transaction():
            outbox.append(other, [bare("another shard")])
    assert len(waiting(conn)) == 2


def test_no_reader_sees_a_lower_seq_of_a_shard_after_a_higher_one(conn: Conn, database_any: str) -> None:
    """Many write few keys, a batch touches several shards, and somebody reads all the while."""
    keys, rounds, writers = [str(n) for n in range(8)], 40, 6
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with store_connection(database_any) as own:
                for n in range(rounds):
                    apply(own, [event(keys[(number * 5 + n * m) % len(keys)]) for m in range(1, 6)])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen: dict[int, list[int]] = defaultdict(list)
    reading = True
    while reading:
        reading = any(thread.is_alive() for thread in threads)  # and once more when the last has ended
        for row in waiting(conn):
            shard = outbox.shard_of(row.partition_key)
            if row.seq not in seen[shard]:
                seen[shard].append(row.seq)
    assert errors == []
    assert sum(map(len, seen.values())) == rounds * writers * 5
    assert all(seqs == sorted(seqs) for seqs in seen.values())


# ---- a relay's round -------------------------------------------------------------------------------------------------


def test_a_shard_is_one_relays_until_it_lets_go_or_is_gone(conn: Conn, other: Conn, database_any: str) -> None:
    assert sorted(outbox.take_shards(conn, EVERY)) == list(EVERY)
    assert outbox.take_shards(other, EVERY) == []
    outbox.release_shards(conn, range(10))
    assert sorted(outbox.take_shards(other, range(5))) == list(range(5))
    conn.close()
    taken = set(range(5))

    def all_taken() -> bool:
        taken.update(outbox.take_shards(other, sorted(set(EVERY) - taken)))
        return len(taken) == SHARDS

    wait_until(all_taken, seconds=10, what="every shard was free")


def test_appending_does_not_wait_for_who_publishes(conn: Conn, other: Conn) -> None:
    outbox.take_shards(other, EVERY)
    conn.execute("set lock_timeout = '50ms'")
    apply(conn, [event()])
    assert len(waiting(other)) == 1


def test_only_the_shards_that_are_asked_for_are_read_and_no_more_than_wanted(conn: Conn) -> None:
    apply(conn, [event("a") for _ in range(5)] + [event("b") for _ in range(5)])
    rows = outbox.pending(conn, [outbox.shard_of("b")], rows_limit=3)
    assert [row.partition_key for row in rows] == ["b"] * 3


def test_no_more_is_read_than_a_relay_has_room_for_but_one_event_is(conn: Conn) -> None:
    """However well PostgreSQL has packed them: what counts is what they are without."""
    apply(conn, [event(payload={"text": "x" * 1000}) for _ in range(10)])
    rows = outbox.pending(conn, EVERY, rows_limit=500, bytes_limit=5000)
    assert 3 <= len(rows) <= 5
    assert [row.seq for row in rows] == [row.seq for row in waiting(conn)][: len(rows)]
    for _ in range(5):
        apply(conn, [event("large", payload={"text": "x" * 900_000})])
    packed = conn.execute("select pg_column_size(payload) from event_logs order by seq desc limit 1").fetchone()
    assert packed and packed[0] < 90_000
    large = [outbox.shard_of("large")]
    assert len(outbox.pending(conn, large, rows_limit=500, bytes_limit=5000)) == 1
    assert len(outbox.pending(conn, large, rows_limit=500, bytes_limit=2_000_000)) == 3


def test_topics_that_are_left_out_are_not_read(conn: Conn) -> None:
    def event_id(topic: str) -> str:
        operation = event(topic=topic)
        apply(conn, [operation])
        return str(operation.operation_id)

    first, away, last = event_id("t"), event_id("away"), event_id("u")

    def read(*without: str, shards: Sequence[int] = EVERY, rows_limit: int = 10) -> list[str]:
        return [str(row.id) for row in outbox.pending(conn, shards, rows_limit=rows_limit, without=without)]

    assert read() == [first, away, last]
    assert read("away") == [first, last]
    assert read("away", "no.such") == [first, last]
    assert read("away", rows_limit=1) == [first]
    assert read("away", "t", "u") == read("away", shards=[]) == []
    outbox.settle(conn, published=[UUID(first)], refused=[])
    assert read("away") == [last]


def test_the_backlog_of_a_topic_that_is_left_out_is_not_looked_at(conn: Conn) -> None:
    apply(conn, [event(topic="away") for _ in range(2000)] + [event(topic="t")])
    conn.execute("analyze event_logs")
    wanted = {"shards": list(EVERY), "rows_limit": 500, "bytes_limit": 8 << 20, "without": ["away"]}
    plan = "explain (analyze, buffers, costs off, timing off, format json) " + outbox.pending_statement(without=True)
    ((found,),) = conn.execute(plan.encode(), wanted).fetchall()
    assert found[0]["Plan"]["Actual Rows"] == 1
    pages = found[0]["Plan"]["Shared Hit Blocks"] + found[0]["Plan"]["Shared Read Blocks"]
    assert pages < 100, "a few for each day and topic, far from one for each event"


def test_what_was_published_waits_no_more(conn: Conn) -> None:
    batch = [event() for _ in range(3)]
    apply(conn, batch)
    ids = [operation.operation_id for operation in batch]
    outbox.settle(conn, published=ids[:2], refused=[])
    assert [row.id for row in waiting(conn)] == ids[2:]
    assert outbox.ends(conn, [*ids, uuid7()]) == dict.fromkeys(ids[:2], True)
    said = conn.execute("select status, attempts, published_at is not null from event_logs order by seq").fetchall()
    assert said == [("published", 1, True), ("published", 1, True), ("pending", 0, False)]


def test_what_the_bus_refused_is_a_dead_letter_with_its_reason(conn: Conn) -> None:
    operation = event("the key").model_copy(update={"correlation_id": uuid4()})
    apply(conn, [operation])
    (row,) = waiting(conn)
    outbox.settle(conn, published=[], refused=[(row, "larger than 256 KiB")])
    assert waiting(conn) == [] and outbox.ends(conn, [row.id]) == {row.id: False}
    letter = letters.find(conn, row.id)
    assert (letter.form, letter.code, letter.message) == ("event", "VALIDATION_ERROR", "larger than 256 KiB")
    assert (letter.topic, letter.partition_key, letter.operation_type) == (row.topic, "the key", "batch_processed")
    assert letter.correlation_id == operation.correlation_id and letter.source == "relay"
    assert (letter.payload or "").encode() == row.value()
    assert conn.execute("select status, attempts from event_logs").fetchall() == [("refused", 1)]


def test_depth_tells_what_waits_how_long_and_what_was_refused(conn: Conn) -> None:
    assert outbox.depth(conn) == OutboxDepth(pending=0, oldest_s=None, refused=0)
    apply(conn, [event(), event()])
    conn.execute("update event_logs set created_at = created_at - interval '90 s' where seq = 1")
    depth = outbox.depth(conn)
    assert depth.pending == 2 and depth.oldest_s is not None and 90 <= depth.oldest_s < 120
    outbox.settle(conn, published=[], refused=[(waiting(conn)[0], "no")])
    depth = outbox.depth(conn)
    assert (depth.pending, depth.refused) == (1, 1) and depth.oldest_s is not None and depth.oldest_s < 60


def test_nothing_has_waited_since_tomorrow(conn: Conn) -> None:
    """As it seems when the clock has been set back."""
    apply(conn, [event()])
    conn.execute("update event_logs set created_at = now() + interval '1 day'")
    assert outbox.depth(conn).oldest_s == 0


# ---- nudges ----------------------------------------------------------------------------------------------------------


def test_a_commit_wakes_who_listens(conn: Conn, other: Conn) -> None:
    outbox.listen(other)
    assert not outbox.wait(other, 0)
    apply(conn, [event()])
    assert outbox.wait(other, 10)
    assert not outbox.wait(other, 0)


def test_a_nudge_that_comes_while_the_listener_does_something_else_is_not_lost(conn: Conn, other: Conn) -> None:
    outbox.listen(other)
    for _ in range(3):
        apply(conn, [event()])
    waiting(other)
    assert outbox.wait(other, 0), "it came with the answer to another statement"
    assert not outbox.wait(other, 0), "one wait takes them all"


def test_operations_that_announce_nothing_wake_nobody(conn: Conn, other: Conn) -> None:
    outbox.listen(other)
    apply(conn, [factories.heartbeat(), factories.transition()])
    conn.execute(f"notify {CHANNEL}, 'last'".encode())
    assert [note.payload for note in other.notifies(timeout=10, stop_after=1)] == ["last"]


def test_who_listens_hears_which_events_are_published_and_not_which_are_refused(conn: Conn, other: Conn) -> None:
    outbox.listen(other, PUBLISHED_CHANNEL)
    batch = [event() for _ in range(500)]  # more than one notification can carry
    apply(conn, batch)
    rows = waiting(conn)
    outbox.settle(conn, published=[row.id for row in rows[1:]], refused=[(rows[0], "no")])
    heard: list[UUID] = []
    while len(heard) < 499:
        heard += (told := outbox.hear_published(other, 10))
        assert told
    assert sorted(heard) == sorted(row.id for row in rows[1:])
    assert outbox.hear_published(other, 0) == []


# ---- plans -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def grown(conn: Conn) -> Conn:
    """Events of several days, of which half wait, before PostgreSQL has counted them."""
    conn.execute(
        """
        insert into event_logs (id, event_type, direction, topic, partition_key, shard, payload, status, seq)
        select
          (lpad(to_hex((extract(epoch from now() - n % 7 * interval '1 day') * 1000)::bigint), 12, '0')
            || '7' || left(md5(n::text), 3) || '8' || right(md5(n::text), 15))::uuid,
          't', 'out', 't', 'k', n % 64, '{}', case when n % 2 = 0 then 'pending' else 'published' end, n
        from generate_series(1, 20000) as n
        """
    )
    return conn


def next_events(shards: Sequence[int], *topics: str) -> dict[str, Any]:
    """The parameters of `pending_outbox`, or of the one without these topics."""
    wanted = {"shards": list(shards), "rows_limit": 500, "bytes_limit": MIB}
    return wanted | {"without": list(topics)} if topics else wanted


IDS = [uuid7() for _ in range(100)]


@pytest.mark.parametrize(
    ("name", "parameters", "index"),
    [
        ("pending_outbox", next_events(EVERY), "seq_shard"),
        ("pending_outbox", next_events(range(16)), "seq_shard"),
        ("pending_outbox_without", next_events(EVERY, "left.out"), "topic_seq_shard"),
        ("settle_outbox", {"ids": IDS, "status": "published"}, "pkey"),
        ("ends_outbox", {"ids": IDS}, "pkey"),
        ("outbox_depth", {}, "topic_seq_shard seq_shard"),
    ],
)
@pytest.mark.parametrize("counted", [False, True])
def test_a_relay_goes_by_index(grown: Conn, name: str, parameters: dict[str, Any], index: str, counted: bool) -> None:
    """By the right one: of what waits, or of ids; a backlog may be there before PostgreSQL has statistics of it."""
    if counted:
        grown.execute("analyze event_logs")
    shown = "\n".join(row[0] for row in grown.execute("explain " + text_of(name), parameters))
    assert "Seq Scan on event_logs" not in shown, shown
    used = set(re.findall(r"event_logs_[a-z0-9]+_(topic_seq_shard|seq_shard|pkey)", shown))
    assert used == set(index.split()), shown


def text_of(name: str) -> LiteralString:
    """What a relay runs by that name: of what waits, no more than fits."""
    pending = {"pending_outbox": False, "pending_outbox_without": True}
    return outbox.pending_statement(without=pending[name]) if name in pending else statement(name)


def test_the_next_events_are_not_sorted(grown: Conn) -> None:
    """They come in the order of their index, however many wait."""
    parameters = next_events(EVERY)
    for before in (b"select", b"analyze event_logs"):
        grown.execute(before)
        shown = "\n".join(
            row[0] for row in grown.execute("explain " + outbox.pending_statement(without=False), parameters)
        )
        assert "Merge Append" in shown and "Sort  (" not in shown, shown
