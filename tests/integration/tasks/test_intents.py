"""The tasks of intents on a real database: effects and announcements once, answers for each intent, recoveries."""

import json
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from omninode_bridge.bus.envelope import announcement_id
from omninode_bridge.contract.clock import now, uuid7
from omninode_bridge.contract.intent_operation import RecoverFsmStatesData
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.operation_types import operation_of
from omninode_bridge.contract.wire import encode, encode_batch
from omninode_bridge.intents.intents import intent_item
from store.database.errors import Outage
from store.outbox import outbox
from store.reports import recovery as recoveries
from tests import factories
from tests.deadline import wait_until
from tests.factories import count, store_connection
from tests.integration.tasks.intent_tasks import Fleet, fleet_on, publishing
from tests.intent_payloads import spellings

Conn = psycopg.Connection[Any]
NOWHERE = "postgresql://fleet:word@127.0.0.1:1/none"
EFFECTS = ("operations", "event_logs", "bridge_states", "fsm_transitions", "dead_letters")


@pytest.fixture
def fleet(database: str) -> Iterator[Fleet]:
    with fleet_on(database) as one:
        yield one


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as opened:
        yield opened


def intent(intent_type: str, *, priority: int = 0, **payload: Any) -> dict[str, Any]:
    return {"intent_type": intent_type, "target": "", "payload": payload, "priority": priority}


def publish(**payload: Any) -> dict[str, Any]:
    return intent("PublishEvent", **{"event_type": "BATCH_PROCESSED", **subject(), **payload})


def persist() -> dict[str, Any]:
    counts = {"tests": {"total_stamps": 4, "unique_workflows_count": 2, "total_size_bytes": 8}}
    return intent("PersistState", aggregated_data=counts, fsm_states={}, **subject())


def move(to_state: str = "PROCESSING", *, from_state: str = "PENDING") -> dict[str, Any]:
    record = {"from_state": from_state, "to_state": to_state, "trigger": "t", "timestamp": now().isoformat()}
    return intent("PersistFSMTransition", workflow_id=str(uuid4()), transition_record=record)


def recovery(**payload: Any) -> dict[str, Any]:
    return intent("RecoverFSMStates", priority=2, **payload)


def subject() -> dict[str, Any]:
    return {"aggregation_id": str(uuid4()), "timestamp": now().isoformat()}


def question(**fields: Any) -> Operation:
    return operation_of(RecoverFsmStatesData(**fields))


def rows(conn: Conn) -> dict[str, int]:
    return {table: count(conn, table) for table in EFFECTS}


# ---- a client's batch ---------------------------------------------------------------------------------------------


def test_effects_and_their_announcements_are_committed_together_and_once(fleet: Fleet, conn: Conn) -> None:
    event, state, moved = factories.publish_event(), factories.contribution(), factories.transition_intent()
    first = fleet.batch(event, state, moved, task_id="one")
    assert [outcome.status for outcome in first] == ["applied"] * 3
    once = rows(conn)
    assert once == {"operations": 3, "event_logs": 3, "bridge_states": 1, "fsm_transitions": 1, "dead_letters": 0}
    assert [outcome.status for outcome in fleet.batch(event, state, moved, task_id="one")] == ["duplicate"] * 3
    assert rows(conn) == once


def test_events_that_wait_in_the_outbox_are_told_to_be_unpublished(fleet: Fleet) -> None:
    outcomes = fleet.batch(factories.publish_event(), factories.transition_intent(), factories.contribution())
    assert [outcome.detail for outcome in outcomes] == [{"event_published": False}] * 2 + [None]


def test_an_answer_waits_until_its_events_are_on_the_bus(database: str) -> None:
    event, moved = factories.publish_event(), factories.transition_intent()
    with fleet_on(database, publish_wait_s=20.0) as fleet, publishing(database):
        outcomes = fleet.batch(event, factories.contribution(), moved)
    assert [outcome.detail for outcome in outcomes] == [{"event_published": True}, None, {"event_published": True}]


