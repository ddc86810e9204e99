"""Whole streams of bus records, mapped, folded and applied: three tellings of the same facts that must agree."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from omninode_bridge.contract.operation import Operation, RecordEvent
from store.write.apply import apply
from store.write.compare import differences
from store.write.fold import Fold
from tests.factories import count, store_connection
from tests.streams import TABLES, Stream, make_stream
from worker.intake.ingest import items

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as connection:
        yield connection


def operations_of(stream: Stream) -> list[Any]:
    """As `fleet ingest` reads them from a file."""
    return list(items(json.dumps(record).encode() for record in stream.records))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_stream_in_the_database_is_what_its_facts_say(conn: Conn, seed: int) -> None:
    stream = make_stream(workflows=60, seed=seed)
    given, expected = operations_of(stream), stream.expected
    answers: Counter[str] = Counter()
    for start in range(0, len(given), 200):
        batch = given[start : start + 200]
        for item, outcome in zip(batch, apply(conn, batch), strict=True):
            recorded_only = isinstance(item, RecordEvent) and outcome.committed
            answers["recorded_only" if recorded_only else outcome.status] += 1
    assert answers == expected.deliveries
    assert {table: count(conn, table) for table in TABLES} == dict(expected.rows)
    assert dict(conn.execute("select code, count(*) from dead_letters group by code").fetchall()) == expected.refused
    assert workflows(conn) == expected.workflows
    states = conn.execute("select entity_id::text, current_state, previous_state, transition_count from fsm_states")
    assert {key: tuple(rest) for key, *rest in states} == expected.machines
    bridges = conn.execute(
        "select bridge_id::text, namespace, total_items_aggregated, current_fsm_state from bridge_states"
    )
    assert {(key, namespace): tuple(rest) for key, namespace, *rest in bridges} == expected.bridges
    nodes = conn.execute("select node_id, node_type, health_status from node_registrations")
    assert {key: tuple(rest) for key, *rest in nodes} == expected.nodes


def workflows(conn: Conn) -> dict[str, dict[str, Any]]:
    columns = ("current_state", "namespace", "started_at", "execution_time_ms")
    rows = conn.execute(
        "select correlation_id::text, current_state, namespace, started_at, execution_time_ms from workflow_executions"
    )
    return {key: dict(zip(columns, rest, strict=True)) for key, *rest in rows}


def test_a_stream_in_the_database_is_what_the_fold_says(conn: Conn) -> None:
    given = operations_of(make_stream(workflows=80, seed=4))
    for start in range(0, len(given), 100):
        apply(conn, given[start : start + 100])
    refused = {id_ for (id_,) in conn.execute("select operation_id from operations where outcome = 'refused'")}
    fold = Fold()
    for item in given:
        if isinstance(item, Operation) and item.operation_id not in refused:
            fold.add(item)
    assert differences(conn, fold.rows()) == []


def test_the_same_seed_and_ending_give_the_same_stream() -> None:
    ending = datetime(2026, 11, 20, tzinfo=UTC)
    one, other, another = (make_stream(workflows=10, seed=seed, ending=ending) for seed in (5, 5, 6))
    assert one == other != another


def test_a_stream_holds_every_dialect_and_everything_that_a_bus_does() -> None:
    stream = make_stream(workflows=60, seed=1)
    values = [record["value"] for record in stream.records if isinstance(record["value"], dict)]
    for name in ("payload", "event_data", "workflow_execution_data", "fsm_transition_data", "original_message"):
        assert any(name in value for value in values), name
    assert set(stream.expected.deliveries) == {"applied", "duplicate", "refused", "recorded_only"}
    assert set(stream.expected.refused) == {"VALIDATION_ERROR", "FUTURE"}
    assert set(stream.expected.rows) == set(TABLES) and min(stream.expected.rows.values()) > 0
