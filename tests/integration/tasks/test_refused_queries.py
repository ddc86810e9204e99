"""What was refused before it was an operation: a query is answered all the same, of a large record a part is kept."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge.bus.queries import consumed_item
from omninode_bridge.contract.clock import now
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.refusal import is_cut
from omninode_bridge.contract.wire import Item, decode_batch, encode, encode_batch
from store.letters import find, retry
from store.outbox.announcements import AnsweredQueryData
from store.write.apply import apply
from tests.bus_records import TOPIC, envelope, step
from tests.conftest import fleet
from tests.factories import count, store_connection

Conn = psycopg.Connection[Any]
ASKED = "dev.omninode_bridge.onex.evt.query-requested.v1"
FAILED = "dev.omninode-bridge.database.query-failed.v1"


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as opened:
        yield opened


def query(asker: str | None, **fields: Any) -> Item:
    value = envelope("query_requested", {"entity_type": "workflow_execution"}, event_id=str(uuid4()))
    return consumed_item(ASKED, "key", value | {"correlation_id": asker} | fields)


def arrived(items: Sequence[Item]) -> list[Item]:
    """The items as they come out of a message."""
    return decode_batch(encode_batch([encode(item) for item in items]), task_id="t")


def failures(conn: Conn) -> list[tuple[str, str, Any]]:
    """Of each answer that waits to go out: its key, whom it is for, and what it says."""
    found = conn.execute(
        "select partition_key, payload->>'correlation_id', payload - '{correlation_id,timestamp}'::text[] from"
        " event_logs where direction = 'out' and topic = %s and envelope is null order by seq",
        (FAILED,),
    )
    return [(key, told, answer if isinstance(answer, dict) else json.loads(answer)) for key, told, answer in found]


def test_a_query_that_cannot_be_read_is_answered_once_however_often_it_arrives(conn: Conn) -> None:
    asker = str(uuid4())
    asked = [query(asker, payload="text"), query("me", payload={"filters": {"a": "\0"}, "timestamp": None})]
    for batch in ([asked[0]], asked, asked[::-1]):
        assert {outcome.status for outcome in apply(conn, arrived(batch))} == {"refused"}
    said = [item.message for item in asked]  # type: ignore[union-attr]  # refusals
    assert said[0] == "payload: not an object" and said[1].startswith("payload: filters.a: ")
    answers = [{"success": False, "error": f"VALIDATION_ERROR: {one}"} for one in said]
    assert failures(conn) == [(asker, asker, answers[0]), ("key", "key", answers[1])]
    assert count(conn, "dead_letters") == 2


def test_a_query_from_the_future_is_answered_once(conn: Conn) -> None:
    asker, ahead = str(uuid4()), (now() + timedelta(days=400)).isoformat()
    asked = query(asker, event_timestamp=ahead)
    assert isinstance(asked, Operation)
    data = AnsweredQueryData(query={}, succeeded=True, answer={"success": True})
    for _ in range(2):
        (outcome,) = apply(conn, [asked.model_copy(update={"data": data})])
        assert outcome.code == "FUTURE"
    assert failures(conn) == [(asker, asker, {"success": False, "error": f"FUTURE: {outcome.message}"})]


def test_the_letter_of_a_query_cannot_be_retried_for_it_was_answered(conn: Conn) -> None:
    ahead = query(str(uuid4()), event_timestamp=(now() + timedelta(days=400)).isoformat())
    for item in (query(str(uuid4()), payload="text"), ahead):
        apply(conn, [item])
        letter = find(conn, item.operation_id)
        with pytest.raises(OnexError, match="asks anew"):
            retry(conn, letter)
        with pytest.raises(OnexError, match="asks anew"):
            retry(conn, letter, payload=json.dumps(envelope("query_requested", {})))
    assert len(failures(conn)) == 2


def test_of_a_record_beyond_all_bounds_the_beginning_is_kept_under_its_own_id(conn: Conn, database: str) -> None:
    large = {**step(step_name="s"), "noise": "x" * 5_000_000}
    item = consumed_item(TOPIC, "k", large)
    (outcome,) = apply(conn, arrived([item]))
    assert (outcome.operation_id, outcome.status) == (item.operation_id, "refused")
    letter = find(conn, item.operation_id)
    assert (letter.topic, letter.partition_key, letter.operation_type) == (TOPIC, "k", "persist_workflow_step")
    assert letter.message.startswith("event: 5000") and is_cut(letter.payload or "")
    with pytest.raises(OnexError, match=r"only its beginning was kept; to retry it, give the whole one"):
        retry(conn, letter)
    environment = {"OMNINODE_DATABASE_URL": database}
    shown = fleet("dlq", "show", str(letter.id), environment=environment)
    assert json.loads(shown.stdout)["payload"] == letter.payload
    assert shown.stderr == "payload: only its beginning was kept; it cannot be retried as it is\n"
    again = fleet("dlq", "retry", str(letter.id), environment=environment)
    assert again.returncode == 1 and "still refused: VALIDATION_ERROR: payload: only its beginning" in again.stderr
    assert retry(conn, letter, payload=json.dumps(step(step_name="s"))) == item.operation_id
    assert conn.execute("select id from workflow_steps").fetchall() == [(item.operation_id,)]