def test_a_duplicate_is_told_what_became_of_its_event(fleet: Fleet, conn: Conn) -> None:
    event, moved = factories.publish_event(), factories.transition_intent()
    fleet.batch(event, moved)
    outbox.settle(conn, published=[announcement_id(moved.operation_id)], refused=[])
    outcomes = fleet.batch(event, moved)
    assert [(outcome.status, outcome.detail) for outcome in outcomes] == [
        ("duplicate", {"event_published": False}),
        ("duplicate", {"event_published": True}),
    ]


def test_nobody_waits_for_a_bus_that_takes_nothing(database: str) -> None:
    with fleet_on(database, publish_wait_s=0.02) as fleet:
        for _ in range(4):
            assert fleet.batch(factories.publish_event())[0].detail == {"event_published": False}
        assert fleet.gate.state()["publication_awaited"] is False


def test_a_refused_intent_is_kept_announced_and_told_without_a_detail(fleet: Fleet, conn: Conn) -> None:
    text = json.dumps([{"operation_type": "publish_event", "operation_id": str(uuid7()), "data": {"event_type": "x"}}])
    answer = fleet.call("intent_batch", text)
    assert answer["rest"][0][:3] == [0, "refused", "VALIDATION_ERROR"]
    assert "details" not in answer
    assert (count(conn, "dead_letters"), count(conn, "event_logs")) == (1, 1)


@pytest.mark.parametrize(
    ("task", "queue", "item"),
    [
        ("intent_batch", "intents", factories.step()),
        ("persist_batch", "persist", factories.contribution()),
        ("persist_workflow_step", "persist", factories.publish_event()),
        ("persist_batch", "persist", question()),
    ],
)
def test_a_task_takes_the_types_of_its_own_queue_only(
    fleet: Fleet, conn: Conn, task: str, queue: str, item: Operation
) -> None:
    answer = fleet.call(task, encode_batch([encode(item), encode(item)]), queue=queue)
    message = "operation_type: not taken by this task"
    assert answer["rest"] == [[n, "refused", "VALIDATION_ERROR", message] for n in range(2)]
    kept = conn.execute("select operation_type, message from dead_letters").fetchall()
    assert kept == [(item.operation_type, message)]
    assert rows(conn)["bridge_states"] == 0


def test_while_the_database_is_away_the_message_goes_back() -> None:
    with fleet_on(NOWHERE) as fleet:
        for given in ([publish()], [recovery()]):
            assert fleet.call("execute_intents", given).state == "REJECTED"
        assert fleet.call("intent_batch", encode_batch([encode(question())])).state == "REJECTED"


