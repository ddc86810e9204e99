"""Nodes: register, deregister, get, list. One operation each, through any adapter.

A registration is a sign of life, like a heartbeat, and a node that nobody registered is registered by its first
heartbeat. A deregistered node is in no list and is not discovered, until it registers or says something again; a
heartbeat from before the deregistration that comes late does not bring it back.

`node_id` is the node's, `node` the adapter; `correlation_id` is the trace id of the call, made when it is not given.
All of them raise OnexError: VALIDATION_ERROR for arguments that cannot be (nothing was sent then), NOT_FOUND, and what
the adapter answered. What writes takes an `operation_id`, a UUIDv7 of the caller's: a call that is made again with it,
all other arguments equal, counts once. Its time bits are when the node registered, or deregistered itself.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import Field

from omninode_bridge.contract.clock import TIMELESS, is_uuid7, sibling_uuid7, uuid7, uuid7_millis
from omninode_bridge.contract.enums import EnumDatabaseOperationType, EnumEntityType
from omninode_bridge.contract.errors import invalid
from omninode_bridge.contract.values import Health
from omninode_bridge.persistence import queries
from omninode_bridge.persistence.calls import Call, checked_id, checked_text, checked_values, row_of, written_row
from omninode_bridge.persistence.entities import ModelNodeHeartbeat
from omninode_bridge.persistence.protocols import DatabaseAdapterProtocol

_TYPE = EnumEntityType.NODE_HEARTBEAT


class ModelRegisteredNode(ModelNodeHeartbeat):
    """A node and how it is at the moment of the question, which is when `liveness` is computed.

    health           the effective one: as reported while FRESH, DEGRADED while STALE, UNHEALTHY when DEAD
    reported_health  what the node last said; so does `health_status`
    age_s            seconds since the node was heard of
    omitted          columns that are not told here, for the row is too large; get_node has them
    """

    health: Health
    reported_health: Health
    age_s: Annotated[float, Field(ge=0)]
    omitted: list[str] = Field(default_factory=list)


async def register_node(
    *,
    node_id: str,
    node_type: str,
    node: DatabaseAdapterProtocol,
    node_version: str | None = None,
    capabilities: Mapping[str, Any] | None = None,
    endpoints: Mapping[str, Any] | None = None,
    endpoint_url: str | None = None,
    namespace: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    health_status: str | None = None,
    correlation_id: UUID | None = None,
    operation_id: UUID | None = None,
) -> ModelNodeHeartbeat:
    """The node's row afterwards, made or updated. What is not given stays as it is.

    Its last heartbeat is this registration, and it is deregistered no more. Without `health_status` a node that is new,
    or was deregistered, is HEALTHY; another stays as ill as it said it is.
    """
    correlation_id = correlation_id or uuid4()
    call = _call("register_node", node, node_id, correlation_id)
    with call.errors():
        operation_id = _checked_operation_id(operation_id)
        given: dict[str, Any] = {
            "node_id": checked_text("node_id", node_id),
            "node_type": checked_text("node_type", node_type),
            "node_version": node_version,
            "capabilities": capabilities,
            "endpoints": endpoints,
            "endpoint_url": endpoint_url,
            "namespace": namespace,
            "metadata": metadata,
            "health_status": None if health_status is None else checked_text("health_status", health_status),
            "last_heartbeat": _instant_of(operation_id),
        }
        fields = {name: value for name, value in given.items() if value is not None}
        if health_status is None:
            return await _register_as_it_is(call, checked_values(_TYPE, fields), operation_id)
        fields = checked_values(_TYPE, {**fields, "deregistered_at": None})
        return await _upsert(call, fields, operation_id) or row_of(ModelNodeHeartbeat, fields)


async def deregister_node(
    *, node_id: str, node: DatabaseAdapterProtocol, correlation_id: UUID | None = None, operation_id: UUID | None = None
) -> ModelNodeHeartbeat:
    """The node's row afterwards, which is kept, but hidden. A second time only tells a later time."""
    correlation_id = correlation_id or uuid4()
    call = _call("deregister_node", node, node_id, correlation_id)
    with call.errors():
        operation_id, key = _checked_operation_id(operation_id), _key(node_id)
        answer = await call.change(
            EnumDatabaseOperationType.UPDATE,
            entity=checked_values(_TYPE, {"deregistered_at": _instant_of(operation_id)}, partial=True),
            query_filters=key,
            returning=True,
            operation_id=operation_id,
        )
        return written_row(ModelNodeHeartbeat, answer) or await _read(call, key)


