"""The functions of the node registry: what they send, what they refuse before that, what they make of each answer."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from omninode_bridge.contract.clock import derived_uuid7
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence import deregister_node, get_node, list_nodes, register_node
from omninode_bridge.persistence.entities import ModelNodeHeartbeat
from omninode_bridge.persistence.models import ModelDatabaseOperationOutput
from tests.unit.omninode_bridge.persistence.test_functions import Node, answer, failed, found, written

AT = datetime(2026, 1, 5, 10, 0, 0, 123000, tzinfo=UTC)
ID = derived_uuid7(AT, b"a registration")
ROW: dict[str, Any] = {"node_id": "n", "node_type": "reducer", "health_status": "HEALTHY", "row_version": 3}
PRESENT = {**ROW, "liveness": "STALE", "health": "DEGRADED", "reported_health": "HEALTHY", "age_s": 61.5}


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def error_of(work: Coroutine[Any, Any, Any]) -> OnexError:
    with pytest.raises(OnexError) as caught:
        run(work)
    return caught.value


def test_a_registration_sends_what_was_given_under_the_time_of_its_id() -> None:
    node = Node(written(ROW))
    told: dict[str, Any] = {"node_type": "Reducer", "namespace": "prod", "health_status": "healthy"}
    row = run(register_node(node_id=" n ", node=node, operation_id=ID, **told))
    assert (row.node_id, row.row_version) == ("n", 3)
    request = node.request
    assert request.pop("correlation_id") and request == {
        "operation_type": "upsert",
        "entity_type": "node_heartbeat",
        "query_filters": {"node_id": "n"},
        "returning": True,
        "entity": {
            "node_id": "n",
            "node_type": "reducer",
            "namespace": "prod",
            "health_status": "HEALTHY",
            "last_heartbeat": "2026-01-05T10:00:00.123000Z",
            "deregistered_at": None,
        },
    }
    assert node.asked[0].operation_id == ID


NONE = answer(0, result_data={"rows": []})
NEW = written({**ROW, "health_status": "UNKNOWN", "row_version": 1})


def registered(*answers: ModelDatabaseOperationOutput) -> tuple[ModelNodeHeartbeat, Node]:
    """The row of a node that registers and says nothing of its health."""
    node = Node(*answers)
    return run(register_node(node_id="n", node_type="reducer", node=node, operation_id=ID)), node


def test_a_node_that_comes_back_is_healthy_in_one_write() -> None:
    row, node = registered(written(ROW))
    assert row.health_status == "HEALTHY" and node.request["operation_type"] == "update"
    assert node.request["query_filters"] == {"node_id": "n", "deregistered_at__ne": None}
    told = {"node_id": "n", "node_type": "reducer", "last_heartbeat": "2026-01-05T10:00:00.123000Z"}
    assert node.request["entity"] == {**told, "health_status": "HEALTHY", "deregistered_at": None}
    assert node.asked[0].operation_id == ID


def test_a_new_node_is_healthy_unless_something_was_said_of_it_meanwhile() -> None:
    row, node = registered(NONE, NEW, written({**ROW, "row_version": 2}))
    assert (row.health_status, row.row_version) == ("HEALTHY", 2)
    _, made, told = node.asked
    assert made.operation_type == "upsert" and "health_status" not in made.entity
    assert told.query_filters == {"node_id": "n", "row_version": 1}
    row, _ = registered(NONE, NEW, NONE, found({**ROW, "health_status": "DEGRADED", "row_version": 2}))
    assert row.health_status == "DEGRADED"


def test_a_node_that_stands_keeps_its_health() -> None:
    row, node = registered(NONE, written({**ROW, "health_status": "DEGRADED", "row_version": 2}))
    assert row.health_status == "DEGRADED" and len(node.asked) == 2


def test_a_registration_that_is_made_again_sends_the_same_writes_under_the_same_ids() -> None:
    sent = [
        [(one.operation_id, one.entity, one.query_filters) for one in registered(NONE, NEW, written(ROW))[1].asked]
        for _ in range(2)
    ]
    assert sent[0] == sent[1] and len({id_ for id_, _, _ in sent[0]}) == 3


def test_a_deregistration_is_an_update_under_the_time_of_its_id() -> None:
    node, trace = Node(written({**ROW, "deregistered_at": AT.isoformat()})), uuid4()
    assert run(deregister_node(node_id="n", node=node, operation_id=ID, correlation_id=trace)).deregistered_at == AT
    assert node.request == {
        "operation_type": "update",
        "entity_type": "node_heartbeat",
        "query_filters": {"node_id": "n"},
        "returning": True,
        "entity": {"deregistered_at": "2026-01-05T10:00:00.123000Z"},
        "correlation_id": str(trace),
    }


def test_a_node_that_answers_no_rows_is_asked_for_them_or_believed() -> None:
    row, _ = registered(answer(0), answer())
    assert (row.last_heartbeat, row.row_version) == (AT, None)
    node = Node(answer(), found(ROW))
    assert run(deregister_node(node_id="n", node=node)).row_version == 3
    assert [one.operation_type for one in node.asked] == ["update", "query"]


def test_nodes_come_with_what_has_become_of_them() -> None:
    one = run(get_node(node_id=" n ", node=(node := Node(answer(result_data=PRESENT)))))
    assert (one.health, one.reported_health, one.liveness, one.age_s) == ("DEGRADED", "HEALTHY", "STALE", 61.5)
    assert node.request["query_filters"] == {"node_id": "n"}
    node = Node(found(PRESENT, PRESENT))
    assert run(list_nodes(node=node, health="DEGRADED", after="m")) == [one, one]
    expected = {"health": "DEGRADED", "after": "m", "include_deregistered": False, "limit": 1000}
    assert node.request["query_filters"] == expected


def test_arguments_that_cannot_be_are_refused_before_anything_is_sent() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"node_id": None}, "node_id cannot be None"),
        ({"node_id": " "}, "node_id cannot be empty"),
        ({"node_type": 7}, "node_type: not text"),
        ({"health_status": " "}, "health_status cannot be empty"),
        ({"capabilities": ["hash"]}, "capabilities: "),
        ({"namespace": "n" * 256}, "namespace: "),
        ({"operation_id": uuid4()}, "operation_id: not a UUID of version 7"),
    ]
    for given, said in wrong:
        node = Node()
        arguments: dict[str, Any] = {"node_id": "n", "node_type": "reducer", "node": node} | given
        error = error_of(register_node(**arguments))
        assert (error.error_code, error.message.startswith(said)) == ("VALIDATION_ERROR", True), error.message
        assert error.context["operation"] == "register_node" and node.asked == []


def test_an_unknown_node_is_not_found_and_a_failure_keeps_its_code() -> None:
    error = error_of(deregister_node(node_id="n", node=Node(answer(0, result_data={"rows": []}))))
    assert (error.error_code, error.message) == ("NOT_FOUND", "node_id: no node has it")
    assert error.context["node_id"] == "n"
    for function in (get_node, deregister_node):
        error = error_of(function(node_id="n", node=Node(failed("SERVICE_UNAVAILABLE"))))
        assert error.error_code == "SERVICE_UNAVAILABLE" and error.context["operation"] == function.__name__
