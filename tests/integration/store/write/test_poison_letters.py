"""Dead letters of rows that PostgreSQL cannot take: kept whatever fails, in whatever encoding, and retried."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.wire import decode_operation
from store import letters
from store.write.apply import apply
from tests.factories import contribution, count, execution, publish_event, step, store_connection
from tests.poison import MARK, RAISE_INTERNAL_ERROR, apply_patiently, attempts_of, heal, poison_of, spoil

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as connection:
        yield connection


# ---- the ledger, the dead letters and the outbox fail at one row too -------------------------------------------------


def test_a_row_that_the_ledger_cannot_take_is_a_dead_letter_nevertheless(conn: Conn) -> None:
    poison = step()
    conn.execute(
        "create function spoil_one() returns trigger language plpgsql as $$ begin "
        f"if new.operation_id = '{poison.operation_id}' then raise exception using errcode = 'XX000'; end if; "
        "return new; end $$"
    )
    conn.execute("create trigger spoil before insert on operations for each row execute function spoil_one()")
    batch = [step(), poison, step()]
    for _ in range(2):
        outcomes, _waited = apply_patiently(conn, batch)
        assert [o.code for o in outcomes] == [None, "POISON", None]
    assert [id_ for id_, _ in poison_of(conn)] == [poison.operation_id]


def test_a_dead_letter_whose_payload_cannot_be_kept_is_kept_without(conn: Conn) -> None:
    spoil(conn, "dead_letters", RAISE_INTERNAL_ERROR, column="payload")
    raw = {"workflow_id": str(uuid4()), "step_name": "", "step_order": 1, "status": MARK}
    refusal = decode_operation(raw, seed="task:0", operation_type="persist_workflow_step")
    outcomes, _ = apply_patiently(conn, [step(), refusal, step()])
    assert [o.status for o in outcomes] == ["applied", "refused", "applied"]
    ((payload, message),) = conn.execute("select payload, message from dead_letters").fetchall()
    assert payload == "null" and "could not be kept" in message


def test_an_intent_whose_event_the_outbox_cannot_take_is_set_aside(conn: Conn) -> None:
    spoil(conn, "event_logs", RAISE_INTERNAL_ERROR, column="payload")
    poison = publish_event(payload={"name": MARK})
    outcomes, _ = apply_patiently(conn, [publish_event(), poison, contribution()])
    assert [o.code for o in outcomes] == [None, "POISON", None]
    assert count(conn, "event_logs") == 3, "the event, the announcement of what was summed, and the failure's"


# ---- what cannot be encoded ------------------------------------------------------------------------------------------


def test_what_the_connection_cannot_encode_is_refused_alone(conn: Conn) -> None:
    conn.execute("set client_encoding = 'LATIN1'")
    rocket = execution(metadata={"name": "\N{ROCKET}"})
    outcomes = apply(conn, [step(), rocket, step()])
    assert [o.code for o in outcomes] == [None, "VALIDATION_ERROR", None]
    assert "encoding" in (outcomes[1].message or "")
    ((payload,),) = conn.execute("select payload from dead_letters").fetchall()
    assert json.loads(payload)["data"]["metadata"] == {"name": "\N{ROCKET}"}, "its escapes say the same"
    assert [o.code for o in apply(conn, [execution(metadata={"name": "\N{ROCKET}"})])] == ["VALIDATION_ERROR"]


@pytest.mark.parametrize("alone", [True, False])
def test_a_lone_surrogate_that_got_past_is_refused_alone(conn: Conn, alone: bool) -> None:
    operation = step()
    bad = operation.model_copy(update={"data": operation.data.model_copy(update={"step_name": "a\ud800"})})
    outcomes = apply(conn, [bad] if alone else [step(), bad, step()])
    assert [o.code for o in outcomes if o.code] == ["VALIDATION_ERROR"]
    ((payload,),) = conn.execute("select payload from dead_letters").fetchall()
    assert json.loads(payload)["data"]["step_name"] == "a\ud800"


# ---- and back again --------------------------------------------------------------------------------------------------


def test_a_poison_letter_is_retried_as_it_is_and_repaired_and_begins_anew(conn: Conn) -> None:
    spoil(conn, "workflow_steps", RAISE_INTERNAL_ERROR, column="step_name")
    first, second = step(step_name=MARK), step(step_name=MARK)
    assert [o.code for o in apply_patiently(conn, [first, second, step()])[0]] == ["POISON", "POISON", None]
    letter = letters.find(conn, first.operation_id)
    with pytest.raises(OnexError, match="XX000"):
        letters.retry(conn, letter)
    assert letters.find(conn, first.operation_id).status == "open" and attempts_of(conn, first) == 3
    other = letters.find(conn, second.operation_id)
    repaired = json.loads(other.payload or "") | {"data": json.loads(other.payload or "")["data"] | {"step_name": "ok"}}
    assert letters.retry(conn, other, payload=json.dumps(repaired)) == second.operation_id
    heal(conn, "workflow_steps")
    assert letters.retry(conn, letter) == first.operation_id
    assert count(conn, "operation_attempts") == 0 and count(conn, "workflow_steps") == 3
    assert [o.status for o in apply(conn, [first, second])] == ["duplicate"] * 2
