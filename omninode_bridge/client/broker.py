"""What the fleet and its clients agree on about the broker: task names, queues, and Celery's settings.

Plain values: nothing here imports Celery. docs/fleet.md gives the reason of each setting.
"""

import socket
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlencode

PERSIST_QUEUE = "persist"
INTENTS_QUEUE = "intents"
QUERIES_QUEUE = "queries"
HOUSEKEEPING_QUEUE = "housekeeping"
DEFAULT_QUEUE = "celery"  # where a Celery producer sends that knows nothing but the URL
QUEUES = (PERSIST_QUEUE, INTENTS_QUEUE, QUERIES_QUEUE, HOUSEKEEPING_QUEUE, DEFAULT_QUEUE)

PERSIST_BATCH_TASK = "omninode.persist_batch"
INTENT_BATCH_TASK = "omninode.intent_batch"  # a client's intents; any other producer sends omninode.execute_intents
QUERY_BATCH_TASK = "omninode.answer_queries"  # queries that came over the bus
DATABASE_BATCH_TASK = "omninode.database_operations"  # generic operations and reports, answered by result
DATABASE_TASK = "omninode.database_operation"  # one of them, from any other producer
EXECUTE_INTENTS_TASK = "omninode.execute_intents"
# The fleet's own, one for each schedule; they take the moment for which they are due, as ISO text.
ENSURE_PARTITIONS_TASK = "omninode.ensure_partitions"
SWEEP_HEARTBEATS_TASK = "omninode.sweep_heartbeats"
RECOVER_WORKFLOWS_TASK = "omninode.recover_workflows"
ENFORCE_RETENTION_TASK = "omninode.enforce_retention"
FLEET_STATE_COMMAND = "fleet_state"  # remote control: what a worker says of itself

# The first pattern that fits a task's name decides; each queue takes the tasks routed to it, and `celery` takes all.
TASK_QUEUES = {
    "omninode.persist_state": INTENTS_QUEUE,
    "omninode.persist_fsm_transition_intent": INTENTS_QUEUE,
    "omninode.persist_*": PERSIST_QUEUE,
    "omninode.update_node_heartbeat": PERSIST_QUEUE,
    "omninode.publish_event": INTENTS_QUEUE,
    "omninode.recover_fsm_states": INTENTS_QUEUE,
    EXECUTE_INTENTS_TASK: INTENTS_QUEUE,
    INTENT_BATCH_TASK: INTENTS_QUEUE,
    QUERY_BATCH_TASK: QUERIES_QUEUE,
    DATABASE_BATCH_TASK: QUERIES_QUEUE,
    DATABASE_TASK: QUERIES_QUEUE,
    "omninode.*": HOUSEKEEPING_QUEUE,
}

VISIBILITY_TIMEOUT_S = 120  # longer than any task runs; what a killed worker held comes back after it
CONNECT_TIMEOUT_S = 5
SOCKET_TIMEOUT_S = 10  # longer than the second that a worker waits in one BRPOP
HEALTH_CHECK_INTERVAL_S = 15
POOL_ACQUIRE_TIMEOUT_S = 5
HEARTBEAT_S = 20  # RabbitMQ only
PUBLISH_RETRY = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}
# A broker that is full, or a replica about to be promoted, is away like one that does not answer.
AWAY_ERRORS = ("redis.exceptions.OutOfMemoryError", "redis.exceptions.ReadOnlyError")