def test_a_message_that_went_back_after_its_effects_is_answered_with_duplicates(
    fleet: Fleet, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = factories.publish_event()
    text = encode_batch([encode(question()), encode(event)])
    with monkeypatch.context() as patched:
        patched.setattr(recoveries, "recover", _database_away)
        assert fleet.call("intent_batch", text).state == "REJECTED"
    assert rows(conn)["operations"] == 1
    assert fleet.call("intent_batch", text)["rest"] == [[1, "duplicate"]]


def _database_away(*_: Any, **__: Any) -> None:
    raise Outage("the database is away")


def _a_defect(*_: Any, **__: Any) -> None:
    raise KeyError("a defect")


# ---- recoveries ---------------------------------------------------------------------------------------------------


def test_a_recovery_sees_what_its_message_did_and_leaves_no_trace(fleet: Fleet, conn: Conn) -> None:
    moved = factories.transition_intent(to_state="PROCESSING", from_state="PENDING")
    asked = question()
    outcomes = fleet.batch(asked, moved)
    detail = outcomes[0].detail
    assert {name: detail[name] for name in ("total_recovered", "failed", "partial", "next_page")} == {
        "total_recovered": 1,
        "failed": 0,
        "partial": False,
        "next_page": None,
    }
    state = detail["recovered_states"][str(moved.data.entity_id)]  # type: ignore[attr-defined]
    assert (state["current_state"], state["previous_state"]) == ("PROCESSING", "PENDING")
    assert conn.execute("select operation_id from operations").fetchall() == [(moved.operation_id,)]


def test_recoveries_ask_within_the_fleet_s_bounds(database: str) -> None:
    with fleet_on(database, rows_limit=3) as fleet:
        fleet.batch(*(factories.transition_intent() for _ in range(5)))
        more, less = fleet.batch(question(limit=10_000), question(limit=2))
        assert [len(outcome.detail["recovered_states"]) for outcome in (more, less)] == [3, 2]
        (rest,) = fleet.batch(question(page=more.detail["next_page"]))
        assert rest.detail["total_recovered"] == 2


def test_a_recovery_may_look_further_back_than_usual(fleet: Fleet, conn: Conn) -> None:
    fleet.batch(factories.transition_intent())
    conn.execute("update fsm_states set last_transition_at = now() - interval '20 days'")
    usual, further = fleet.batch(question(), question(within_days=30))
    assert [outcome.detail["total_recovered"] for outcome in (usual, further)] == [0, 1]


def test_recoveries_of_one_message_share_its_time_and_its_size(database: str) -> None:
    with fleet_on(database) as fleet:
        fleet.batch(*(factories.transition_intent() for _ in range(60)))
    with fleet_on(database, max_bytes=6000) as fleet:
        (alone,), three = fleet.batch(question()), fleet.batch(question(), question(), question())
        assert len(json.dumps(alone.detail)) > 6000
        assert sum(len(json.dumps(outcome.detail)) for outcome in three) < 8000
    with fleet_on(database, timeout_s=0.0) as fleet:
        outcomes = fleet.batch(question(), question())
        assert [(outcome.status, outcome.detail["partial"]) for outcome in outcomes] == [("applied", True)] * 2


def test_a_page_that_is_none_is_refused_and_kept_nowhere(fleet: Fleet, conn: Conn) -> None:
    (outcome,) = fleet.batch(question(page="x"))
    assert outcome[1:4] == ("refused", "VALIDATION_ERROR", "page: not one that an answer has named")
    assert rows(conn) == dict.fromkeys(EFFECTS, 0)


def test_a_defect_in_a_recovery_is_an_answer(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recoveries, "recover", _a_defect)
    asked, event = fleet.batch(question(), factories.publish_event())
    assert (asked.status, asked.code, event.status) == ("refused", "INTERNAL_ERROR", "applied")


# ---- any producer -------------------------------------------------------------------------------------------------


def test_each_intent_has_its_result_in_the_order_given(fleet: Fleet, conn: Conn) -> None:
    given = [publish(), recovery(), move(), persist(), move("PENDING", from_state="COMPLETED")]
    results = fleet.call("execute_intents", given)
    assert [result["intent_type"] for result in results] == [one["intent_type"] for one in given]
    assert [result["success"] for result in results] == [True, True, True, True, False]
    assert results[1]["total_recovered"] == 0  # of a higher priority than the move
    assert results[3]["namespaces_persisted"] == ["tests"]
    assert (results[3]["total_items"], results[3]["total_workflows"]) == (4, 2)
    assert results[4]["error"].startswith("VALIDATION_ERROR: ")
    assert all(result["execution_time_ms"] > 0 for result in results)
    assert json.loads(json.dumps(results)) == results
    assert rows(conn) == {"operations": 4, "event_logs": 4, "bridge_states": 1, "fsm_transitions": 1, "dead_letters": 1}


def test_a_message_that_comes_again_changes_nothing(fleet: Fleet, conn: Conn) -> None:
    given = [publish(), persist(), move(), intent("DropTables"), 7]
    first = fleet.call("execute_intents", given, task_id="one")
    once = rows(conn)
    again = fleet.call("execute_intents", given, task_id="one")
    assert rows(conn) == once
    for result in (*first, *again):
        result.pop("execution_time_ms"), result.pop("timestamp")
    assert again == first


@pytest.mark.parametrize("kind", spellings())
def test_an_intent_that_is_written_in_several_ways_counts_once(fleet: Fleet, conn: Conn, kind: str) -> None:
    items = [intent_item({"intent_type": named, "payload": payload}) for named, payload in spellings(now())[kind]]
    assert [outcome.status for outcome in fleet.batch(*items)] == ["applied"] + ["duplicate"] * (len(items) - 1)
    assert (count(conn, "operations"), count(conn, "event_logs"), count(conn, "dead_letters")) == (1, 1, 0)


def test_a_move_is_kept_with_its_metadata_and_its_time(fleet: Fleet, conn: Conn) -> None:
    told, untold = move(), move()
    told["payload"]["metadata"] = {"namespace": "ns"}
    fleet.call("execute_intents", [told, untold])
    kept = {id_.hex: data for id_, data in conn.execute("select entity_id, transition_data from fsm_transitions")}
    at = told["payload"]["transition_record"]["timestamp"]
    assert kept[UUID(told["payload"]["workflow_id"]).hex] == {"metadata": {"namespace": "ns"}, "timestamp": at}
    assert kept[UUID(untold["payload"]["workflow_id"]).hex] == {}
    states = fleet.call("recover_fsm_states")["recovered_states"]
    found = [states[one["payload"]["workflow_id"]]["metadata"] for one in (told, untold)]
    assert found == [{"namespace": "ns"}, {}]


def test_one_intent_is_answered_by_one_result_and_a_list_by_a_list(fleet: Fleet) -> None:
    assert fleet.call("execute_intents", publish())["success"]
    assert [result["success"] for result in fleet.call("execute_intents", [publish()])] == [True]
    assert fleet.call("execute_intents", json.dumps(publish()))["success"]
    assert fleet.call("execute_intents", intents=json.dumps([publish()]))[0]["success"]
    assert fleet.call("execute_intents", []) == []


@pytest.mark.parametrize("given", ["no json", "[" * 5000, "[" + " " * (5 << 20) + "]"])
def test_a_text_that_cannot_be_read_is_refused_and_kept(fleet: Fleet, conn: Conn, given: str) -> None:
    result = fleet.call("execute_intents", given)
    assert (result["success"], result["error"].partition(":")[0]) == (False, "VALIDATION_ERROR")
    assert count(conn, "dead_letters") == 1


def test_what_only_lenient_json_holds_costs_one_intent_alone(fleet: Fleet) -> None:
    text = json.dumps([publish(data={"n": float("nan")}), publish()])
    assert [result["success"] for result in fleet.call("execute_intents", text)] == [False, True]


def test_a_text_is_read_as_exactly_as_what_celery_itself_reads(fleet: Fleet, conn: Conn) -> None:
    intents = [publish(data={"n": number}) for number in (2**64 - 1, 2**64, 2**64 + 1)]
    for given in (intents, json.dumps(intents), "\ufeff" + json.dumps(intents)):
        results = fleet.call("execute_intents", given)
        assert [result["success"] for result in results] == [True, False, False]
        assert results[1]["error"] == "VALIDATION_ERROR: data.n: integer of more than 64 bits"
    assert count(conn, "dead_letters") == 2, "different ones, each once"


def test_too_many_intents_are_refused_together(fleet: Fleet, conn: Conn) -> None:
    results = fleet.call("execute_intents", [publish() for _ in range(1001)])
    assert len(results) == 1001
    assert {result["error"] for result in results} == {"VALIDATION_ERROR: intents: 1001, at most 1000 are taken"}
    assert rows(conn) | {"event_logs": 0} == dict.fromkeys(EFFECTS, 0) | {"operations": 1, "dead_letters": 1}
    assert len(fleet.call("execute_intents", [publish() for _ in range(1000)])) == 1000


def test_a_failed_intent_stops_the_ones_behind_it_only_where_that_is_asked_for(fleet: Fleet, conn: Conn) -> None:
    def given() -> list[dict[str, Any]]:
        bad = move("PENDING", from_state="COMPLETED") | {"priority": 2}
        return [publish(), bad, persist() | {"priority": 3}]

    stopped = fleet.call("execute_intents", given(), True)
    assert [(result["success"], result["error"]) for result in stopped[::2]] == [(False, "skipped"), (True, None)]
    assert not stopped[1]["success"]
    assert conn.execute("select count(*) from operations where operation_type = 'publish_event'").fetchone() == (0,)
    assert [result["success"] for result in fleet.call("execute_intents", given(), fail_fast=False)] == [
        True,
        False,
        True,
    ]


def test_a_recovery_that_fails_stops_what_is_behind_it_as_well(fleet: Fleet) -> None:
    results = fleet.call("execute_intents", [publish(), recovery(page="x")], fail_fast=True)
    assert [result["error"] for result in results] == [
        "skipped",
        "VALIDATION_ERROR: page: not one that an answer has named",
    ]


def test_fail_fast_is_true_or_false_and_nothing_else(fleet: Fleet) -> None:
    with pytest.raises(Exception, match="fail_fast: neither true nor false"):
        fleet.call("execute_intents", [publish()], fail_fast="no")


def test_an_unknown_type_is_refused_by_its_name_and_kept(fleet: Fleet, conn: Conn) -> None:
    results = fleet.call("execute_intents", [intent("DropTables", x=1), publish()])
    assert [(result["success"], result["intent_type"]) for result in results] == [
        (False, "DropTables"),
        (True, "PublishEvent"),
    ]
    assert "DropTables" in results[0]["error"]
    assert conn.execute("select id::text from dead_letters").fetchall() == [(results[0]["intent_id"],)]


def test_one_wait_serves_all_events_of_a_message(database: str) -> None:
    with fleet_on(database, publish_wait_s=20.0) as fleet, publishing(database):
        results = fleet.call("execute_intents", [publish(), move(), persist(), publish()])
    assert [result.get("event_published") for result in results] == [True, True, None, True]


@pytest.mark.parametrize(
    ("task", "whole"),
    [
        ("publish_event", publish),
        ("persist_state", persist),
        ("persist_fsm_transition_intent", move),
        ("recover_fsm_states", recovery),
    ],
)
def test_each_intent_is_a_task_of_its_own_name_in_every_shape(fleet: Fleet, task: str, whole: Any) -> None:
    payloads = [whole()["payload"] for _ in range(4)]
    anonymous = {"payload": whole()["payload"], "priority": 1}
    for one in (whole(), payloads[0], anonymous, json.dumps(payloads[1])):
        result = fleet.call(task, one)
        assert result["success"], result
        assert result["intent_type"] == whole()["intent_type"]
    assert fleet.call(task, **payloads[2])["success"]
    several = fleet.call(task, [payloads[3], whole(), json.loads(json.dumps(anonymous))])
    assert [result["success"] for result in several] == [True] * 3
    assert len(fleet.call(task, whole(), whole())) == 2


def test_a_recovery_needs_no_argument(fleet: Fleet) -> None:
    assert fleet.call("recover_fsm_states")["success"]
    assert fleet.call("recover_fsm_states", None)["success"]


def test_an_intent_of_which_nothing_tells_it_from_another_is_refused(fleet: Fleet) -> None:
    result = fleet.call("publish_event", event_type="BATCH_PROCESSED", data={"n": 1})
    assert not result["success"]
    assert "intent_id" in result["error"]


@pytest.mark.parametrize("nonsense", [7, "x", [[]], [None], {"payload": 7}])
def test_nonsense_is_refused_rather_than_lost(fleet: Fleet, conn: Conn, nonsense: Any) -> None:
    answer = fleet.call("persist_state", nonsense)
    (result,) = answer if isinstance(answer, list) else [answer]
    assert not result["success"]
    assert count(conn, "dead_letters") == 1


def test_it_is_known_when_a_worker_waits_for_nothing_any_more(database: str) -> None:
    with fleet_on(database, publish_wait_s=60.0) as fleet:
        ended = threading.Event()

        def send() -> None:
            assert fleet.batch(factories.publish_event())[0].detail == {"event_published": False}
            ended.set()

        thread = threading.Thread(target=send)
        thread.start()
        wait_until(lambda: fleet.gate.settled_total == 1, seconds=10, what="the effect is committed")
        assert not ended.is_set()
        fleet.gate.stop_waiting()
        thread.join(60)
        assert ended.is_set()
