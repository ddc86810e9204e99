"""Database operations that are refused: which fault is named, in which words, and that nothing is left of them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from omninode_bridge.contract.clock import derived_uuid7, now, uuid7
from store.database.errors import Outage
from store.generic import writes
from store.reports.reports import REPORTS
from store.write.batch import Limits
from tests import factories
from tests.factories import count, store_connection
from tests.generic import Row, Store, entity

WORKFLOW = "workflow_execution"
HOSTILE = "id; drop table workflow_executions --"
SOME: Row = {"query_filters": {"node_id": "n"}}


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    with store_connection(database) as conn:
        yield Store(conn)


@pytest.mark.parametrize(
    ("operation_type", "entity_type", "request_", "message"),
    [
        ("insert", None, {}, "entity_type: not one of"),
        ("insert", "workflows", {}, "entity_type: not one of"),
        ("insert", "node_health_metrics", {"entity": {"node_id": "n"}}, "entity_type: node_health_metrics can only"),
        ("insert", WORKFLOW, {}, "entity: an object that is not empty is required for insert"),
        ("insert", WORKFLOW, {"entity": [1]}, "entity: an object that is not empty is required"),
        ("insert", WORKFLOW, {"entity": {"namespace": "n"}}, "correlation_id: Field required"),
        ("insert", WORKFLOW, {"entity": {"colour": 1}}, "'colour': no column of workflow_executions"),
        ("insert", WORKFLOW, {"entity": {HOSTILE: 1}}, "entity: SQL identifier contains invalid characters"),
        ("insert", WORKFLOW, {"entity": {"": 1}}, "entity: SQL identifier must be a non-empty string"),
        ("insert", WORKFLOW, {"entity": {"x" * 64: 1}}, "entity: SQL identifier is too long"),
        ("update", WORKFLOW, SOME, "entity: an object that is not empty is required for update"),
        (
            "update",
            "node_heartbeat",
            {"entity": {"colour": 1}},
            "query_filters: an object that is not empty is required",
        ),
        ("update", "node_heartbeat", {"entity": {"colour": 1}, **SOME}, "'colour': no column of"),
        ("update", "node_heartbeat", {"entity": {"updated_at": None}, **SOME}, "updated_at: made by the database"),
        ("update", "node_heartbeat", {"entity": {"node_id": "n"}, **SOME}, "entity: at least one field that is no key"),
        ("update", "node_heartbeat", {"entity": {"node_type": None}, **SOME}, "node_type: "),
        (
            "update",
            "node_heartbeat",
            {"entity": {"node_type": "x"}, "query_filters": {"a__like": 1}},
            "a: Unsupported operator",
        ),
        (
            "update",
            "node_heartbeat",
            {"entity": {"node_type": "x"}, "expected_version": 0, **SOME},
            "expected_version: not an",
        ),
        (
            "delete",
            WORKFLOW,
            {"query_filters": {}},
            "query_filters: an object that is not empty is required for delete",
        ),
        ("delete", WORKFLOW, {"query_filters": {"id": "x"}}, "id: not a value"),
        (
            "delete",
            WORKFLOW,
            {"query_filters": {"id": None}, "expected_version": 1},
            "expected_version: only an update",
        ),
        ("upsert", "node_heartbeat", {}, "entity: an object that is not empty is required for upsert"),
        (
            "upsert",
            "node_heartbeat",
            {"entity": {"node_id": "n"}},
            "query_filters: an object that is not empty is required",
        ),
        ("upsert", "node_heartbeat", {"entity": {"node_id": "n"}, **SOME}, "entity: at least one non-conflict column"),
        (
            "upsert",
            "node_heartbeat",
            {"entity": {"node_id": "n", "node_type": "x"}, "query_filters": {"node_type": 1}},
            "query_filters: not a key of its table: node_id",
        ),
        ("upsert", "node_heartbeat", {"entity": {"node_type": "x"}, **SOME}, "node_id: in query_filters, so"),
        (
            "upsert",
            "node_heartbeat",
            {"entity": {"a": 1}, "query_filters": {HOSTILE: 1}},
            "query_filters: SQL identifier",
        ),
        ("batch_insert", WORKFLOW, {}, "batch_entities: a list that is not empty is required for batch_insert"),
        ("batch_insert", WORKFLOW, {"batch_entities": []}, "batch_entities: a list that is not empty is required"),
        ("batch_insert", WORKFLOW, {"batch_entities": [{}] * 1001}, "batch_size: 1001 exceeds maximum of 1000"),
        ("batch_insert", WORKFLOW, {"batch_entities": [entity(WORKFLOW), 7]}, "batch_entities[1]: not an object"),
        (
            "batch_insert",
            "node_heartbeat",
            {"batch_entities": [entity("node_heartbeat"), {}]},
            "batch_entities[1]: node_id: ",
        ),
        ("batch_update", WORKFLOW, {}, "operation_type: batch_update is not offered"),
        ("health_check", None, {}, "operation_type: health_check is not offered"),
        (HOSTILE, None, {}, "operation_type: what was given is not offered"),
        ("persist_workflow_step", None, {}, "workflow_step_data: an object is required for persist_workflow_step"),
        ("insert", WORKFLOW, {"entity": entity(WORKFLOW), "returning": 1}, "returning: neither true nor false"),
        ("insert", WORKFLOW, {"entity": entity(WORKFLOW), "correlation_id": "x"}, "correlation_id: not a UUID"),
        ("count", WORKFLOW, {"correlation_id": str(UUID(int=0))}, "correlation_id: all zeros"),
        (
            "update",
            WORKFLOW,
            {"expected_verison": 1, "entity": {}},
            "expected_verison: no field of a database operation",
        ),
        ("query", WORKFLOW, {"filters": {}, HOSTILE: 1}, "<a name that is none>, filters: no field of a database"),
        ("list_nodes", None, {"parameters": {}}, "parameters: no field of a database operation"),
        ("persist_workflow_step", None, {"data": {}}, "data: no field of a database operation"),
        ("insert", WORKFLOW, {"entity": entity(WORKFLOW, correlation_id="a\0b")}, "correlation_id: Input should be a"),
        ("insert", WORKFLOW, {"entity": entity(WORKFLOW, metadata={"priority": True})}, "metadata: "),
    ],
)
def test_what_is_wrong_is_named(
    store: Store, operation_type: str, entity_type: str | None, request_: Row, message: str
) -> None:
    code, said = store.refused(operation_type, entity_type, **request_)
    assert code == "VALIDATION_ERROR" and said.startswith(message), said
    assert "drop table" not in said
    assert count(store.conn, "dead_letters") == 0


def test_a_key_cannot_be_changed(store: Store) -> None:
    row = store.written("insert", "bridge_state", entity=entity("bridge_state"))
    by_key = {"query_filters": {"bridge_id": row["bridge_id"]}}
    code, message = store.refused("update", "bridge_state", entity={"namespace": "x", "version": 2}, **by_key)
    assert (code, message) == ("VALIDATION_ERROR", "namespace: a key, which an update cannot change")
    assert (
        store.written("update", "bridge_state", entity={"namespace": "tests", "version": 2}, **by_key)["version"] == 2
    )


def test_a_bridge_with_several_states_is_named_by_its_namespace(store: Store) -> None:
    bridge_id = str(uuid4())
    rows = [entity("bridge_state", bridge_id=bridge_id, namespace=name) for name in ("a", "b")]
    store.do("batch_insert", "bridge_state", batch_entities=rows)
    by_id = {"query_filters": {"bridge_id": bridge_id}}
    expected = ("CONFLICT", "bridge_id: 2 bridge states, name one by its namespace: 'a', 'b'")
    assert store.refused("update", "bridge_state", entity={"version": 2}, **by_id) == expected
    assert store.refused("delete", "bridge_state", **by_id) == expected
    one = {"query_filters": {"bridge_id__eq": bridge_id, "namespace__ne": "a"}}
    assert store.do("delete", "bridge_state", **one)["rows_affected"] == 1


def test_a_missing_parent_is_not_found(store: Store) -> None:
    named = str(uuid4())
    expected = ("NOT_FOUND", f"workflow_id: no workflow {named}")
    assert store.refused("insert", "workflow_step", entity=entity("workflow_step", workflow_id=named)) == expected
    assert store.refused("insert", "metadata_stamp", entity=entity("metadata_stamp", workflow_id=named)) == expected
    assert count(store.conn, "workflow_executions") == 0


def test_a_version_that_is_expected_of_no_row_or_of_several_is_refused(store: Store) -> None:
    some: Row = {"entity": {"node_version": "2"}, "query_filters": {"node_type": "unknown"}, "expected_version": 1}
    assert store.refused("update", "node_heartbeat", **some)[0] == "NOT_FOUND"
    store.do("batch_insert", "node_heartbeat", batch_entities=[entity("node_heartbeat") for _ in range(2)])
    code, message = store.refused("update", "node_heartbeat", **some)
    assert code == "CONFLICT" and "2 rows" in message


def test_a_write_of_too_many_rows_is_refused(store: Store) -> None:
    store.conn.execute("insert into node_registrations (node_id) select i::text from generate_series(1, 10001) as i")
    code, message = store.refused("delete", "node_heartbeat", query_filters={"node_type": "unknown"})
    assert code == "VALIDATION_ERROR" and "exceeds maximum of 10000" in message
    assert count(store.conn, "node_registrations") == 10001


def test_an_id_counts_for_one_content_only(store: Store) -> None:
    operation_id, row = uuid7(), entity("node_heartbeat")
    store.do("insert", "node_heartbeat", entity=row, operation_id=operation_id)
    used = ("CONFLICT", "operation_id: already used for other content")
    assert store.refused("insert", "node_heartbeat", entity=entity("node_heartbeat"), operation_id=operation_id) == used
    assert store.refused("insert", "node_heartbeat", entity={"x": 1}, operation_id=operation_id) == used
    told = factories.heartbeat()
    store.apply(told)
    assert store.refused("insert", "node_heartbeat", entity=row, operation_id=told.operation_id) == used
    assert store.ask("insert", "node_heartbeat", entity=row, operation_id=operation_id)["success"]


def test_an_id_that_is_too_old_or_of_the_future_is_refused_for_good(store: Store) -> None:
    row = entity("node_heartbeat")
    for when, code in ((now() - timedelta(days=8), "TOO_OLD"), (now() + timedelta(hours=2), "FUTURE")):
        operation_id = derived_uuid7(when, b"x")
        store.limits = Limits()
        first = store.refused("insert", "node_heartbeat", entity=row, operation_id=operation_id)
        store.limits = Limits(future_limit=timedelta(days=1), horizon=timedelta(days=30))
        assert store.refused("insert", "node_heartbeat", entity=row, operation_id=operation_id) == first
        assert first[0] == code and first[1].startswith("operation_id: ")
    assert store.refused("insert", "node_heartbeat", entity=row, operation_id=uuid4())[0] == "VALIDATION_ERROR"
    assert count(store.conn, "node_registrations") == 0


def test_json_columns_take_any_json_where_that_is_asked_for(store: Store) -> None:
    loose: Row = {"entity": entity("metadata_stamp", stamp_data=[1, "x"], file_metadata="text")}
    assert store.refused("insert", "metadata_stamp", **loose)[1].startswith("stamp_data: ")
    row = store.written("insert", "metadata_stamp", strict_jsonb_validation=False, **loose)
    assert (row["stamp_data"], row["file_metadata"]) == ([1, "x"], "text")
    own = entity(WORKFLOW, metadata=[1])
    assert store.refused("insert", WORKFLOW, entity=own, strict_jsonb_validation=False)[1].startswith("metadata: ")
    nul = entity("metadata_stamp", stamp_data=["\0"])
    code, message = store.refused("insert", "metadata_stamp", entity=nul, strict_jsonb_validation=False)
    assert code == "VALIDATION_ERROR" and message.startswith("stamp_data: ")


def test_what_only_postgres_finds_wrong_is_refused_without_the_value(store: Store) -> None:
    contribution = factories.contribution()
    store.apply(contribution)
    by_id = {"query_filters": {"bridge_id": str(contribution.data.aggregation_id)}}  # type: ignore[attr-defined]
    most = {"total_items_aggregated": 2**63 - 1}
    code, message = store.refused("update", "bridge_state", entity=most, **by_id)
    assert code == "VALIDATION_ERROR" and "NumericValueOutOfRange" in message and "9223" not in message


def test_a_write_that_waits_too_long_for_others_may_be_given_again(store: Store, database: str) -> None:
    row = store.written("insert", "node_heartbeat", entity=entity("node_heartbeat"))
    write: Row = {"entity": {"node_version": "2"}, "query_filters": {"node_id": row["node_id"]}}
    operation_id = uuid7()
    with store_connection(database) as other, other.transaction():
        other.execute("select from node_registrations for update")
        code, message = store.refused("update", "node_heartbeat", operation_id=operation_id, timeout_ms=200, **write)
    assert (code, message) == ("TIMEOUT", "operation: took longer than 200 ms; nothing was written")
    assert count(store.conn, "operations") == 1, "nothing is remembered of what timed out"
    for _ in range(2):
        again = store.written("update", "node_heartbeat", operation_id=operation_id, **write)
        assert (again["node_version"], again["row_version"]) == ("2", 2)


def test_a_defect_in_a_write_is_no_answer_to_keep(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    operation_id, row = uuid7(), entity("node_heartbeat")
    with monkeypatch.context() as broken:
        broken.setattr(writes, "clock", defect)
        code, message = store.refused("insert", "node_heartbeat", entity=row, operation_id=operation_id)
    assert (code, message) == ("INTERNAL_ERROR", "operation: a defect (KeyError); nothing was written")
    assert [one.exc_info is not None for one in caplog.records] == [True], "the log has where it happened"
    assert (count(store.conn, "operations"), count(store.conn, "node_registrations")) == (0, 0)
    store.do("insert", "node_heartbeat", entity=row, operation_id=operation_id)


def test_a_defect_in_a_read_is_not_the_databases(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REPORTS, "told", defect)
    assert store.refused("told") == ("INTERNAL_ERROR", "told: a defect (KeyError)")


def test_what_the_database_refuses_of_a_read_stays_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def report(conn: psycopg.Connection[Any], parameters: Row, *_: object) -> Row:
        conn.execute("do $$ begin raise exception 'no'; end $$")
        return {}

    monkeypatch.setitem(REPORTS, "told", report)
    assert store.refused("told") == ("DATABASE_QUERY_ERROR", "told: RaiseException")


def defect(*_: object) -> Any:
    raise KeyError(HOSTILE)


def test_rows_that_are_too_large_for_an_answer_are_not_written(store: Store) -> None:
    large = [entity("metadata_stamp", stamp_data={"x": "y" * 2000})] * 2
    code, message = store.refused("batch_insert", "metadata_stamp", batch_entities=large, returning=True, max_bytes=999)
    assert code == "VALIDATION_ERROR" and message.startswith("returning: ") and "exceeds maximum" in message
    assert count(store.conn, "metadata_stamps") == 0


def test_a_connection_that_is_gone_is_an_outage(store: Store, database: str) -> None:
    with store_connection(database) as other:
        other.execute("select pg_terminate_backend(%s)", [store.conn.info.backend_pid])
    for operation_type in ("insert", "query"):
        with pytest.raises(Outage):
            store.ask(operation_type, "node_heartbeat", entity=entity("node_heartbeat"))


def test_a_migration_that_has_not_run_is_an_outage(store: Store) -> None:
    store.conn.execute("alter table node_registrations drop column row_version")
    with pytest.raises(Outage):
        store.ask("update", "node_heartbeat", entity={"node_version": "2"}, query_filters={"node_id": "n"})


def test_a_persist_operation_is_one_of_the_six_and_counts_once(store: Store) -> None:
    operation_id, trace = uuid7(), str(uuid4())
    block: Row = {"current_state": "processing", "namespace": "n"}
    for _ in range(2):
        answer = store.ask(
            "persist_workflow_execution", workflow_execution_data=block, operation_id=operation_id, correlation_id=trace
        )
        assert answer["success"] and answer["rows_affected"] == 1 and answer["correlation_id"] == trace
    (row,) = store.rows(WORKFLOW)
    assert (row["correlation_id"], row["current_state"], row["row_version"]) == (trace, "PROCESSING", 1)
    ends: Row = {"current_state": "completed", "completed_at": "2026-11-01T00:00:00Z"}
    store.ask("persist_workflow_execution", workflow_execution_data=ends, correlation_id=trace)
    (clock,) = store.conn.execute("select clocks ->> 'completed_at', clocks ->> 'namespace' from workflow_executions")
    assert clock[0] < clock[1], "the block says itself when it happened; the other one happened when it came"


def test_a_persist_operation_that_is_refused_says_why_and_is_kept(store: Store) -> None:
    code, message = store.refused("update_node_heartbeat", node_heartbeat_data={"node_id": "n"})
    assert (code, message) == ("VALIDATION_ERROR", "health_status: Field required")
    assert count(store.conn, "dead_letters") == 1


def test_a_report_is_asked_for_by_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def report(conn: psycopg.Connection[Any], parameters: Row, *_: object) -> Row:
        if parameters.get("write"):
            conn.execute("delete from node_registrations")
        if parameters.get("wait"):
            conn.execute("select pg_sleep(20)")
        return {"told": parameters["told"] * 1000}

    monkeypatch.setitem(REPORTS, "told", report)
    assert store.ask("told", query_filters={"told": "x"})["result_data"] == {"told": "x" * 1000}
    code, message = store.refused("told", query_filters={"told": "x", "wait": True}, timeout_ms=100)
    assert (code, message) == ("TIMEOUT", "told: took longer than 100 ms")
    code, message = store.refused("told", query_filters={"told": "x"}, max_bytes=100)
    assert code == "VALIDATION_ERROR" and "exceeds maximum" in message
    assert store.refused("told", query_filters=[1])[1] == "query_filters: not an object"
    with pytest.raises(Outage):
        store.ask("told", query_filters={"told": "x", "write": True})
