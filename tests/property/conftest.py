"""What property tests share: a database with a few connections to it, and how many examples are drawn."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from threading import Barrier
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.wire import decode_batch, encode, encode_batch
from store.database.session import PREPARE_THRESHOLD, SESSION_SETTINGS, read_json
from store.write.apply import apply
from tests.property.strategies import World

CONNECTIONS = 3
DEADLOCK_TIMEOUT = "20ms"  # one is to be found soon
Connection = psycopg.Connection[Any]


def examples(number: int) -> settings:
    """The same examples every time, so that a run that is red is red again; `--hypothesis-seed` draws others."""
    slow_to_draw = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(
        max_examples=number, deadline=None, derandomize=True, database=None, suppress_health_check=slow_to_draw
    )


class Store:
    """A database with a few connections to it, and worlds that nobody has used."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.connections = connections
        self.conn = connections[0]
        self._numbers = count(1)

    def world(self) -> World:
        return World(next(self._numbers))

    def deliver(self, batches: Sequence[Sequence[Operation]]) -> list[Outcome]:
        """Apply the batches as they come over the wire, all connections at once, each its share in order."""
        start = Barrier(len(self.connections))

        def work(position: int) -> list[Outcome]:
            texts = [
                encode_batch([encode(item) for item in batch]) for batch in batches[position :: len(self.connections)]
            ]
            start.wait(60)
            conn = self.connections[position]
            return [outcome for text in texts for outcome in apply(conn, decode_batch(text, task_id="property"))]

        with ThreadPoolExecutor(len(self.connections)) as threads:
            shares = list(threads.map(work, range(len(self.connections))))
        return [outcome for share in shares for outcome in share]

    def ledger(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        query = "select operation_id, outcome from operations where operation_id = any(%s)"
        rows = self.conn.execute(query, [list(ids)]).fetchall()
        assert len({id_ for id_, _ in rows}) == len(rows)
        return dict(rows)

    def deadlocks(self) -> int:
        """How many there were in this database. The store would run again after one, but there must be none."""
        for conn in self.connections:
            conn.execute("select pg_stat_force_next_flush()")
        return self.number("select deadlocks from pg_stat_database where datname = current_database()")

    def number(self, query: LiteralString) -> int:
        (number,) = self.conn.execute(query).fetchone() or (0,)
        return int(number)


@pytest.fixture
def store(database_any: str) -> Iterator[Store]:
    session = SESSION_SETTINGS | {"deadlock_timeout": DEADLOCK_TIMEOUT}
    options = " ".join(f"-c {name}={value}" for name, value in session.items())
    with ExitStack() as stack:
        yield Store([stack.enter_context(connect(database_any, options)) for _ in range(CONNECTIONS)])


def connect(url: str, options: str) -> Connection:
    conn = psycopg.connect(url, autocommit=True, options=options, prepare_threshold=PREPARE_THRESHOLD)
    read_json(conn)
    return conn
