"""Whole streams of bus records through the real fleet: what its database holds is what the facts and the fold say."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.operation import EventData, Operation
from store.write.compare import differences
from store.write.fold import Fold
from tests.acceptance.ingesting import changed, contents, ingest
from tests.conftest import Stack
from tests.factories import count
from tests.streams import TABLES, Stream, make_stream

pytestmark = pytest.mark.acceptance

FUTURE_LIMIT = timedelta(hours=1)  # as the settings have it when nobody says otherwise


@pytest.fixture
def conn(empty: Stack) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty.env["OMNINODE_DATABASE_URL"], autocommit=True) as opened:
        yield opened


def written(stream: Stream, directory: Path) -> Path:
    file = directory / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in stream.records))
    return file


def folded(stream: Stream, ending: datetime, conn: psycopg.Connection[Any]) -> Fold:
    """The fold of what has an effect: neither refusals nor what is ahead of its time.

    An event that was told in several ways (on another topic, published anew) is one event; workers that apply batches
    side by side keep the telling that comes first, topic and `published_at` included. So the one that was kept is
    folded: the whole row must be as one of the deliveries told it.
    """
    mapped = (map_record(record["topic"], record["key"], record["value"]) for record in stream.records)
    operations = [item for item in mapped if isinstance(item, Operation) and item.occurred_at <= ending + FUTURE_LIMIT]
    rows = conn.execute("select id, topic, payload from event_logs").fetchall()
    kept = {id_: (topic, payload) for id_, topic, payload in rows}
    fold = Fold()
    for operation in sorted(operations, key=lambda one: told(one) != kept.get(one.operation_id)):
        fold.add(operation)
    return fold


def told(operation: Operation) -> tuple[str | None, Any]:
    event = operation.data if isinstance(operation.data, EventData) else operation.event
    return (event.topic, event.payload) if event is not None else (None, None)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_stream_leads_to_the_rows_of_its_facts_and_of_the_fold(
    empty: Stack, conn: psycopg.Connection[Any], tmp_path: Path, seed: int
) -> None:
    ending = datetime.now(UTC)
    stream = make_stream(workflows=60, seed=seed, ending=ending)
    expected = stream.expected
    summary = ingest(empty, written(stream, tmp_path))
    assert (summary["records"], summary["unconfirmed"]) == (len(stream.records), 0)
    answers = {name: summary[name] for name in ("applied", "duplicate", "recorded_only")}
    assert {**answers, "refused": summary["refused_total"]} == expected.deliveries
    assert {table: count(conn, table) for table in TABLES} == expected.rows
    assert dict(conn.execute("select code, count(*) from dead_letters group by code").fetchall()) == expected.refused
    assert differences(conn, folded(stream, ending, conn).rows()) == []


def test_a_second_ingest_applies_nothing_and_changes_nothing(
    empty: Stack, conn: psycopg.Connection[Any], tmp_path: Path
) -> None:
    ending = datetime.now(UTC)
    stream = make_stream(workflows=300, seed=14, ending=ending)
    file = written(stream, tmp_path)
    first = ingest(empty, file)
    assert differences(conn, folded(stream, ending, conn).rows()) == []
    before = contents(empty)
    second = ingest(empty, file)
    assert first["applied"] == stream.expected.deliveries["applied"] > 0
    assert (second["applied"], second["duplicate"]) == (0, first["applied"] + first["duplicate"])
    for name in ("records", "refused", "recorded_only", "unconfirmed"):
        assert second[name] == first[name], name
    assert changed(before, contents(empty)) == []
