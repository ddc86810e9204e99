"""Generic writes: what they leave in the rows, what they answer, and how they live with events and with each other."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from omninode_bridge.contract.clock import now, sibling_uuid7, uuid7
from omninode_bridge.contract.enums import EnumEntityType
from omninode_bridge.persistence.entities import ENTITY_MODELS
from store.generic import statements
from store.generic.entities import ENTITIES
from store.generic.writes import statement
from tests import factories
from tests.deadline import wait_until
from tests.factories import count, store_connection
from tests.generic import Row, Store, entity

WORKFLOW = "workflow_execution"


@pytest.fixture
def store(database_any: str) -> Iterator[Store]:
    with store_connection(database_any) as conn:
        yield Store(conn)


def test_an_inserted_row_is_read_as_it_was_written(store: Store) -> None:
    workflow = store.written("insert", WORKFLOW, entity=entity(WORKFLOW, current_state="pending", metadata={"a": None}))
    assert workflow["current_state"] == "PENDING" and workflow["metadata"] == {"a": None}
    assert workflow["id"] == workflow["correlation_id"] and workflow["row_version"] == 1
    for entity_type in ENTITIES:
        if entity_type in (WORKFLOW, "node_health_metrics"):
            continue
        fields = entity(entity_type)
        if entity_type == "workflow_step":
            fields["workflow_id"] = workflow["id"]
        answer = store.do("insert", entity_type, entity=fields, returning=True)
        (row,) = answer["result_data"]["rows"]
        assert {name: row[name] for name in fields} == fields
        assert answer["rows_affected"] == 1 and answer["result_data"]["id"] == row[ENTITIES[entity_type].key[0]]
        assert store.rows(entity_type) == [row]
        ENTITY_MODELS[EnumEntityType(entity_type)].model_validate(row)


def test_what_the_database_makes_is_left_out_of_an_insert(store: Store) -> None:
    given = entity("metadata_stamp", id=str(uuid4()), created_at="2001-01-01T00:00:00Z", row_version=7)
    operation_id = uuid7()
    row = store.written("insert", "metadata_stamp", entity=given, operation_id=operation_id)
    assert row["id"] == str(operation_id) and row["row_version"] == 1
    assert datetime.fromisoformat(row["created_at"]) > now() - timedelta(minutes=5)


def test_an_insert_fills_a_workflow_that_only_a_step_has_opened(store: Store) -> None:
    step = factories.step()
    store.apply(step)
    correlation_id = str(step.data.workflow_id)  # type: ignore[attr-defined]  # a step's data
    row = store.written("insert", WORKFLOW, entity=entity(WORKFLOW, correlation_id=correlation_id))
    assert row["workflow_type"] == "stamping" and row["row_version"] == 2
    again = store.refused("insert", WORKFLOW, entity=entity(WORKFLOW, correlation_id=correlation_id))
    assert again == ("CONFLICT", "correlation_id: duplicate key, workflow_executions has such a row")


def test_a_row_older_than_the_fleet_is_not_filled(store: Store) -> None:
    old = uuid4()
    store.conn.execute("insert into workflow_executions (correlation_id, workflow_type) values (%s, 'old')", [old])
    code, _ = store.refused("insert", WORKFLOW, entity=entity(WORKFLOW, correlation_id=str(old)))
    assert code == "CONFLICT"


def test_a_step_finds_its_workflow_by_correlation_id_and_by_the_id_of_an_old_row(store: Store) -> None:
    old, correlation_id = uuid4(), uuid4()
    store.conn.execute("insert into workflow_executions (id, correlation_id) values (%s, %s)", [old, correlation_id])
    for name in (old, correlation_id):
        step = store.written("insert", "workflow_step", entity=entity("workflow_step", workflow_id=str(name)))
        assert step["workflow_id"] == str(old)
    moved = store.written("update", "metadata_stamp", **stamp_of(store), entity={"workflow_id": str(correlation_id)})
    assert moved["workflow_id"] == str(old)


def stamp_of(store: Store) -> Row:
    return {"query_filters": {"id": store.written("insert", "metadata_stamp", entity=entity("metadata_stamp"))["id"]}}


def test_a_transition_moves_its_machine_and_those_of_a_batch_do_so_in_its_order(store: Store) -> None:
    machine = str(uuid4())
    moves = [entity("fsm_transition", entity_id=machine, to_state=state) for state in ("LOADING", "BUSY", "IDLE")]
    store.do("batch_insert", "fsm_transition", batch_entities=moves)
    states = "select current_state, transition_count, last_transition_at from fsm_states"
    ((state, number, moved_at),) = store.conn.execute(states).fetchall()
    assert (state, number) == ("IDLE", 3)
    told = sorted(store.rows("fsm_transition"), key=lambda row: str(row["transition_at"]))
    assert [row["to_state"] for row in told] == ["LOADING", "BUSY", "IDLE"]
    assert datetime.fromisoformat(told[-1]["transition_at"]) == moved_at
    changed = store.do("update", "fsm_transition", entity={"to_state": "X"}, query_filters={"id": told[-1]["id"]})
    assert changed["rows_affected"] == 1
    assert store.conn.execute(states).fetchall() == [("IDLE", 3, moved_at)]


def test_rows_of_a_batch_may_give_different_fields(store: Store) -> None:
    rows = [
        entity(WORKFLOW, execution_time_ms=1),
        entity(WORKFLOW, workflow_steps=[1]),
        entity(WORKFLOW, metadata={"a": 1}),
    ]
    operation_id = uuid7()
    answer = store.do("batch_insert", WORKFLOW, batch_entities=rows, returning=True, operation_id=operation_id)
    assert answer["result_data"]["ids"] == [row["correlation_id"] for row in rows] and answer["rows_affected"] == 3
    shown = [
        (row["execution_time_ms"], row["workflow_steps"], row["metadata"]) for row in answer["result_data"]["rows"]
    ]
    assert shown == [(1, [], {}), (None, [1], {}), (None, [], {"a": 1})]
    stamps = store.do(
        "batch_insert", "metadata_stamp", batch_entities=[entity("metadata_stamp")] * 2, operation_id=(own := uuid7())
    )
    assert stamps["result_data"]["ids"] == [str(sibling_uuid7(own, f"{own}:{n}".encode())) for n in range(2)]


def test_a_batch_is_written_whole_or_not_at_all(store: Store) -> None:
    rows = [entity(WORKFLOW) for _ in range(3)]
    store.do("insert", WORKFLOW, entity=rows[1])
    code, message = store.refused("batch_insert", WORKFLOW, batch_entities=rows)
    assert code == "CONFLICT" and message.startswith("batch_entities[1]: correlation_id: duplicate key")
    assert count(store.conn, "workflow_executions") == 1
    code, message = store.refused("batch_insert", WORKFLOW, batch_entities=[rows[0], rows[2], rows[0]])
    assert code == "CONFLICT" and message.startswith("batch_entities[2]: ")


def test_an_update_sets_what_is_given_and_null_too(store: Store) -> None:
    row = store.written("insert", WORKFLOW, entity=entity(WORKFLOW, error_message="x", execution_time_ms=4))
    by_key = {"correlation_id": row["correlation_id"]}
    fields = {"error_message": None, "started_at": "2026-11-01T10:00:00+01:00", **by_key}
    changed = store.written("update", WORKFLOW, entity=fields, query_filters=by_key)
    assert changed["started_at"] == "2026-11-01T09:00:00+00:00" and changed["error_message"] is None
    assert changed["execution_time_ms"] == 4 and changed["row_version"] == 2
    assert changed["updated_at"] > row["updated_at"]
    assert (
        store.do("update", WORKFLOW, entity=fields, query_filters={"correlation_id": str(uuid4())})["rows_affected"]
        == 0
    )


def test_an_update_and_a_delete_take_all_rows_that_are_found(store: Store) -> None:
    nodes = [entity("node_heartbeat", node_type=kind) for kind in ("reducer", "reducer", "registry")]
    store.do("batch_insert", "node_heartbeat", batch_entities=nodes)
    reducers = {"node_type": "reducer"}
    changed = store.do("update", "node_heartbeat", entity={"node_version": "2"}, query_filters=reducers, returning=True)
    assert changed["rows_affected"] == 2 and [row["node_version"] for row in changed["result_data"]["rows"]] == [
        "2",
        "2",
    ]
    gone = store.do("delete", "node_heartbeat", query_filters=reducers)
    assert (gone["rows_affected"], gone["result_data"]) == (2, None)
    assert store.do("delete", "node_heartbeat", query_filters=reducers)["rows_affected"] == 0
    assert count(store.conn, "node_registrations") == 1


def test_an_upsert_inserts_first_and_then_sets_what_is_given(store: Store) -> None:
    row = entity("bridge_state", total_items_aggregated=3, configuration={"a": 1})
    by_key = {"query_filters": {"bridge_id": None, "namespace": None}}
    first = store.written("upsert", "bridge_state", entity=row, **by_key)
    part = {"bridge_id": row["bridge_id"], "namespace": "tests", "total_items_aggregated": 5}
    second = store.written("upsert", "bridge_state", entity=part, **by_key)
    assert (first["total_items_aggregated"], second["total_items_aggregated"]) == (3, 5)
    assert second["configuration"] == {"a": 1} and second["row_version"] == 2
    alone = store.written(
        "upsert", "bridge_state", entity={"bridge_id": row["bridge_id"], "version": 9}, query_filters={"bridge_id": 0}
    )
    assert alone["version"] == 9 and alone["namespace"] == "tests"
    code, message = store.refused("upsert", "bridge_state", entity=part | {"bridge_id": str(uuid4())}, **by_key)
    assert code == "VALIDATION_ERROR" and message.startswith("current_fsm_state: ")


def test_an_upsert_by_id_keeps_the_id(store: Store) -> None:
    stamp = entity("metadata_stamp", id=str(uuid4()))
    for namespace in ("one", "two"):
        row = store.written(
            "upsert", "metadata_stamp", entity=stamp | {"namespace": namespace}, query_filters={"id": None}
        )
        assert (row["id"], row["namespace"]) == (stamp["id"], namespace)


def test_totals_that_are_given_leave_out_what_was_contributed(store: Store) -> None:
    contribution = factories.contribution()
    store.apply(contribution)
    by_id = {"query_filters": {"bridge_id": str(contribution.data.aggregation_id)}}  # type: ignore[attr-defined]
    row = store.written("update", "bridge_state", entity={"total_items_aggregated": 10}, **by_id)
    assert (row["total_items_aggregated"], row["total_workflows_processed"]) == (12, 1)
    assert "contributed_items_aggregated" not in row and "clocks" not in row


def test_a_finished_workflow_stays_so_and_the_answer_says_it(store: Store) -> None:
    row = store.written("insert", WORKFLOW, entity=entity(WORKFLOW, current_state="COMPLETED"))
    by_key = {"correlation_id": row["correlation_id"]}
    changed = store.written("update", WORKFLOW, entity={"current_state": "PROCESSING"}, query_filters=by_key)
    assert changed["current_state"] == "COMPLETED"


def test_the_newest_word_of_a_field_counts_whichever_way_it_came(store: Store) -> None:
    workflow = uuid4()
    before, after = now() - timedelta(minutes=10), now() + timedelta(minutes=10)
    store.apply(factories.execution(workflow, occurred_at=after, namespace="late", metadata={"late": 1, "both": 1}))
    by_key = {"correlation_id": str(workflow)}
    fields = {"namespace": "generic", "workflow_type": "generic", "metadata": {"both": 2, "generic": 2}}
    row = store.written("update", WORKFLOW, entity=fields, query_filters=by_key)
    assert (row["namespace"], row["workflow_type"]) == ("late", "generic")
    assert row["metadata"] == {"late": 1, "both": 1, "generic": 2}
    early: Row = {"workflow_type": "early", "stamp_id": "early", "metadata": {"early": 3}}
    store.apply(factories.execution(workflow, occurred_at=before, **early))
    (row,) = store.rows(WORKFLOW)
    assert (row["workflow_type"], row["stamp_id"]) == ("generic", "early")
    assert row["metadata"] == {"late": 1, "both": 1, "generic": 2}


def test_a_heartbeat_and_a_generic_write_of_its_health_keep_their_own_times(store: Store) -> None:
    early, late = now() - timedelta(minutes=10), now() - timedelta(minutes=5)
    store.apply(factories.heartbeat("n", occurred_at=early, last_heartbeat=early))
    store.do("update", "node_heartbeat", entity={"health_status": "DOWN"}, query_filters={"node_id": "n"})
    store.apply(factories.heartbeat("n", occurred_at=late, last_heartbeat=late))
    (row,) = store.rows("node_heartbeat")
    assert row["health_status"] == "DOWN" and datetime.fromisoformat(row["last_heartbeat"]) == late


def test_a_write_that_comes_again_is_answered_the_same(store: Store) -> None:
    row = entity(WORKFLOW)
    by_key = {"correlation_id": row["correlation_id"]}
    inserted, changed, deleted, refused = (uuid7() for _ in range(4))
    sent: list[Callable[[], Row]] = [
        lambda: store.ask("insert", WORKFLOW, entity=row, operation_id=inserted),
        lambda: store.ask("insert", WORKFLOW, entity=row, operation_id=refused),
        lambda: store.ask(
            "update", WORKFLOW, entity={"stamp_id": "s"}, query_filters=by_key, operation_id=changed, returning=True
        ),
        lambda: store.ask("delete", WORKFLOW, query_filters=by_key, operation_id=deleted),
    ]
    told = ("success", "rows_affected", "result_data", "error_code", "error_message")
    first, second = ([{name: send()[name] for name in told} for send in sent[:3]] for _ in range(2))
    assert first == second and [one["success"] for one in first] == [True, False, True]
    assert store.conn.execute("select row_version from workflow_executions").fetchall() == [(2,)]
    last = sent[3]()
    assert (last["rows_affected"], sent[3]()["rows_affected"]) == (1, 1)
    assert [one()["success"] for one in sent] == [True, False, True, True], "also when the row is gone"
    assert (count(store.conn, "workflow_executions"), count(store.conn, "dead_letters")) == (0, 0)


def test_deliveries_of_one_write_at_the_same_time_count_once(store: Store, database_any: str) -> None:
    row = store.written("insert", "bridge_state", entity=entity("bridge_state"))
    write: Row = {"entity": {"version": 5}, "query_filters": {"bridge_id": row["bridge_id"]}, "operation_id": uuid7()}
    barrier = threading.Barrier(6)

    def update() -> Row:
        with store_connection(database_any) as conn:
            barrier.wait(60)
            return Store(conn).written("update", "bridge_state", **write)

    with ThreadPoolExecutor(6) as pool:
        answers = [future.result() for future in [pool.submit(update) for _ in range(6)]]
    assert {(answer["version"], answer["row_version"]) for answer in answers} == {(5, 2)}


def test_of_twenty_inserts_of_one_key_one_succeeds(store: Store, database_any: str) -> None:
    row = entity(WORKFLOW)
    barrier = threading.Barrier(20)

    def insert() -> str:
        with store_connection(database_any) as conn:
            barrier.wait(60)
            answer = Store(conn).ask("insert", WORKFLOW, entity=row)
            return answer["error_code"] or "created"

    with ThreadPoolExecutor(20) as pool:
        answers = sorted(future.result() for future in [pool.submit(insert) for _ in range(20)])
    assert answers == ["CONFLICT"] * 19 + ["created"]


def test_updates_of_different_columns_at_once_lose_none(store: Store, database_any: str) -> None:
    row = entity(WORKFLOW)
    by_key = {"correlation_id": row["correlation_id"]}
    store.do("insert", WORKFLOW, entity=row)
    fields: Row = {"namespace": "a", "workflow_type": "b", "stamp_id": "c", "execution_time_ms": 4}

    def update(name: str, value: Any) -> None:
        with store_connection(database_any) as conn:
            for _ in range(5):
                Store(conn).do("update", WORKFLOW, entity={name: value}, query_filters=by_key)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(update, name, value) for name, value in fields.items()]:
            future.result()
    (found,) = store.rows(WORKFLOW)
    assert {name: found[name] for name in fields} == fields and found["row_version"] == 21


def test_of_updates_that_expect_one_version_exactly_one_wins(store: Store, database_any: str) -> None:
    row = store.written("insert", "node_heartbeat", entity=entity("node_heartbeat"))
    by_key = {"node_id": row["node_id"]}

    def update(number: int) -> Row:
        with store_connection(database_any) as conn:
            fields = {"node_version": str(number)}
            return Store(conn).ask("update", "node_heartbeat", entity=fields, query_filters=by_key, expected_version=1)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(update, range(8)))
    lost = [answer for answer in answers if not answer["success"]]
    assert len(lost) == 7 and {answer["error_code"] for answer in lost} == {"CONFLICT"}
    assert {answer["error_message"] for answer in lost} == {"expected_version: 1 was expected, the row has version 2"}


def test_the_clock_is_read_when_the_rows_are_held(store: Store, database_any: str) -> None:
    """Who waited for a row writes it later than who held it, so the last to commit is the newest."""
    row = entity(WORKFLOW)
    by_key = {"correlation_id": row["correlation_id"]}
    store.do("insert", WORKFLOW, entity=row)
    waiting = "select count(*) from pg_locks where not granted and pid = %s"
    update = threading.Thread(
        target=lambda: store.do("update", WORKFLOW, entity={"namespace": "n"}, query_filters=by_key)
    )
    with store_connection(database_any) as holder, store_connection(database_any) as watcher:
        with holder.transaction():
            holder.execute("select from workflow_executions for update")
            update.start()
            pid = [store.conn.info.backend_pid]
            wait_until(lambda: (watcher.execute(waiting, pid).fetchone() or (0,))[0], seconds=10, what="it waits")
            ((held_until,),) = holder.execute("select clock_timestamp()").fetchall()
        update.join(60)
    ((said,),) = store.conn.execute("select clocks ->> 'namespace' from workflow_executions").fetchall()
    since = timedelta(microseconds=int(said[:16], 16))
    assert datetime.min.replace(tzinfo=held_until.tzinfo) + since > held_until


def test_writes_go_by_index(store: Store) -> None:
    for name in ("workflow_execution", "workflow_step", "bridge_state", "node_heartbeat"):
        keys = {f"key_{n}": [str(UUID(int=7))] for n in range(2)}
        for text in (statements.read(name), statements.delete(name)):
            assert_by_index(store, text, keys)
    for lookup in ("find_parents", "release_stamps"):
        assert_by_index(store, statement(lookup).encode(), {"ids": [str(UUID(int=7))]})


def assert_by_index(store: Store, text: bytes, parameters: Row) -> None:
    shown = "\n".join(line for (line,) in store.conn.execute(b"explain " + text, parameters))
    assert "Seq Scan" not in shown and "Index" in shown, shown


def test_the_connection_is_free_again_after_every_answer(store: Store) -> None:
    store.refused("insert", WORKFLOW, entity={"nonsense": 1})
    store.do("insert", WORKFLOW, entity=entity(WORKFLOW))
    assert store.conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    assert store.conn.execute("show statement_timeout").fetchall() == [("0",)]
