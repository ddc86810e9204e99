"""The store effect against a real broker, with an answerer in the fleet's place."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from omninode_bridge import (
    AsyncFleetClient,
    FleetClient,
    ModelFSMResult,
    ModelIntent,
    ModelIntentResult,
    ModelPublishResult,
    OnexError,
    Outcome,
    Refusal,
    StoreEffect,
)
from omninode_bridge.client.broker import INTENT_BATCH_TASK, INTENTS_QUEUE, PERSIST_BATCH_TASK, QUERY_BATCH_TASK
from omninode_bridge.contract.clock import now
from omninode_bridge.contract.intent_operation import PublishEvent, PublishEventData
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.operation_types import INTENT_TYPES, operation_of
from omninode_bridge.contract.wire import Item
from tests.answerer import Answerer, Choice, answering
from tests.deadline import wait_until
from tests.integration.omninode_bridge.client.clients import client_of, heartbeat


@pytest.fixture
def intent_answerer(broker: str) -> Iterator[Answerer]:
    with answering(broker, queue=INTENTS_QUEUE) as one:
        one.choose = answered()
        yield one


def answered(**details: Any) -> Callable[[str, list[Item]], Choice]:
    """As the fleet: refusals are refused, the rest is applied, with details by operation type."""

    def outcome(item: Item) -> Outcome:
        if isinstance(item, Refusal):
            return Outcome(item.operation_id, "refused", item.code, item.message)
        return Outcome(item.operation_id, "applied", detail=details.get(item.operation_type))

    return lambda _, items: ("answer", [outcome(item) for item in items])


def publish(priority: int = 0, **fields: Any) -> dict[str, Any]:
    payload = {"event_type": "BATCH_PROCESSED", "aggregation_id": str(uuid4()), "timestamp": now(), **fields}
    return {"intent_type": "PublishEvent", "target": "event_bus", "payload": payload, "priority": priority}


def persist(priority: int = 1, **fields: Any) -> ModelIntent:
    data = {"ns": {"total_stamps": 2, "unique_workflows_count": 1, "file_types": ["a/b"]}}
    payload = {"aggregated_data": data, "aggregation_id": str(uuid4()), "timestamp": now(), "fsm_states": {}, **fields}
    return ModelIntent(intent_type="PersistState", target="store_effect", payload=payload, priority=priority)


def recover(priority: int = 2) -> dict[str, Any]:
    return {"intent_type": "RecoverFSMStates", "target": "store_effect", "priority": priority}


def run(url: str, use: Callable[[StoreEffect], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    async def within() -> Any:
        async with StoreEffect(url, **options) as store_effect:
            return await use(store_effect)

    return asyncio.run(within())


def execute(url: str, intents: list[Any], fail_fast: bool = False, **options: Any) -> list[ModelIntentResult]:
    found: list[ModelIntentResult] = run(url, lambda one: one.execute_intents(intents, fail_fast), **options)
    return found


def test_each_intent_has_its_result_in_the_order_given(broker: str, intent_answerer: Answerer) -> None:
    intent_answerer.choose = answered(
        publish_event={"event_published": True},
        recover_fsm_states={"recovered_states": {"w": {}}, "total_recovered": 1, "failed": 0, "partial": False},
    )
    wrong = {"intent_type": "Persist", "payload": {}}
    intents = [publish(), wrong, persist(), recover(), publish(event_type="A B")]
    results = execute(broker, intents)
    assert [one.success for one in results] == [True, False, True, True, False]
    assert isinstance(results[0], ModelPublishResult) and results[0].event_published
    assert isinstance(results[3], ModelFSMResult) and results[3].total_recovered == 1
    assert (results[1].error or "").startswith("VALIDATION_ERROR: intent_type: 'Persist' is none of PublishEvent")
    assert all(one.execution_time_ms > 0 for one in results)
    assert {header["task"] for header in intent_answerer.headers} == {INTENT_BATCH_TASK}
    assert intent_answerer.headers[-1]["argsrepr"] == "4 operations: 2 refusal, 1 persist_state, 1 publish_event"


def test_no_intents_need_no_fleet() -> None:
    assert execute("redis://127.0.0.1:1/0", []) == []


def test_the_highest_priority_is_carried_out_first(broker: str, intent_answerer: Answerer) -> None:
    execute(broker, [publish(0), recover(2), persist(3), publish(1, event_type="first")])
    steps = [[item.operation_type for item in items] for items in intent_answerer.operations.values()]
    assert steps == [["persist_state"], ["recover_fsm_states"], ["publish_event", "publish_event"]]
    first = list(intent_answerer.operations.values())[2][0]
    assert isinstance(first, PublishEvent) and first.data.event_type == "first"


@pytest.mark.parametrize(("fail_fast", "errors"), [(True, ["skipped", None, None, "X: y"]), (False, [None] * 3)])
def test_a_failed_intent_of_high_priority_stops_the_others_only_when_asked(
    broker: str, intent_answerer: Answerer, fail_fast: bool, errors: list[str | None]
) -> None:
    def choose(_: str, items: list[Item]) -> Choice:
        return "answer", [
            Outcome(one.operation_id, "refused", "X", "y")
            if one.operation_type == "persist_state"
            else Outcome(one.operation_id, "applied")
            for one in items
        ]

    intent_answerer.choose = choose
    results = execute(broker, [publish(1), publish(3), recover(2), persist(2)], fail_fast)
    assert [one.error for one in results] == [*errors[:3], "X: y"]
    assert sum(len(items) for items in intent_answerer.operations.values()) == (3 if fail_fast else 4)


def test_a_failed_intent_of_low_priority_stops_nothing(broker: str, intent_answerer: Answerer) -> None:
    results = execute(broker, [persist(1, aggregation_id="no"), publish(0)], True)
    assert [one.success for one in results] == [False, True]


@pytest.mark.parametrize("padding", [0, 90_000])
def test_a_list_that_needs_several_messages_has_one_under_way_at_a_time(
    broker: str, intent_answerer: Answerer, padding: int
) -> None:
    pending: list[int] = []

    async def use(store_effect: StoreEffect) -> list[ModelIntentResult]:
        def choose(task_id: str, items: list[Item]) -> Choice:
            pending.append(store_effect.stats().pending - len(items))
            return answered()(task_id, items)

        intent_answerer.choose = choose
        return await store_effect.execute_intents([publish(n % 3, number=n, pad="x" * padding) for n in range(12)])

    results = run(broker, use, batch_operations=5)
    assert len(results) == 12 and all(one.success for one in results)
    assert len(pending) == (3 if not padding else 6) and set(pending) == {0}
    numbers = [item.data.payload["number"] for item in intent_answerer.received if isinstance(item, PublishEvent)]
    assert numbers == [2, 5, 8, 11, 1, 4, 7, 10, 0, 3, 6, 9], "by priority, else as given"


def test_what_fits_into_a_message_travels_in_one_whatever_waits_before_it(
    broker: str, intent_answerer: Answerer
) -> None:
    async def use(store_effect: StoreEffect) -> None:
        async def submitted(intents: int) -> None:
            taken = f"{intents} intents are on their way or in the buffer"
            await asyncio.to_thread(
                wait_until, lambda: store_effect.stats().submitted == intents, seconds=5, what=taken
            )

        intent_answerer.pause()
        first = [asyncio.create_task(store_effect.execute_intent(publish(5))) for _ in range(5)]
        await submitted(5)
        lists = [
            asyncio.create_task(store_effect.execute_intents([publish(n, of=one) for n in range(4)]))
            for one in range(5)
        ]
        await submitted(25)
        intent_answerer.resume()
        await asyncio.gather(*first, *lists)

    run(broker, use, batch_operations=5)
    assert len(intent_answerer.received) == 25
    messages = intent_answerer.operations.items()
    for one in range(5):
        holding = [
            task_id
            for task_id, items in messages
            for item in items
            if isinstance(item, PublishEvent) and item.data.payload.get("of") == one
        ]
        assert len(holding) == 4 and len(set(holding)) == 1


def test_concurrent_calls_share_messages(broker: str, intent_answerer: Answerer) -> None:
    async def use(store_effect: StoreEffect) -> list[list[ModelIntentResult]]:
        return await asyncio.gather(*[store_effect.execute_intents([persist(), publish()]) for _ in range(100)])

    answers = run(broker, use)
    assert len({result.intent_id for results in answers for result in results if result.success}) == 200
    assert len(intent_answerer.operations) < 50


def test_a_thousand_concurrent_intents_are_answered(broker: str, intent_answerer: Answerer) -> None:
    async def use(store_effect: StoreEffect) -> tuple[list[ModelIntentResult], dict[str, float]]:
        results = await asyncio.gather(*[store_effect.execute_intent(publish()) for _ in range(1000)])
        return results, store_effect.get_metrics()

    intent_answerer.choose = answered(publish_event={"event_published": True})
    results, metrics = run(broker, use)
    assert all(one.success for one in results)
    assert metrics["intents_executed_total"] == metrics["events_published_total"] == 1000
    assert metrics["intents_failed_total"] == 0 < metrics["avg_intent_latency_ms"]


def test_what_changes_after_the_call_changes_nothing(broker: str, intent_answerer: Answerer) -> None:
    async def use(store_effect: StoreEffect) -> None:
        live = persist()
        running = asyncio.create_task(store_effect.execute_intents([recover(), live]))
        await asyncio.sleep(0)  # it has begun, and waits
        live.payload["aggregated_data"]["ns"]["file_types"].append("c/d")
        await running

    run(broker, use)
    (item,) = [one for one in intent_answerer.received if one.operation_type == "persist_state"]
    assert isinstance(item, Operation) and '"a/b"]' in item.model_dump_json()


def test_executing_an_intent_again_sends_the_same_operation(broker: str, intent_answerer: Answerer) -> None:
    intent = persist()
    execute(broker, [intent])
    execute(broker, [intent])
    first, again = intent_answerer.received
    assert first == again


def test_what_is_not_confirmed_in_time_says_so_and_stays_submitted(broker: str, intent_answerer: Answerer) -> None:
    async def use(store_effect: StoreEffect) -> list[ModelIntentResult]:
        intent_answerer.pause()
        results = await store_effect.execute_intents([recover(), persist()], timeout_s=0.1)
        assert store_effect.stats().pending == 2
        intent_answerer.resume()
        return results

    results = run(broker, use)
    assert [one.error for one in results] == ["not confirmed within 0.1 s (it stays submitted)"] * 2
    assert sorted(item.operation_type for item in intent_answerer.received) == ["persist_state", "recover_fsm_states"]


def test_with_fail_fast_an_unconfirmed_intent_stops_the_others(broker: str, intent_answerer: Answerer) -> None:
    async def use(store_effect: StoreEffect) -> list[ModelIntentResult]:
        intent_answerer.pause()
        results = await store_effect.execute_intents([recover(), persist()], True, timeout_s=0.1)
        intent_answerer.resume()
        return results

    assert [one.error for one in run(broker, use)][1] == "skipped"
    assert [item.operation_type for item in intent_answerer.received] == ["recover_fsm_states"]


def test_a_full_client_takes_the_intents_as_it_has_room(broker: str, intent_answerer: Answerer) -> None:
    async def use(store_effect: StoreEffect) -> list[ModelIntentResult]:
        intent_answerer.pause()
        await store_effect.execute_intents([publish()], timeout_s=0.1)
        results = await store_effect.execute_intents([publish(), publish()], timeout_s=0.1)
        assert store_effect.stats().submitted == 1
        intent_answerer.resume()
        await asyncio.to_thread(
            wait_until, lambda: len(intent_answerer.received) == 3, seconds=5, what="all of them arrive"
        )
        return results

    results = run(broker, use, max_pending=1)
    assert all("it stays submitted" in (one.error or "") for one in results)


def test_a_full_client_that_raises_and_a_closed_one_answer_why(broker: str, intent_answerer: Answerer) -> None:
    async def use(store_effect: StoreEffect) -> list[ModelIntentResult]:
        intent_answerer.pause()
        await store_effect.execute_intents([publish()], timeout_s=0.1)
        full = await store_effect.execute_intent(publish())
        intent_answerer.resume()
        await store_effect.close()
        return [full, await store_effect.execute_intent(publish())]

    full, closed = run(broker, use, max_pending=1, when_full="raise")
    assert (full.error or "").startswith("SERVICE_UNAVAILABLE: client: full")
    assert (closed.error or "").startswith("SERVICE_UNAVAILABLE: ") and "closed" in closed.error


def test_closing_ends_those_who_wait(broker: str) -> None:
    async def use() -> ModelIntentResult:
        store_effect = StoreEffect(broker)
        waiting = asyncio.create_task(store_effect.execute_intent(publish(), timeout_s=None))
        await asyncio.to_thread(
            wait_until, lambda: store_effect.stats().pending == 1, seconds=5, what="it is submitted"
        )
        with pytest.raises(OnexError, match="1 of 1"):
            await store_effect.close(0.05)
        return await waiting

    result = asyncio.run(use())
    assert not result.success and (result.error or "").startswith("TIMEOUT: ")


def test_a_store_effect_serves_one_event_loop_after_another(broker: str, intent_answerer: Answerer) -> None:
    store_effect = StoreEffect(broker)
    for _ in range(2):
        assert asyncio.run(store_effect.execute_intent(publish())).success
    asyncio.run(store_effect.close())


# ---- which client takes what ----------------------------------------------------------------------------------------


def event() -> PublishEventData:
    return PublishEventData(event_type="x", payload={})


@pytest.mark.parametrize("item", [event(), operation_of(event())])
def test_a_client_of_the_persist_queue_takes_no_intent(item: Any) -> None:
    with FleetClient("redis://127.0.0.1:1/0") as client:
        with pytest.raises(OnexError, match="item: publish_event is not for this client, which takes persist_workflow"):
            client.submit(item)
        assert client.stats().submitted == 0


@pytest.mark.parametrize("task", [INTENT_BATCH_TASK, QUERY_BATCH_TASK])
def test_a_client_of_another_task_takes_no_persist_operation(task: str) -> None:
    with FleetClient("redis://127.0.0.1:1/0", task=task) as client, pytest.raises(OnexError, match="update_node_hear"):
        client.submit_many([heartbeat()])


def test_a_client_takes_the_operations_and_refusals_of_its_task(broker: str, intent_answerer: Answerer) -> None:
    refusal = Refusal(
        operation_id=UUID("01990000-0000-7000-8000-000000000001"),
        digest="0" * 32,
        code="VALIDATION_ERROR",
        message="m",
        payload="{}",
        form="operation",
    )
    with client_of(broker, task=INTENT_BATCH_TASK) as client:
        client.submit_many([event(), operation_of(event()), refusal])
    kinds = [item.operation_type for item in intent_answerer.received]
    assert kinds == ["publish_event", "publish_event", "refusal"] and "publish_event" in INTENT_TYPES


def test_a_client_of_no_known_task_is_refused() -> None:
    with pytest.raises(OnexError, match=f"task: none of {PERSIST_BATCH_TASK}, "):
        AsyncFleetClient("redis://127.0.0.1:1/0", task="omninode.persist_state")