async def get_node(
    *, node_id: str, node: DatabaseAdapterProtocol, correlation_id: UUID | None = None
) -> ModelRegisteredNode:
    """The node, deregistered or not."""
    correlation_id = correlation_id or uuid4()
    call = _call("get_node", node, node_id, correlation_id)
    with call.errors():
        found = await queries.get_node(
            node_id=checked_text("node_id", node_id), node=node, request_correlation_id=correlation_id
        )
        return row_of(ModelRegisteredNode, found)


async def list_nodes(
    *,
    node: DatabaseAdapterProtocol,
    node_type: str | None = None,
    namespace: str | None = None,
    liveness: str | None = None,
    health: str | None = None,
    include_deregistered: bool = False,
    after: str | None = None,
    limit: int = 1000,
    correlation_id: UUID | None = None,
) -> list[ModelRegisteredNode]:
    """Nodes that pass all filters, in the order of their ids.

    health  the effective one
    after   a node id: the list begins behind it, with "" at its start. The last one of an answer asks for the next; an
            empty answer ends it
    limit   1 to 1,000; an answer is also shorter than that where it would have more than about 3 MiB
    """
    correlation_id = correlation_id or uuid4()
    call = _call("list_nodes", node, None, correlation_id)
    with call.errors():
        found = await queries.list_nodes(
            node=node,
            node_type=node_type,
            namespace=namespace,
            liveness=liveness,
            health=health,
            include_deregistered=include_deregistered,
            after=after,
            limit=limit,
            request_correlation_id=correlation_id,
        )
        return [row_of(ModelRegisteredNode, item) for item in found]


async def _register_as_it_is(call: Call, fields: Mapping[str, Any], operation_id: UUID) -> ModelNodeHeartbeat:
    """Register a node of whose health nothing is said: HEALTHY where it was deregistered, or is made.

    One write after the other, for none of them can know what stands there; each finds by itself the row that it is
    about, so what a heartbeat says in between stays. Each has an id of its own that follows from the call's, and its
    content from the call's arguments: so the call may end between any two, and counts once when it is made again.
    """
    key = _key(fields["node_id"])
    well = {"health_status": "HEALTHY", "deregistered_at": None}
    back = await _update(call, {**fields, **well}, {**key, "deregistered_at__ne": None}, operation_id)
    if back is not None:
        return back
    row = await _upsert(call, fields, sibling_uuid7(operation_id, f"{operation_id}:registered".encode()))
    if row is None:
        return row_of(ModelNodeHeartbeat, fields)
    if row.row_version != 1:  # it stood already, or more has been said of it since it was made
        return row
    made_id = sibling_uuid7(operation_id, f"{operation_id}:made".encode())
    made = await _update(call, well, {**key, "row_version": 1}, made_id)
    return made or await _read(call, key)


async def _upsert(call: Call, fields: Mapping[str, Any], operation_id: UUID) -> ModelNodeHeartbeat | None:
    """The row; None from a node that answers no rows."""
    answer = await call.write(
        EnumDatabaseOperationType.UPSERT,
        entity=fields,
        query_filters=_key(fields["node_id"]),
        returning=True,
        operation_id=operation_id,
    )
    return written_row(ModelNodeHeartbeat, answer)


async def _update(
    call: Call, fields: Mapping[str, Any], filters: Mapping[str, Any], operation_id: UUID
) -> ModelNodeHeartbeat | None:
    """The row, where one was found by the filters."""
    answer = await call.write(
        EnumDatabaseOperationType.UPDATE,
        entity=checked_values(_TYPE, fields, partial=True),
        query_filters=filters,
        returning=True,
        operation_id=operation_id,
    )
    return written_row(ModelNodeHeartbeat, answer) if answer.rows_affected else None


def _call(function: str, node: object, node_id: object, correlation_id: object) -> Call:
    ids = {"node_id": node_id, "correlation_id": correlation_id}
    return Call(function, _TYPE, node, ids, trace="correlation_id", missing="node_id: no node has it")


def _key(node_id: object) -> dict[str, Any]:
    return {"node_id": checked_text("node_id", node_id)}


def _checked_operation_id(given: object) -> UUID:
    """A new one where none is given. Raises OnexError VALIDATION_ERROR for one that is no UUIDv7."""
    operation_id = uuid7() if given is None else checked_id("operation_id", given)
    if not is_uuid7(operation_id):
        raise invalid("operation_id: not a UUID of version 7")
    return operation_id


def _instant_of(operation_id: UUID) -> datetime:
    """When the id was made: the same at every call with it, so that the same is written. To the millisecond."""
    try:
        return TIMELESS + timedelta(milliseconds=uuid7_millis(operation_id))
    except OverflowError:
        raise invalid("operation_id: its time lies beyond the year 9999") from None


async def _read(call: Call, key: Mapping[str, Any]) -> ModelNodeHeartbeat:
    items = await call.present_items(query_filters=key, limit=1)
    return row_of(ModelNodeHeartbeat, items[0])
