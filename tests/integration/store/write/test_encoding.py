"""Text that cannot be written to PostgreSQL is refused, and its neighbours are applied."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from store.write.apply import apply
from tests.factories import execution, step, store_connection

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as connection:
        yield connection


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
