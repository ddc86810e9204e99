"""What fleet and clients agree on, as Celery understands it."""

import ssl
from typing import Any

import pytest
from celery import Celery
from celery.app.defaults import NAMESPACES, flatten

from omninode_bridge.client.broker import QUEUES, celery_settings, queue_of

REDIS = "redis://127.0.0.1:6379/0"


def settings(url: str = REDIS, **more: Any) -> dict[str, Any]:
    return celery_settings(broker_url=url, result_backend_url=REDIS, **more)


def test_every_setting_is_one_that_celery_knows() -> None:
    known = {name for name, _ in flatten(NAMESPACES)}
    # Celery reads these two without listing them among its settings.
    unlisted = {"result_backend_thread_safe", "redis_backend_health_check_interval"}
    assert set(settings()) - known == unlisted


def test_every_transport_option_is_one_that_kombu_takes() -> None:
    from kombu.transport.redis import Channel

    options = settings()["broker_transport_options"]
    assert set(options) - set(Channel.from_transport_options) == set()


def test_a_killed_worker_s_messages_come_back_two_minutes_later() -> None:
    options = settings()["broker_transport_options"]
    assert options["visibility_timeout"] == 120
    assert options["unacked_restore_interval"] * options["unacked_restore_throttle"] <= 5
    assert options["unacked_mutex_expire"] < options["visibility_timeout"]


def test_only_json_is_spoken() -> None:
    given = settings()
    assert given["accept_content"] == given["result_accept_content"] == ["json"]
    assert {given[f"{what}_serializer"] for what in ("task", "result", "event")} == {"json"}


def test_the_prefix_is_before_the_keys_of_broker_and_results_and_empty_unless_given() -> None:
    for prefix in ("", "east:"):
        given = settings(key_prefix=prefix)
        assert given["broker_transport_options"]["global_keyprefix"] == prefix
        assert given["result_backend_transport_options"]["global_keyprefix"] == prefix


def test_certificates_are_checked_unless_the_url_says_otherwise() -> None:
    assert settings("rediss://host/0")["broker_use_ssl"] == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert settings("amqps://host//")["broker_use_ssl"] == {"cert_reqs": ssl.CERT_REQUIRED}
    assert not settings("rediss://host/0?ssl_cert_reqs=none")["broker_use_ssl"]
    assert not settings()["broker_use_ssl"]
    backend = celery_settings(broker_url="amqp://host//", result_backend_url="rediss://host/0")
    assert backend["redis_backend_use_ssl"] == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_a_sentinel_url_names_its_master() -> None:
    given = settings("sentinel://:word@one:26379/0;sentinel://:word@two:26379/0?master_name=fleet")
    assert given["broker_transport_options"]["master_name"] == "fleet"
    assert given["broker_url"] == "sentinel://:word@one:26379/0;sentinel://:word@two:26379/0"


def test_rabbitmq_gets_quorum_queues_and_confirmed_publishing() -> None:
    app = Celery(set_as_current=False)
    app.conf.update(settings("amqp://guest:guest@127.0.0.1//"))
    assert app.conf.broker_transport_options["confirm_publish"] is True
    for name in QUEUES:
        assert app.amqp.queues[name].queue_arguments == {"x-queue-type": "quorum"}
    assert app.amqp.queues["another"].queue_arguments == {"x-queue-type": "quorum"}


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_is_reached_by_its_name_alone(name: str) -> None:
    app = Celery(set_as_current=False)
    app.conf.update(settings())
    queue = app.amqp.queues[name]
    assert (queue.exchange.name, queue.routing_key) == ("", name)


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("omninode.persist_batch", "persist"),
        ("omninode.persist_workflow_step", "persist"),
        ("omninode.update_node_heartbeat", "persist"),
        ("omninode.persist_state", "intents"),
        ("omninode.persist_fsm_transition", "persist"),
        ("omninode.persist_fsm_transition_intent", "intents"),
        ("omninode.publish_event", "intents"),
        ("omninode.database_operation", "queries"),
        ("omninode.ensure_partitions", "housekeeping"),
        ("somebody.else", "celery"),
    ],
)
def test_a_task_goes_to_the_queue_of_its_family(task: str, queue: str) -> None:
    app = Celery(set_as_current=False)
    app.conf.update(settings())
    assert queue_of(task) == queue
    assert app.amqp.router.route({}, task)["queue"].name == queue
