"""Reports: what people ask about workflows, namespaces, sessions and nodes. One operation each, through any adapter.

Answers are JSON values: ids and instants are text. All of them raise OnexError: VALIDATION_ERROR that names a
parameter, TIMEOUT, SERVICE_UNAVAILABLE, and what the adapter answered. docs/queries.md says what is in an answer.

`correlation_id` is a workflow's; `request_correlation_id` is the trace id of the call, made when it is not given.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.persistence.calls import ask
from omninode_bridge.persistence.protocols import DatabaseAdapterProtocol

Answer = dict[str, Any]


async def trace_workflow(
    *,
    correlation_id: UUID | str,
    node: DatabaseAdapterProtocol,
    limit: int | None = None,
    request_correlation_id: UUID | None = None,
) -> Answer:
    """`workflow`, `steps`, `transitions`, `stamps`, `events`; `totals` of these lists, `truncated`: which ones are cut.

    `duration_ms`, `ended` and `failed_steps` besides. The id may be that of the workflow's row, or its workflow_id.
    limit  rows of each list, at most 10,000, as far as they fit into an answer; None: 1,000
    Raises OnexError NOT_FOUND when nothing is known of it, CONFLICT for a workflow_id that several workflows have.
    """
    return await _ask("trace_workflow", node, request_correlation_id, correlation_id=correlation_id, limit=limit)


async def namespace_stats(
    *, namespace: str, node: DatabaseAdapterProtocol, request_correlation_id: UUID | None = None
) -> Answer:
    """`total_stamps`, `total_size_bytes`, `file_types`, `unique_file_types`, `avg_processing_time_ms` ...

    Of its workflows and bridges: `workflows_by_state`, `aggregated`. In one that nobody has named, all is 0.
    """
    return await _ask("namespace_stats", node, request_correlation_id, namespace=namespace)


async def find_failed_workflows(
    *,
    node: DatabaseAdapterProtocol,
    time_range_hours: float = 24,
    limit: int = 100,
    request_correlation_id: UUID | None = None,
) -> list[Answer]:
    """What failed lately, newest first: `correlation_id`, `error_message`, `error_code`, `failed_at` ..."""
    return await _items(
        "find_failed_workflows", node, request_correlation_id, time_range_hours=time_range_hours, limit=limit
    )


async def session_events(
    *,
    session_id: UUID | str,
    node: DatabaseAdapterProtocol,
    time_range_hours: float = 24,
    request_correlation_id: UUID | None = None,
) -> Answer:
    """`total_events`, `event_types`, `duration_ms`, `timeline`, `truncated`. A session without events has 0 of them."""
    return await _ask(
        "session_events", node, request_correlation_id, session_id=session_id, time_range_hours=time_range_hours
    )


async def step_timing(
    *,
    node: DatabaseAdapterProtocol,
    time_range_hours: float = 24,
    limit: int = 100,
    request_correlation_id: UUID | None = None,
) -> list[Answer]:
    """Of completed steps by name and type: `avg_time_ms`, `min_time_ms`, `max_time_ms`, `total_executions`."""
    return await _items("step_timing", node, request_correlation_id, time_range_hours=time_range_hours, limit=limit)


async def transition_failures(
    *,
    node: DatabaseAdapterProtocol,
    time_range_hours: float = 24,
    limit: int = 100,
    request_correlation_id: UUID | None = None,
) -> list[Answer]:
    """Moves to FAILED by `from_state`: `failure_count`, `last_failure_at`."""
    return await _items(
        "transition_failures", node, request_correlation_id, time_range_hours=time_range_hours, limit=limit
    )


async def healthy_nodes(
    *,
    node: DatabaseAdapterProtocol,
    node_type: str | None = None,
    namespace: str | None = None,
    max_age_s: float | None = None,
    after: str | None = None,
    limit: int = 1000,
    request_correlation_id: UUID | None = None,
) -> list[Answer]:
    """Rows of nodes that said HEALTHY and were heard of lately, by type and id; beginning behind the node `after`.

    max_age_s  how lately; None: as long as a node is FRESH. Never a stale one, whatever this is
    """
    given = {"node_type": node_type, "namespace": namespace, "max_age_s": max_age_s, "after": after, "limit": limit}
    return await _items("healthy_nodes", node, request_correlation_id, **given)


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
    request_correlation_id: UUID | None = None,
) -> list[Answer]:
    """Rows of nodes by id, beginning behind `after`; `liveness`, `health` (effective) and `age_s` are as of now.

    One of more than 256 KiB comes without its large columns, which `omitted` names; get_node has it whole.
    """
    filters = {"node_type": node_type, "namespace": namespace, "liveness": liveness, "health": health}
    others = {"include_deregistered": include_deregistered, "after": after, "limit": limit}
    return await _items("list_nodes", node, request_correlation_id, **filters, **others)


async def get_node(
    *, node_id: str, node: DatabaseAdapterProtocol, request_correlation_id: UUID | None = None
) -> Answer:
    """The same of one node, deregistered or not. Raises OnexError NOT_FOUND for one that nobody has heard of."""
    return await _ask("get_node", node, request_correlation_id, node_id=node_id)


async def active_bridge_states(
    *, node: DatabaseAdapterProtocol, request_correlation_id: UUID | None = None
) -> list[Answer]:
    """Bridges at work, neither IDLE nor COMPLETED: `node_type`, `state`, `count`."""
    return await _items("active_bridge_states", node, request_correlation_id)


async def stamps_by_hash(
    *, file_hash: str, node: DatabaseAdapterProtocol, limit: int = 100, request_correlation_id: UUID | None = None
) -> list[Answer]:
    """Rows of the stamps of a file, newest first."""
    return await _items("stamps_by_hash", node, request_correlation_id, file_hash=file_hash, limit=limit)


async def stamps_with(
    *,
    intelligence: Mapping[str, Any],
    node: DatabaseAdapterProtocol,
    limit: int = 100,
    request_correlation_id: UUID | None = None,
) -> list[Answer]:
    """Rows of the stamps whose intelligence_data contains this object, newest first.

    Raises OnexError VALIDATION_ERROR for an object without any value in it, such as {"tags": []}.
    """
    return await _items("stamps_with", node, request_correlation_id, intelligence=intelligence, limit=limit)


async def events_with_error(
    *,
    node: DatabaseAdapterProtocol,
    time_range_hours: float = 24,
    limit: int = 100,
    request_correlation_id: UUID | None = None,
) -> list[Answer]:
    """Events whose payload has a member `error`, newest first."""
    return await _items(
        "events_with_error", node, request_correlation_id, time_range_hours=time_range_hours, limit=limit
    )


async def _items(
    report: str, node: DatabaseAdapterProtocol, trace_id: UUID | None, **parameters: object
) -> list[Answer]:
    return list((await _ask(report, node, trace_id, **parameters)).get("items") or ())


async def _ask(report: str, node: DatabaseAdapterProtocol, trace_id: UUID | None, **parameters: object) -> Answer:
    given = {name: value for name, value in parameters.items() if value is not None}
    trace_id = trace_id or uuid4()
    fields = {"operation_type": report, "query_filters": given, "correlation_id": trace_id}
    try:
        answer = await ask(node, report, otherwise=EnumCoreErrorCode.DATABASE_QUERY_ERROR, **fields)
    except OnexError as error:
        error.context |= {"operation": report, "request_correlation_id": str(trace_id)}
        raise
    return dict(answer.result_data)
