"""What relays have published, heard as it is committed, on a real PostgreSQL."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from omninode_bridge.contract.clock import uuid7
from store.database.pool import PoolConfig
from store.outbox import outbox
from store.write.apply import apply
from tests import factories
from tests.deadline import wait_until
from tests.factories import store_connection
from worker.process import published_feed as feeds
from worker.process.published_feed import Feed

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as connection:
        yield connection


@pytest.fixture
def feed(database: str) -> Iterator[Feed]:
    one = Feed(PoolConfig(database_url=database, application_name="feed"))
    yield one
    one.close()


def event(conn: Conn) -> UUID:
    operation = factories.publish_event()
    apply(conn, [operation])
    return operation.operation_id


def publish(conn: Conn, *ids: UUID) -> None:
    outbox.settle(conn, published=ids, refused=[])


def listener(conn: Conn) -> int | None:
    """The process of PostgreSQL that serves a feed which listens."""
    row = conn.execute(
        "select pid from pg_stat_activity where application_name = 'feed' and query ilike 'listen%'"
    ).fetchone()
    return None if row is None else int(row[0])


def listening(feed: Feed, conn: Conn) -> int:
    assert feed.wait([uuid7()], 0.0) == set()
    return wait_until(lambda: listener(conn), seconds=30, what="the feed listens") or 0


def heard_of(feed: Feed, event_id: UUID) -> None:
    wait_until(lambda: feed.wait([event_id], 0.0), seconds=10, what="the event is heard of")


def test_nobody_connects_before_somebody_asks(feed: Feed, conn: Conn) -> None:
    assert conn.execute("select 1 from pg_stat_activity where application_name = 'feed'").fetchall() == []
    listening(feed, conn)


def test_a_waiting_thread_goes_on_when_all_its_events_are_published(feed: Feed, conn: Conn) -> None:
    listening(feed, conn)
    ids = [event(conn) for _ in range(3)]
    heard: list[set[UUID] | None] = []
    waiter = threading.Thread(target=lambda: heard.append(feed.wait(ids, 60)))
    waiter.start()
    publish(conn, ids[0])
    publish(conn, *ids[1:])
    waiter.join(60)
    assert heard == [set(ids)]
    assert feed.wait(ids, 0.0) == set(ids), "who asks a little later hears of them as well"


def test_a_wait_ends_with_those_that_were_heard_of(feed: Feed, conn: Conn) -> None:
    listening(feed, conn)
    one, never = event(conn), uuid7()
    publish(conn, one)
    heard_of(feed, one)
    assert feed.wait([one, never], 0.01) == {one}


def test_it_listens_again_after_its_connection_was_cut(feed: Feed, conn: Conn) -> None:
    first = listening(feed, conn)
    conn.execute("select pg_terminate_backend(%s)", (first,))
    wait_until(lambda: listener(conn) not in (first, None), seconds=30, what="the feed listens anew")
    one = event(conn)
    publish(conn, one)
    heard_of(feed, one)


def test_it_remembers_the_last_ones_only(feed: Feed, conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "REMEMBERED", 2)
    listening(feed, conn)
    ids = [event(conn) for _ in range(3)]
    publish(conn, *ids)
    heard_of(feed, ids[2])
    assert feed.wait(ids, 0.0) == set(ids[1:])


def test_stopping_ends_every_wait(feed: Feed, conn: Conn) -> None:
    listening(feed, conn)
    heard: list[set[UUID] | None] = []
    waiter = threading.Thread(target=lambda: heard.append(feed.wait([uuid7()], 60)))
    waiter.start()
    feed.stop()
    waiter.join(60)
    assert len(heard) == 1 and not heard[0]
    assert feed.wait([uuid7()], 60) is None
    feed.open()
    listening(feed, conn)
