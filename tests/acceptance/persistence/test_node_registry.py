"""The registry of nodes, through each adapter: registered, listed, deregistered, and heard of again."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from omninode_bridge.contract.clock import derived_uuid7, now, uuid7
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.operation import NodeHeartbeatData, Operation
from omninode_bridge.contract.operation_types import operation_of
from omninode_bridge.persistence import deregister_node, get_node, list_nodes, register_node
from omninode_bridge.persistence.adapter import DatabaseAdapter
from omninode_bridge.persistence.queries import healthy_nodes
from store.write.apply import apply
from tests.acceptance.adapters import run
from tests.conftest import Stack
from tests.factories import heartbeat, store_connection

pytestmark = pytest.mark.acceptance


@pytest.fixture
def conn(empty: Stack) -> Iterator[psycopg.Connection[Any]]:
    with store_connection(empty.env["OMNINODE_DATABASE_URL"]) as opened:
        yield opened


def register(adapter: DatabaseAdapter, node_id: str = "n", **told: Any) -> Any:
    return run(register_node(node_id=node_id, node=adapter, **{"node_type": "reducer"} | told))


def deregister(adapter: DatabaseAdapter, node_id: str = "n", **told: Any) -> Any:
    return run(deregister_node(node_id=node_id, node=adapter, **told))


def listed(adapter: DatabaseAdapter, **filters: Any) -> list[str]:
    return [one.node_id for one in run(list_nodes(node=adapter, **filters))]


def discovered(adapter: DatabaseAdapter, **filters: Any) -> list[str]:
    return [one["node_id"] for one in run(healthy_nodes(node=adapter, **filters))]


def hear(conn: psycopg.Connection[Any], beat: Operation) -> None:
    assert [outcome.committed for outcome in apply(conn, [beat])] == [True]


def code_of(call: Any) -> str:
    with pytest.raises(OnexError) as caught:
        run(call)
    return str(caught.value.error_code)


def test_a_registered_node_is_there_with_all_that_it_told(adapter: DatabaseAdapter) -> None:
    told = {
        "node_version": "1.2.0",
        "capabilities": {"hash": ["blake3"]},
        "endpoints": {"http": "http://n:8080"},
        "endpoint_url": "http://n:8080",
        "namespace": "prod",
        "metadata": {"region": "eu"},
    }
    row = register(adapter, " n ", node_type="Reducer", **told)
    assert row.node_type == "reducer" and {name: getattr(row, name) for name in told} == told
    assert (row.node_id, row.health_status, row.liveness, row.deregistered_at) == ("n", "HEALTHY", "FRESH", None)
    assert timedelta(0) <= row.heartbeat_received_at - row.last_heartbeat < timedelta(seconds=30)
    found = run(get_node(node_id="n", node=adapter))
    assert (found.health, found.reported_health, found.liveness) == ("HEALTHY", "HEALTHY", "FRESH")
    assert found.model_dump(exclude={"health", "reported_health", "age_s", "omitted"}) == row.model_dump()
    assert run(list_nodes(node=adapter, namespace="prod"))[0].capabilities == told["capabilities"]
    assert discovered(adapter, node_type="reducer", namespace="prod") == ["n"]


def test_what_a_registration_does_not_give_stays(adapter: DatabaseAdapter) -> None:
    register(adapter, capabilities={"a": 1}, node_version="1", namespace="prod")
    row = register(adapter, node_version="2", health_status="critical")
    assert (row.capabilities, row.node_version, row.namespace) == ({"a": 1}, "2", "prod")
    assert row.health_status == "UNHEALTHY" and discovered(adapter) == []


def test_a_registration_that_says_nothing_of_health_makes_no_ill_node_healthy(
    adapter: DatabaseAdapter, conn: Any
) -> None:
    assert register(adapter).health_status == "HEALTHY" and discovered(adapter) == ["n"]
    for health in ("DEGRADED", "UNKNOWN"):
        hear(conn, operation_of(NodeHeartbeatData(node_id="n", health_status=health)))
        assert register(adapter, node_version="2").health_status == health
        assert (listed(adapter, health=health), discovered(adapter)) == (["n"], [])
    deregister(adapter)
    row = register(adapter)
    assert (row.health_status, row.deregistered_at) == ("HEALTHY", None)
    assert listed(adapter) == discovered(adapter) == ["n"]


def test_a_registration_that_comes_again_after_more_was_said_changes_nothing(
    adapter: DatabaseAdapter, conn: Any
) -> None:
    once = uuid7()
    register(adapter, operation_id=once)
    hear(conn, heartbeat("n", metadata={"said": "later"}))
    gone = deregister(adapter)
    again = register(adapter, operation_id=once)
    assert (again.row_version, again.deregistered_at) == (gone.row_version, gone.deregistered_at)


def test_a_bulky_node_is_in_every_list_and_whole_by_itself(adapter: DatabaseAdapter, conn: Any) -> None:
    for column in ("metadata", "capabilities", "endpoints"):
        hear(conn, heartbeat("n", **{column: {"text": "x" * 900_000}}))
    register(adapter, "after")
    assert listed(adapter) == discovered(adapter) == ["after", "n"]
    (_, bulky) = run(list_nodes(node=adapter))
    assert (bulky.omitted, bulky.metadata) == (["capabilities", "endpoints", "metadata"], {})
    whole = run(get_node(node_id="n", node=adapter))
    assert whole.omitted == [] and len(whole.metadata["text"]) == len(whole.endpoints["text"]) == 900_000


def test_a_registration_that_is_sent_again_counts_once(adapter: DatabaseAdapter) -> None:
    once = uuid7()
    first = register(adapter, operation_id=once)
    again = register(adapter, operation_id=once)
    assert again == first and again.row_version == first.row_version
    assert code_of(register_node(node_id="m", node_type="reducer", node=adapter, operation_id=once)) == "CONFLICT"


def test_a_silent_node_is_revived_by_its_registration(adapter: DatabaseAdapter, conn: Any) -> None:
    hear(conn, heartbeat("n", occurred_at=now() - timedelta(minutes=5)))
    (silent,) = run(list_nodes(node=adapter))
    assert (silent.liveness, silent.health, silent.reported_health) == ("DEAD", "UNHEALTHY", "HEALTHY")
    assert silent.age_s > 299 and discovered(adapter, max_age_s=3600) == []
    register(adapter)
    assert listed(adapter, liveness="FRESH") == discovered(adapter) == ["n"]


def test_a_deregistered_node_is_hidden_until_it_registers_again(adapter: DatabaseAdapter) -> None:
    register(adapter), register(adapter, "other")
    first = deregister(adapter)
    assert first.deregistered_at is not None and first.health_status == "HEALTHY"
    assert listed(adapter) == discovered(adapter) == ["other"]
    assert listed(adapter, include_deregistered=True) == ["n", "other"]
    assert run(get_node(node_id="n", node=adapter)).deregistered_at == first.deregistered_at
    second = deregister(adapter, operation_id=derived_uuid7(now() + timedelta(seconds=1), b"a second later"))
    changed = {name for name in type(second).model_fields if getattr(first, name) != getattr(second, name)}
    assert (
        changed == {"deregistered_at", "updated_at", "row_version"} and second.deregistered_at > first.deregistered_at
    )
    register(adapter)
    assert listed(adapter) == discovered(adapter) == ["n", "other"]


def test_a_heartbeat_after_the_deregistration_registers_the_node_again_and_a_late_one_does_not(
    adapter: DatabaseAdapter, conn: Any
) -> None:
    late = [heartbeat("n", occurred_at=now() - timedelta(seconds=ago), metadata={"ago": ago}) for ago in (2, 1)]
    register(adapter)
    gone = deregister(adapter)
    for beat in late:
        hear(conn, beat)
        assert listed(adapter) == discovered(adapter) == []
    hear(conn, heartbeat("n", occurred_at=now() + timedelta(milliseconds=1)))
    assert listed(adapter) == discovered(adapter) == ["n"]
    hear(conn, heartbeat("n", occurred_at=gone.deregistered_at - timedelta(seconds=30)))
    assert listed(adapter) == ["n"]
    deregister(adapter)
    assert listed(adapter) == []


def test_a_list_goes_on_where_it_ended(adapter: DatabaseAdapter) -> None:
    for name in ("c", "a", "b"):
        register(adapter, name)
    assert listed(adapter, limit=2) == ["a", "b"]
    assert listed(adapter, limit=2, after="b") == ["c"]


def test_a_node_that_nobody_knows_is_not_found(adapter: DatabaseAdapter) -> None:
    assert code_of(get_node(node_id="nobody", node=adapter)) == "NOT_FOUND"
    assert code_of(deregister_node(node_id="nobody", node=adapter)) == "NOT_FOUND"
    assert listed(adapter, include_deregistered=True) == []


def test_an_argument_that_cannot_be_is_named(adapter: DatabaseAdapter) -> None:
    for wrong in ({"node_id": " "}, {"node_type": ""}, {"endpoint_url": "u" * 501}, {"metadata": {"tags": 1}}):
        told: dict[str, Any] = {"node_id": "n", "node_type": "reducer", "node": adapter, **wrong}
        with pytest.raises(OnexError, match=f"VALIDATION_ERROR: .*{next(iter(wrong))}") as caught:
            run(register_node(**told))
        assert caught.value.context["operation"] == "register_node"
    with pytest.raises(OnexError, match="VALIDATION_ERROR: liveness: not one of"):
        run(list_nodes(liveness="ALIVE", node=adapter))
    assert listed(adapter) == []
