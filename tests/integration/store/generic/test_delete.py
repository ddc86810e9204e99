"""Generic deletes, in one statement and as all writes are made: the same answers, rows and ledger."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omninode_bridge.contract.clock import derived_uuid7, now, uuid7
from store.database.session import LimitedConnection
from store.generic import delete as generic_delete
from tests.deadline import wait_until
from tests.factories import count, store_connection
from tests.generic import Row, Store, entity

OWN_LIMIT_MS = 5000
BRIDGE = "bridge_state"


@pytest.fixture(params=["at once", "in steps"])
def store(database_any: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """On a connection whose own limit is the one that is asked for, or on any."""
    used: list[int | None] = []
    at_once = generic_delete.at_once

    def noted(*given: Any) -> int | None:
        used.append(at_once(*given))
        return used[-1]

    monkeypatch.setattr(generic_delete, "at_once", noted)
    if request.param == "in steps":
        with store_connection(database_any) as conn:
            yield Store(conn)
        assert not used
        return
    with LimitedConnection.connect(database_any, autocommit=True) as limited:
        limited.execute(f"set statement_timeout = {OWN_LIMIT_MS}")
        limited.statement_timeout_ms = OWN_LIMIT_MS
        yield Store(limited)
    assert used


def bridges(store: Store, *namespaces: str, **fields: Any) -> list[Row]:
    rows = [entity(BRIDGE, namespace=namespace, **fields) for namespace in namespaces]
    store.do("batch_insert", BRIDGE, batch_entities=rows)
    return rows


def ledger(store: Store, operation_id: Any) -> Any:
    return store.conn.execute(
        "select operation_type, outcome, code, result from operations where operation_id = %s", (operation_id,)
    ).fetchall()


def test_what_is_found_is_gone_and_counted(store: Store) -> None:
    one, two, _ = bridges(store, "a", "b", "c")
    operation_id = uuid7()
    by_key = {"query_filters": {"bridge_id": one["bridge_id"]}}
    gone = store.do("delete", BRIDGE, operation_id=operation_id, **by_key)
    assert (gone["rows_affected"], gone["result_data"]) == (1, None)
    assert ledger(store, operation_id) == [("database_operation", "applied", None, {"rows_affected": 1})]
    assert store.do("delete", BRIDGE, **by_key)["rows_affected"] == 0
    both = {"query_filters": {"namespace__in": ["b", "c"], "bridge_id__ne": two["bridge_id"]}}
    assert store.do("delete", BRIDGE, **both)["rows_affected"] == 1
    assert [row["namespace"] for row in store.rows(BRIDGE)] == ["b"]


def test_each_kind_of_row_is_deleted(store: Store) -> None:
    workflow = store.written("insert", "workflow_execution", entity=entity("workflow_execution"))
    for entity_type in ("workflow_step", "fsm_transition", "metadata_stamp", "node_heartbeat"):
        more = {"workflow_id": workflow["id"]} if entity_type == "workflow_step" else {}
        row = store.written("insert", entity_type, entity=entity(entity_type, **more))
        key = "node_id" if entity_type == "node_heartbeat" else "id"
        assert store.do("delete", entity_type, query_filters={key: row[key]})["rows_affected"] == 1
        assert store.rows(entity_type) == []
    by_key = {"correlation_id": workflow["correlation_id"]}
    assert store.do("delete", "workflow_execution", query_filters=by_key)["rows_affected"] == 1


def test_a_delete_that_comes_again_is_answered_as_before_and_deletes_nothing(store: Store) -> None:
    (one,) = bridges(store, "a")
    delete = {"query_filters": {"bridge_id": one["bridge_id"]}, "operation_id": uuid7()}
    first = store.do("delete", BRIDGE, **delete)
    store.do("insert", BRIDGE, entity=one)
    assert store.do("delete", BRIDGE, **delete)["rows_affected"] == first["rows_affected"] == 1
    assert count(store.conn, "bridge_states") == 1
    other = delete | {"query_filters": {"namespace": "a"}}
    assert store.refused("delete", BRIDGE, **other) == ("CONFLICT", "operation_id: already used for other content")


def test_a_bridge_of_two_namespaces_is_refused_and_kept(store: Store) -> None:
    (one,) = bridges(store, "a")
    bridges(store, "b", bridge_id=one["bridge_id"])
    operation_id = uuid7()
    delete = {"query_filters": {"bridge_id": one["bridge_id"]}, "operation_id": operation_id}
    code, message = store.refused("delete", BRIDGE, **delete)
    assert code == "CONFLICT" and "2 bridge states" in message
    assert count(store.conn, "bridge_states") == 2
    assert [entry[:3] for entry in ledger(store, operation_id)] == [("database_operation", "refused", "CONFLICT")]


def test_a_time_out_of_bounds_and_too_many_rows_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bridges(store, "a", "a", "a")
    by_namespace = {"query_filters": {"namespace": "a"}}
    for hours, code in ((-24 * 8, "TOO_OLD"), (2, "FUTURE")):
        operation_id = derived_uuid7(now() + timedelta(hours=hours), b"")
        assert store.refused("delete", BRIDGE, operation_id=operation_id, **by_namespace)[0] == code
    monkeypatch.setattr("store.generic.statements.MAX_ROWS", 2)
    assert "exceeds maximum of 2" in store.refused("delete", BRIDGE, **by_namespace)[1]
    assert count(store.conn, "bridge_states") == 3


@pytest.mark.parametrize(
    ("meanwhile", "affected"),
    [
        ("delete from bridge_states", 0),
        ("update bridge_states set namespace = 'z' where version = 1", 1),
        ("update bridge_states set version = 5", 2),
    ],
)
def test_what_others_do_meanwhile_is_counted_right(
    store: Store, database_any: str, meanwhile: str, affected: int
) -> None:
    bridges(store, "a", version=1)
    bridges(store, "a", version=2)
    operation_id = uuid7()
    with psycopg.connect(database_any) as other, psycopg.connect(database_any, autocommit=True) as watching:
        other.execute("set enable_seqscan = on")
        other.execute(meanwhile)
        answers: list[Row] = []
        delete = threading.Thread(
            target=lambda: answers.append(
                store.do("delete", BRIDGE, query_filters={"namespace": "a"}, operation_id=operation_id)
            )
        )
        delete.start()
        wait_until(waits_for_a_lock(watching), seconds=5, what="the delete waits for the other one")
        other.commit()
        delete.join(60)
    assert [answer["rows_affected"] for answer in answers] == [affected]
    assert ledger(store, operation_id)[0][3] == {"rows_affected": affected}
    assert count(store.conn, "bridge_states") == {0: 0, 1: 1, 2: 0}[affected]


def waits_for_a_lock(conn: psycopg.Connection[Any]) -> Callable[[], bool]:
    asked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    return lambda: conn.execute(asked).fetchone() == (1,)


def test_a_locked_row_is_given_up_in_time_and_nothing_is_kept(store: Store, database_any: str) -> None:
    (one,) = bridges(store, "a")
    delete = {"query_filters": {"bridge_id": one["bridge_id"]}, "operation_id": uuid7()}
    store.conn.execute("set lock_timeout = '50ms'")
    with psycopg.connect(database_any) as other:
        other.execute("select from bridge_states for update")
        assert store.refused("delete", BRIDGE, timeout_ms=OWN_LIMIT_MS, **delete)[0] == "TIMEOUT"
    assert ledger(store, delete["operation_id"]) == []
    assert store.do("delete", BRIDGE, **delete)["rows_affected"] == 1


def test_a_value_that_postgresql_refuses_is_refused(store: Store) -> None:
    by_time = {"query_filters": {"created_at": "9999-12-31T23:59:59+00:00", "namespace": str(uuid4())}}
    assert store.do("delete", BRIDGE, **by_time)["rows_affected"] == 0
