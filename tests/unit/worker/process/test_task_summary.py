"""What Flower, remote control and logs are told of a task's arguments."""

import json

import pytest

from worker.process.task_summary import shown_arguments

STEP = {"workflow_id": "0198c0de-0000-7000-8000-000000000000", "step_name": "very secret"}
BATCH = [
    {"operation_type": "persist_workflow_step", "data": STEP},
    {"operation_type": "persist_workflow_step", "data": STEP},
    {"operation_type": "update_node_heartbeat", "data": {"node_id": "very secret"}},
]


def shown(*args: object, header: object = None, task: str = "omninode.persist_batch", **kwargs: object) -> str:
    return shown_arguments(header, task_name=task, args=args, kwargs=kwargs)


@pytest.mark.parametrize(
    "summary",
    ["1 operation", "0 operations", "3 operations: 2 workflow_step, 1 node_heartbeat"],
)
def test_a_sender_s_summary_is_shown_as_it_is(summary: str) -> None:
    assert shown("[", header=summary) == summary


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        7,
        '(\'[{"data": "very secret"}]\',)',
        "1 operation: very secret",
        "1 operation: 1 very-secret",
        "1 operation\nvery secret",
        "1 operations: 1 a" + ", 1 b" * 200,
    ],
)
def test_anything_else_is_counted_anew(header: object) -> None:
    assert shown(json.dumps(BATCH), header=header) == "3 operations: 2 workflow_step, 1 node_heartbeat"


def test_a_named_task_counts_what_does_not_name_itself_as_its_own() -> None:
    task = "omninode.persist_workflow_step"
    assert shown(STEP, task=task) == "1 operation: 1 workflow_step"
    assert shown([STEP, STEP], task=task) == "2 operations: 2 workflow_step"
    assert shown(task=task, **STEP) == "1 operation: 1 workflow_step"
    assert shown(json.dumps([STEP]), task=task) == "1 operation: 1 workflow_step"


@pytest.mark.parametrize(
    "value",
    ["very secret", ["very secret"], [{"operation_type": "very secret"}], [{"operation_type": 7}], 7, None, [[]]],
)
def test_what_cannot_be_read_is_counted_as_other(value: object) -> None:
    assert shown(value) == "1 operation: 1 other"


def test_a_task_without_arguments_shows_none() -> None:
    assert shown(task="omninode.ensure_partitions") == "()"


def test_many_kinds_are_counted_together() -> None:
    kinds = [{"operation_type": f"kind_{chr(97 + n)}"} for n in range(26)]
    assert shown(kinds) == "26 operations"


PUBLISH = {"intent_type": "PublishEvent", "payload": {"event_type": "very secret"}}
PERSIST = {"intent_type": "PERSIST_STATE", "payload": {"aggregated_data": {"very secret": {}}}}


def test_intents_are_counted_as_the_operations_that_they_become() -> None:
    task = "omninode.execute_intents"
    expected = "3 operations: 2 publish_event, 1 persist_state"
    assert shown([PUBLISH, PERSIST, PUBLISH], task=task) == expected
    assert shown([PUBLISH, PERSIST, PUBLISH], True, task=task) == expected
    assert shown(task=task, intents=[PUBLISH, PERSIST, PUBLISH], fail_fast=True) == expected
    assert shown(json.dumps([PUBLISH, PERSIST, PUBLISH]), task=task) == expected
    assert shown(PUBLISH, task=task) == "1 operation: 1 publish_event"
    assert shown([{"intent_type": "very secret"}, "very secret"], task=task) == "2 operations: 2 other"
    assert shown(task=task, fail_fast=True) == "()"


def test_a_client_s_batch_of_intents_is_counted_by_operation() -> None:
    batch = [{"operation_type": "publish_event"}, {"operation_type": "refusal"}, {"operation_type": "publish_event"}]
    assert shown(json.dumps(batch), task="omninode.intent_batch") == "3 operations: 2 publish_event, 1 refusal"
    assert shown(json.dumps(batch[:1]), task="omninode.answer_queries") == "1 operation: 1 publish_event"


def test_an_intent_s_own_task_counts_a_payload_alone_as_its_own() -> None:
    task = "omninode.persist_state"
    assert shown(PERSIST["payload"], task=task) == "1 operation: 1 persist_state"
    assert shown([PERSIST, PERSIST["payload"]], task=task) == "2 operations: 2 persist_state"
    assert shown(task=task, **{"aggregated_data": {}, "very_secret": 1}) == "1 operation: 1 persist_state"


def test_a_sender_s_summary_of_intents_is_shown_as_it_is() -> None:
    header = "3 operations: 2 publish_event, 1 persist_state"
    assert shown("[", header=header, task="omninode.intent_batch") == header
