"""Dead letters: listed, shown, retried as they are or repaired, discarded."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.clock import now, uuid7
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.wire import decode_operation
from store import letters
from store.outbox import outbox
from store.outbox.announcements import Announcement
from store.write.apply import Limits, apply
from tests.factories import count, heartbeat, publish_event, step, store_connection
from worker.intake.bus_values import is_own

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as connection:
        yield connection


def bad_step(**fields: Any) -> dict[str, Any]:
    return {"workflow_id": str(uuid4()), "step_name": "", "step_order": 1, "status": "COMPLETED"} | fields


def refused(conn: Conn, raw: object) -> letters.Letter:
    (outcome,) = apply(conn, [decode_operation(raw, seed="task:0", operation_type="persist_workflow_step")])
    assert outcome.status == "refused"
    return letters.find(conn, outcome.operation_id)


def test_a_refusal_names_its_field_and_keeps_its_payload(conn: Conn) -> None:
    raw = bad_step()
    letter = refused(conn, raw)
    assert letter.message.startswith("step_name: ") and letter.code == "VALIDATION_ERROR"
    assert json.loads(letter.payload or "") == raw
    assert [listed.id for listed in letters.list_letters(conn)] == [letter.id]


def test_a_repaired_letter_is_applied_under_its_own_id_and_the_original_is_then_a_duplicate(conn: Conn) -> None:
    raw = bad_step()
    letter = refused(conn, raw)
    assert letters.retry(conn, letter, payload=json.dumps(raw | {"step_name": "repaired"})) == letter.id
    assert conn.execute("select id, step_name from workflow_steps").fetchall() == [(letter.id, "repaired")]
    (late,) = apply(conn, [decode_operation(raw, seed="task:0", operation_type="persist_workflow_step")])
    assert late.status == "duplicate"
    assert letters.list_letters(conn) == [] and len(letters.list_letters(conn, status="retried")) == 1
    assert conn.execute("select outcome from operations").fetchall() == [("applied",)]


def test_a_letter_that_is_still_bad_stays_as_it_was(conn: Conn) -> None:
    letter = refused(conn, bad_step())
    with pytest.raises(OnexError, match="step_name"):
        letters.retry(conn, letter)
    assert letters.find(conn, letter.id).status == "open"
    assert conn.execute("select outcome from operations").fetchall() == [("refused",)]


def test_a_letter_is_retried_once(conn: Conn) -> None:
    letter = refused(conn, bad_step())
    repaired = json.dumps(bad_step(step_name="good"))
    letters.retry(conn, letter, payload=repaired)
    with pytest.raises(OnexError, match="retried, not open"):
        letters.retry(conn, letter, payload=repaired)
    with pytest.raises(OnexError, match="retried, not open"):
        letters.discard(conn, letter)
    assert count(conn, "workflow_steps") == 1


def test_a_discarded_letter_stays_and_is_open_no_more(conn: Conn) -> None:
    letter = refused(conn, bad_step())
    letters.discard(conn, letter)
    assert letters.find(conn, letter.id).status == "discarded" and letters.list_letters(conn) == []


def test_a_bus_record_is_repaired_as_a_record(conn: Conn) -> None:
    workflow = str(uuid4())
    value = {
        "correlation_id": workflow,
        "workflow_step_data": bad_step(workflow_id=workflow, created_at=now().isoformat()),
    }
    record = map_record("dev.omninode-bridge.step-completed.v1", workflow, value)
    (outcome,) = apply(conn, [record])
    letter = letters.find(conn, outcome.operation_id)
    assert (letter.form, letter.topic, letter.status) == ("record", "dev.omninode-bridge.step-completed.v1", "open")
    value["workflow_step_data"]["step_name"] = "repaired"  # type: ignore[index]  # a dict
    assert letters.retry(conn, letter, payload=json.dumps(value)) == outcome.operation_id
    assert [o.status for o in apply(conn, [record])] == ["duplicate"]


def test_an_operation_from_the_future_can_be_retried_when_its_time_has_come(conn: Conn) -> None:
    operation = heartbeat(occurred_at=now() + timedelta(hours=2))
    (outcome,) = apply(conn, [operation])
    letter = letters.find(conn, outcome.operation_id)
    with pytest.raises(OnexError, match="FUTURE"):
        letters.retry(conn, letter)
    assert letters.retry(conn, letter, limits=Limits(future_limit=timedelta(hours=3))) == operation.operation_id
    assert count(conn, "node_registrations") == 1


def test_a_conflict_is_retried_under_an_id_of_its_own(conn: Conn) -> None:
    first = step(step_name="first")
    second = first.model_copy(update={"data": first.data.model_copy(update={"step_name": "second"})})
    apply(conn, [first, second])
    letter = letters.find(conn, first.operation_id)
    new_id = letters.retry(conn, letter)
    assert new_id != first.operation_id
    assert sorted(conn.execute("select step_name from workflow_steps").fetchall()) == [("first",), ("second",)]


def test_several_letters_of_one_id_are_told_apart_by_digest(conn: Conn) -> None:
    first = step(step_name="a")
    others = [first.model_copy(update={"data": first.data.model_copy(update={"step_name": name})}) for name in "bc"]
    apply(conn, [first, *others])
    with pytest.raises(OnexError, match="2 dead letters"):
        letters.find(conn, first.operation_id)
    listed = letters.list_letters(conn)
    assert {letters.find(conn, first.operation_id, letter.digest[:12]).digest for letter in listed} == {
        letter.digest for letter in listed
    }


@pytest.mark.parametrize("value", ["a\0b", "\ud800", float("nan"), 10**30])
def test_payloads_that_jsonb_could_not_hold_are_kept_and_shown(conn: Conn, value: object) -> None:
    letter = refused(conn, bad_step(step_name="x", step_data={"bad": value}))
    kept = json.loads(letter.payload or "")["step_data"]["bad"]
    assert kept == value or (kept != kept and value != value)
    assert "step_data" in letter.message


# ---- events that the bus refused -------------------------------------------------------------------------------------


def refused_event(conn: Conn, reason: str = "too large", **fields: Any) -> letters.Letter:
    (outcome,) = apply(conn, [publish_event(partition_key="k", **fields)])
    refuse(conn, reason)
    return letters.find(conn, outcome.operation_id)


def refuse(conn: Conn, reason: str) -> None:
    """What a relay does with everything that waits when the bus takes none of it."""
    outbox.settle(conn, published=[], refused=[(event, reason) for event in waiting(conn)])


def waiting(conn: Conn) -> list[outbox.PendingEvent]:
    return outbox.pending(conn, range(outbox.SHARDS), rows_limit=100)


def test_a_refused_event_goes_out_again_behind_what_came_meanwhile(conn: Conn) -> None:
    letter = refused_event(conn)
    (later,) = apply(conn, [publish_event(partition_key="k")])
    assert letters.retry(conn, letter) == letter.id
    assert [event.id for event in waiting(conn)] == [later.operation_id, letter.id]
    again = waiting(conn)[1]
    assert (again.value().decode(), again.attempts) == (letter.payload, 1)
    assert letters.find(conn, letter.id).status == "retried"


def test_a_repaired_event_keeps_its_id_and_topic_and_goes_under_its_key(conn: Conn) -> None:
    letter = refused_event(conn, topic="reducer.events")
    envelope = json.loads(letter.payload or "")
    envelope |= {"payload": {"smaller": True}, "partition_key": "other", "event_id": "mistyped"}
    letters.retry(conn, letter, payload=json.dumps(envelope))
    (event,) = waiting(conn)
    assert (event.id, event.topic, event.partition_key) == (letter.id, "reducer.events", "other")
    assert json.loads(event.value())["event_id"] == str(letter.id)
    assert event.payload == {"smaller": True}
    assert outbox.pending(conn, [outbox.shard_of("other")], rows_limit=1) == [event]


@pytest.mark.parametrize("given", ["payload", "some fields", "another's fields"])
def test_a_repair_stays_in_the_envelope_of_the_fleet(conn: Conn, given: str) -> None:
    letter = refused_event(conn, event_type="workflow_started", metadata={"namespace": "n"})
    envelope = json.loads(letter.payload or "")
    smaller = {"workflow_id": str(uuid4())}
    repairs = {
        "payload": smaller,
        "some fields": {"envelope_version": "1.0", "payload": smaller},
        "another's fields": envelope | {"payload": smaller, "source_service": "somebody", "event_id": str(uuid7())},
    }
    letters.retry(conn, letter, payload=json.dumps(repairs[given]))
    (event,) = waiting(conn)
    assert json.loads(event.value()) == envelope | {"payload": smaller}
    assert is_own(event.topic, event.partition_key, json.loads(event.value()))


def test_an_event_without_an_envelope_stays_without(conn: Conn) -> None:
    bare = Announcement(uuid7(), "query_completed", "answers", "k", None, None, {"success": True}, None)
    with conn.transaction():
        outbox.append(conn, [bare])
    refuse(conn, "no such topic")
    letters.retry(conn, letters.find(conn, bare.id), payload='{"envelope_version": "1.0"}')
    assert [event.value() for event in waiting(conn)] == [b'{"envelope_version":"1.0"}']


def test_an_event_that_goes_out_again_has_waited_since_then(conn: Conn) -> None:
    letter = refused_event(conn)
    conn.execute("update event_logs set created_at = created_at - interval '2 h'")
    letters.retry(conn, letter)
    depth = outbox.depth(conn)
    assert (depth.pending, depth.refused) == (1, 0) and depth.oldest_s is not None and depth.oldest_s < 600
    (made,) = conn.execute("select created_at < now() - interval '1 h' from event_logs").fetchone() or (None,)
    assert made, "when it was made is still known"


def test_letters_are_retried_oldest_first_and_events_in_the_order_in_which_they_were_committed(conn: Conn) -> None:
    first, second, third = (outcome.operation_id for outcome in apply(conn, [publish_event() for _ in range(3)]))
    conn.execute("update event_logs set seq = seq + 10 where id = %s", (first,))  # it went out again, behind the others
    refuse(conn, "no")
    conn.execute("update dead_letters set created_at = created_at - interval '1 h' where id = %s", (third,))
    early = [heartbeat(occurred_at=now() + timedelta(hours=2)) for _ in range(2)]
    newer, older = (outcome.operation_id for outcome in apply(conn, early))
    conn.execute("update dead_letters set created_at = created_at - interval '1 h' where id = %s", (older,))
    letters.discard(conn, refused(conn, bad_step()))

    def ids(**chosen: str) -> list[UUID]:
        return [id_ for id_, _ in letters.open_in_order(conn, **chosen)]

    assert ids() == [older, newer, second, third, first]
    assert (ids(code="FUTURE"), ids(code="CONFLICT")) == ([older, newer], [])
    conn.execute("delete from event_logs where id = %s", (third,))  # its day was dropped
    assert ids() == [older, newer, third, second, first]


def test_an_event_that_is_refused_again_is_the_same_letter_open_again(conn: Conn) -> None:
    letter = refused_event(conn)
    letters.retry(conn, letter, payload=json.dumps(json.loads(letter.payload or "") | {"payload": {"n": 2}}))
    refuse(conn, "still too large")
    again = letters.find(conn, letter.id)
    assert (again.status, again.message, again.resolved_at) == ("open", "still too large", None)
    assert json.loads(again.payload or "")["payload"] == {"n": 2}
    letters.retry(conn, again)
    assert [event.attempts for event in waiting(conn)] == [2]


def test_an_event_whose_row_is_gone_is_appended_anew(conn: Conn) -> None:
    letter = refused_event(conn)
    conn.execute("delete from event_logs")
    letters.retry(conn, letter)
    assert [event.value().decode() for event in waiting(conn)] == [letter.payload]


def test_an_event_that_the_bus_has_is_not_sent_again(conn: Conn) -> None:
    letter = refused_event(conn)
    conn.execute("update event_logs set status = 'published'")
    with pytest.raises(OnexError, match="not one that the bus refused"):
        letters.retry(conn, letter)
    assert letters.find(conn, letter.id).status == "open" and waiting(conn) == []


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ("[]", "payload"),
        ("{", "payload"),
        ('{"envelope_version": "2.0"}', "envelope_version"),
        (
            '{"envelope_version": "1.0", "event_type": "t", "source_node_id": "n", "payload": {"n": "\\u0000"}}',
            "payload",
        ),
        ('{"n": 1e999}', "payload"),
        ('{"n": 36893488147419103232}', "payload"),
        ('{"n": ' + "[" * 900 + "]" * 900 + "}", "payload"),
        ("[" * 100_000, "payload: nested too deep"),
        (
            json.dumps({"envelope_version": "1.0", "event_type": "t" * 101, "source_node_id": "n", "payload": {}}),
            "operation",
        ),
    ],
)
def test_a_repair_that_is_none_changes_nothing(conn: Conn, payload: str, field: str) -> None:
    letter = refused_event(conn)
    with pytest.raises(OnexError, match=field) as raised:
        letters.retry(conn, letter, payload=payload)
    assert raised.value.error_code == "VALIDATION_ERROR"
    assert letters.find(conn, letter.id).status == "open" and waiting(conn) == []


def test_retrying_an_event_wakes_the_relays(conn: Conn, database: str) -> None:
    letter = refused_event(conn)
    with store_connection(database) as relay:
        outbox.listen(relay)
        letters.retry(conn, letter)
        assert outbox.wait(relay, 10)


def test_a_retried_intent_is_announced_where_it_is_applied(conn: Conn) -> None:
    operation = publish_event(occurred_at=now() + timedelta(hours=2))
    (outcome,) = apply(conn, [operation])
    letter = letters.find(conn, outcome.operation_id)
    letters.retry(conn, letter, limits=Limits(future_limit=timedelta(hours=3), environment="production"))
    failed, event = waiting(conn)
    assert (failed.event_type, event.event_type) == ("operation_failed", "batch_processed")
    assert event.id == operation.operation_id and json.loads(event.value())["environment"] == "production"


def test_letters_of_events_are_listed_and_discarded_like_others(conn: Conn) -> None:
    letter = refused_event(conn)
    assert [(one.form, one.partition_key) for one in letters.list_letters(conn)] == [("event", "k")]
    letters.discard(conn, letter)
    assert letters.list_letters(conn) == [] and waiting(conn) == []