def celery_settings(
    *, broker_url: str, result_backend_url: str, key_prefix: str = "", result_expires_s: int = 3600
) -> dict[str, Any]:
    """The Celery settings on which fleet and clients must agree, as keywords of `app.conf.update`.

    broker_url          redis://, rediss://, sentinel:// (with ?master_name=...), amqp:// or amqps://
    result_backend_url  of the Redis kind; "" means that nobody waits for confirmations
    key_prefix          before every key in a Redis-protocol broker and backend
    """
    broker, master = _split_master_name(broker_url)
    backend, backend_master = _split_master_name(result_backend_url)
    return {
        "broker_url": broker,
        "broker_connection_timeout": CONNECT_TIMEOUT_S,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_acquire_timeout": POOL_ACQUIRE_TIMEOUT_S,
        "broker_heartbeat": HEARTBEAT_S,
        "broker_transport_options": _transport_options(broker, key_prefix=key_prefix, master_name=master),
        "broker_use_ssl": _tls(broker),
        "result_backend": backend or None,
        "result_backend_transport_options": _backend_options(key_prefix=key_prefix, master_name=backend_master),
        "result_backend_thread_safe": True,
        "redis_backend_use_ssl": _tls(backend) or None,
        "redis_socket_timeout": SOCKET_TIMEOUT_S,
        "redis_socket_connect_timeout": CONNECT_TIMEOUT_S,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": HEALTH_CHECK_INTERVAL_S,
        "redis_retry_on_timeout": False,
        "result_expires": result_expires_s,
        "result_extended": False,
        **_json_only(),
        **_task_settings(quorum=_is_amqp(broker)),
    }


def queue_of(task_name: str) -> str:
    """The queue that a task is routed to."""
    for pattern, queue in TASK_QUEUES.items():
        if task_name == pattern or (pattern.endswith("*") and task_name.startswith(pattern[:-1])):
            return queue
    return DEFAULT_QUEUE


def _json_only() -> dict[str, Any]:
    return {
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
    }


def _task_settings(*, quorum: bool) -> dict[str, Any]:
    arguments = {"x-queue-type": "quorum"} if quorum else None
    return {
        "task_queues": {name: {"exchange": "", "routing_key": name, "queue_arguments": arguments} for name in QUEUES},
        "task_default_queue": DEFAULT_QUEUE,
        "task_default_exchange": "",  # the default exchange: a message's routing key is its queue's name
        "task_default_routing_key": DEFAULT_QUEUE,
        "task_default_queue_type": "quorum" if quorum else "classic",
        "task_create_missing_queue_type": "quorum" if quorum else "classic",
        "task_routes": {pattern: {"queue": queue} for pattern, queue in TASK_QUEUES.items()},
        "task_publish_retry": True,
        "task_publish_retry_policy": PUBLISH_RETRY,
        "task_ignore_result": False,
        "task_track_started": False,
        "task_send_sent_event": False,
    }


def _transport_options(url: str, *, key_prefix: str, master_name: str) -> dict[str, Any]:
    if _is_amqp(url):
        return {"confirm_publish": True}
    options: dict[str, Any] = {
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 30,
        "priority_steps": [0],
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
        "socket_keepalive_options": keepalive_options(),
        "health_check_interval": HEALTH_CHECK_INTERVAL_S,
        "retry_on_timeout": False,
        "global_keyprefix": key_prefix,
    }
    return options | ({"master_name": master_name} if master_name else {})


def _backend_options(*, key_prefix: str, master_name: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "global_keyprefix": key_prefix,
        "retry_policy": PUBLISH_RETRY,
        "additional_connection_errors": AWAY_ERRORS,
    }
    return options | ({"master_name": master_name} if master_name else {})


def keepalive_options() -> dict[int, int]:
    """A peer that vanished is noticed within 25 seconds, where the platform lets us say so."""
    wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


def _tls(url: str) -> dict[str, Any] | bool:
    """Certificates are checked unless the URL says otherwise; without this, Celery would not check them."""
    secure = url.startswith(("rediss://", "amqps://"))
    if not secure or "ssl_cert_reqs" in url:
        return False
    return {"ssl_cert_reqs" if url.startswith("rediss://") else "cert_reqs": ssl.CERT_REQUIRED}


def _split_master_name(url: str) -> tuple[str, str]:
    """A Sentinel URL names its master as a query parameter; Celery wants it as a transport option."""
    base, mark, query = url.partition("?")
    if not mark or not url.startswith("sentinel://"):
        return url, ""
    parameters = dict(parse_qsl(query))
    master_name = parameters.pop("master_name", "")
    return base + (f"?{urlencode(parameters)}" if parameters else ""), master_name


def _is_amqp(url: str) -> bool:
    return url.startswith(("amqp://", "amqps://"))
