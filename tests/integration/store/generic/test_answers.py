"""What generic operations answer of rows: numbers and rows of any size, ids, and rows that their models do not take."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from omninode_bridge.contract.clock import derived_uuid7, now, uuid7
from omninode_bridge.persistence.entities import given_fields
from store.database.pool import Pool, PoolConfig, lone_connection
from store.generic.entities import ENTITIES, MODELS
from tests import factories
from tests.factories import count, store_connection
from tests.generic import Row, Store, entity

WORKFLOW = "workflow_execution"
ENTITY_TYPES = [name for name in ENTITIES if name != "node_health_metrics"]
NUMBERS = {"n": [1e19, 1e20, 1e22, -1e300, 2**64 - 1, -(2**63), 1e-7]}
LARGE = "x" * 900_000  # five of them are more than an answer of several rows may have
COLUMNS = ("metadata", "input_data", "output_data", "error_info", "intelligence_data")


@pytest.fixture
def store(database_any: str) -> Iterator[Store]:
    with store_connection(database_any) as conn:
        yield Store(conn)


def json_columns(entity_type: str) -> list[str]:
    return [name for name, kind in ENTITIES[entity_type].columns.items() if kind == "json"]


def with_workflow(store: Store, entity_type: str, **fields: Any) -> Row:
    row = entity(entity_type, **fields)
    if entity_type == "workflow_step":
        row["workflow_id"] = store.written("insert", WORKFLOW, entity=entity(WORKFLOW))["id"]
    return row


@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_a_number_of_any_size_in_any_json_column_comes_back(store: Store, entity_type: str) -> None:
    values = {name: [NUMBERS] if name == "workflow_steps" else NUMBERS for name in json_columns(entity_type)}
    row = store.written("insert", entity_type, entity=with_workflow(store, entity_type, **values))
    assert {name: row[name] for name in values} == values
    by_key = {name: row[name] for name in ENTITIES[entity_type].key}
    changed = store.written("update", entity_type, entity=values, query_filters=by_key)
    assert changed == row | {name: changed[name] for name in ("row_version", "updated_at") if name in row}
    assert store.rows(entity_type, **by_key) == [changed]
    assert store.rows(entity_type, **{f"{name}__eq": value for name, value in values.items()}) == [changed]


def test_every_connection_reads_a_large_number_as_what_can_be_sent_on(database: str) -> None:
    config = PoolConfig(database, "test")
    pool = Pool(config)
    pool.open()
    try:
        with pool.connection() as pooled, lone_connection(config) as lone:
            for conn in (pooled, lone):
                for type_ in ("json", "jsonb"):
                    ((read,),) = conn.execute(f"select '{10**25}'::{type_}").fetchall()
                    assert (type(read), read) == (float, 1e25)
    finally:
        pool.close()


def test_a_row_that_has_grown_beyond_any_answer_is_read_and_written(store: Store) -> None:
    workflow = uuid4()
    for column in COLUMNS:  # metadata alone has a bound of its own
        grown: dict[str, Any] = {column: {"key": LARGE}}
        store.apply(factories.execution(workflow, **grown))
    by_key = {"correlation_id": str(workflow)}
    (row,) = store.rows(WORKFLOW, **by_key)
    assert {column: row[column] for column in COLUMNS} == {column: {"key": LARGE} for column in COLUMNS}
    changed = store.written("update", WORKFLOW, entity={"namespace": "n"}, query_filters=by_key)
    assert {column: changed[column] for column in COLUMNS} == {column: row[column] for column in COLUMNS}
    assert changed["namespace"] == "n"
    other = entity(WORKFLOW, workflow_type="stamping")
    store.do("insert", WORKFLOW, entity=other)
    everything = {"query_filters": {"namespace__ne": "nobody's"}}
    assert store.refused("query", WORKFLOW, **everything)[1].startswith("limit: the answer has more than")
    code, message = store.refused("update", WORKFLOW, entity={"stamp_id": "s"}, **everything, returning=True)
    assert code == "VALIDATION_ERROR" and message.startswith("returning: the rows have ")


def test_what_a_strict_write_would_answer_is_checked_before_it_is_committed(store: Store) -> None:
    row = store.written("insert", "bridge_state", entity=entity("bridge_state"))
    by_key = {"query_filters": {"bridge_id": row["bridge_id"]}}
    loose: Row = {"entity": {"configuration": [1]}, **by_key, "strict_jsonb_validation": False}
    assert store.written("update", "bridge_state", **loose)["configuration"] == [1]
    operation_id = uuid7()
    for _ in range(2):
        code, message = store.refused(
            "update", "bridge_state", entity={"version": 2}, **by_key, returning=True, operation_id=operation_id
        )
        assert code == "DATABASE_QUERY_ERROR" and message.startswith("configuration: ")
        assert f"bridge_id '{row['bridge_id']}'" in message
    (found,) = store.do("query", "bridge_state", strict_jsonb_validation=False)["result_data"]["items"]
    assert (found["version"], found["row_version"]) == (1, 2)
    assert store.do("update", "bridge_state", entity={"version": 2}, **by_key)["rows_affected"] == 1
    mended = store.written("update", "bridge_state", entity={"configuration": {}}, **by_key)
    assert (mended["version"], mended["configuration"]) == (2, {})


def test_a_write_that_comes_again_is_answered_whatever_was_written_since(store: Store) -> None:
    insert: Row = {"entity": entity("bridge_state"), "operation_id": uuid7(), "returning": True}
    (row,) = store.do("insert", "bridge_state", **insert)["result_data"]["rows"]
    by_key = {"query_filters": {"bridge_id": row["bridge_id"]}}
    store.do("update", "bridge_state", entity={"configuration": [1]}, **by_key, strict_jsonb_validation=False)
    again = store.do("insert", "bridge_state", **insert)
    assert (again["rows_affected"], again["result_data"]["id"]) == (1, row["bridge_id"])
    assert [one["configuration"] for one in again["result_data"]["rows"]] == [[1]]


def test_the_id_of_a_workflow_is_its_rows_and_stays_so_when_it_is_asked_again(store: Store) -> None:
    old, correlation_id = uuid4(), uuid4()
    store.conn.execute("insert into workflow_executions (id, correlation_id) values (%s, %s)", [old, correlation_id])
    upsert: Row = {
        "entity": {"correlation_id": str(correlation_id), "namespace": "n"},
        "query_filters": {"correlation_id": None},
        "operation_id": uuid7(),
    }
    for _ in range(2):
        assert store.do("upsert", WORKFLOW, **upsert)["result_data"] == {"id": str(old)}
    rows = [entity(WORKFLOW, correlation_id=str(old)), entity(WORKFLOW)]  # the first one's id is taken
    batch: Row = {"batch_entities": rows, "operation_id": uuid7()}
    answers = [store.do("batch_insert", WORKFLOW, **batch)["result_data"]["ids"] for _ in range(2)]
    found = {row["correlation_id"]: row["id"] for row in store.rows(WORKFLOW)}
    assert answers == [[found[row["correlation_id"]] for row in rows]] * 2 and str(old) not in answers[0]
    store.conn.execute("update operations set result = result - 'ids'")  # as it was kept once
    assert store.do("batch_insert", WORKFLOW, **batch)["result_data"]["ids"] == [row["correlation_id"] for row in rows]


def test_a_delete_of_workflows_raises_the_versions_of_the_stamps_that_lose_theirs(store: Store) -> None:
    workflow = store.written("insert", WORKFLOW, entity=entity(WORKFLOW))
    own = store.written("insert", "metadata_stamp", entity=entity("metadata_stamp", workflow_id=workflow["id"]))
    other = store.written("insert", "metadata_stamp", entity=entity("metadata_stamp"))
    assert store.do("delete", WORKFLOW, query_filters={"id": workflow["id"]})["rows_affected"] == 1
    (left,) = store.rows("metadata_stamp", id=own["id"])
    assert left == own | {"workflow_id": None, "row_version": 2}
    assert store.rows("metadata_stamp", id=other["id"]) == [other]


def test_a_version_with_the_rows_making_is_no_other_rows(store: Store) -> None:
    """A row that was deleted and made again begins at version 1 again."""
    row = store.written("insert", WORKFLOW, entity=entity(WORKFLOW))
    by_key = {"correlation_id": row["correlation_id"]}
    store.do("delete", WORKFLOW, query_filters=by_key)
    store.do("insert", WORKFLOW, entity=entity(WORKFLOW, **by_key))
    guarded: Row = {"entity": {"stamp_id": "s"}, "expected_version": row["row_version"]}
    exact = by_key | {"created_at": row["created_at"]}
    code, message = store.refused("update", WORKFLOW, **guarded, query_filters=exact)
    assert (code, message) == ("NOT_FOUND", "expected_version: no row is found by query_filters")
    (again,) = store.rows(WORKFLOW, **by_key)
    exact = by_key | {"created_at": again["created_at"]}
    assert store.do("update", WORKFLOW, **guarded, query_filters=exact)["rows_affected"] == 1


@pytest.mark.parametrize("entity_type", ["workflow_step", "fsm_transition"])
def test_a_row_that_is_kept_by_its_ids_time_has_an_id_with_one(store: Store, entity_type: str) -> None:
    row, by_id = with_workflow(store, entity_type), {"query_filters": {"id": None}}
    no_time, ahead, good = str(uuid4()), derived_uuid7(now() + timedelta(days=2), b"x"), str(uuid7())
    code, message = store.refused("upsert", entity_type, entity=row | {"id": no_time}, **by_id)
    assert (code, message) == ("VALIDATION_ERROR", "id: not a UUID of version 7, by whose time the row would be kept")
    code, message = store.refused("upsert", entity_type, entity=row | {"id": str(ahead)}, **by_id)
    assert code == "FUTURE" and message.startswith("id: of a time further ahead")
    assert store.do("upsert", entity_type, entity=row | {"id": good}, **by_id)["result_data"] == {"id": good}
    table, model = ENTITIES[entity_type].table, MODELS[ENTITIES[entity_type].table]
    old = given_fields(model.model_validate(row | {"id": no_time}))
    store.conn.execute(
        f"insert into {table} ({', '.join(old)}) select {', '.join(old)} from jsonb_populate_record(null::{table}, %s)",
        [Jsonb(old)],
    )
    changed = store.written("upsert", entity_type, entity=row | {"id": no_time}, **by_id)
    assert (changed["id"], changed["row_version"]) == (no_time, 2), "one that stands is written whatever its id"


def test_a_refusal_that_quotes_an_odd_character_is_kept_and_printable(store: Store) -> None:
    operation_id = uuid7()
    odd = entity(WORKFLOW, correlation_id="a\0b")
    first, again = (store.refused("insert", WORKFLOW, entity=odd, operation_id=operation_id) for _ in range(2))
    assert first == again and first[0] == "VALIDATION_ERROR" and first[1].isprintable()
    assert count(store.conn, "operations") == 1
