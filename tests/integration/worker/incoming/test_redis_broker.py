"""A living worker on a Redis-protocol broker, and messages that are no tasks: it lives, answers what stands behind
them, and keeps them where an operator finds them."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.conftest import clean_environment, fleet
from tests.deadline import wait_until
from tests.living_worker import QUEUE, STEP, LivingWorker, step_message
from tests.odd_messages import COSTLY, packed
from worker.incoming.unreadable import MAX_HEAD_BYTES, MAX_KEPT, UNREADABLE

SECRET = "a value that must not be shown"
ELSEWHERE = "elsewhere"
SIGNATURE = {"task": "omninode.persist_workflow_step", "args": [STEP], "kwargs": {}, "options": {"queue": ELSEWHERE}}


def without(name: str) -> dict[str, Any]:
    message = step_message()
    del message[name]
    return message


def having(*place: str, value: Any) -> dict[str, Any]:
    message: Any = step_message()
    inner = message
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return dict(message)


def with_option(name: str) -> dict[str, Any]:
    return step_message(body=[[STEP], {}, {name: [SIGNATURE]}])


KINDS: dict[str, Any] = {
    "text": "not json at all",
    "a number": "5",
    "nothing": "",
    "bytes": b"\xff\x00\xfe",
    "a pickle": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94K\x01a.",
    "a list": [step_message()],
    **{f"no {name}": without(name) for name in ("body", "headers", "properties", "content-type")},
    "a body that is an object": having("body", value={"a": 1}),
    "a body that is not base64": having("body", value="abcde"),
    "a body with a lone surrogate": having("body", value="\ud800"),
    "a body of two": step_message(body=[[STEP], {}]),
    "a body that is an object inside": step_message(body={"args": [STEP], "kwargs": {}}),
    "a body with arguments of the wrong kind": step_message(body=[{}, [], {}]),
    "a body that is no json": having("body", value=base64.b64encode(b"no json").decode()),
    "no delivery tag": having("properties", "delivery_tag", value=None),
    "a delivery tag that is a list": having("properties", "delivery_tag", value=["x"]),
    "no delivery info": having("properties", "delivery_info", value=None),
    "an exchange that is a list": having("properties", "delivery_info", "exchange", value=[]),
    "an unknown body encoding": having("properties", "body_encoding", value="rot13"),
    "a priority past all bounds": having("properties", "priority", value=10**400),
    "a reply_to that is a list": having("properties", "reply_to", value=["x"]),
    "a correlation id that is a number": having("properties", "correlation_id", value=5),
    "another content type": having("content-type", value="application/x-python-serialize"),
    "a content type that is a list": having("content-type", value=[]),
    "another content encoding": having("content-encoding", value="zlib_codec"),
    "headers that are a list": having("headers", value=[]),
    **{f"a {name} that is a list": step_message(headers={name: ["x"]}) for name in ("task", "id", "retries", "eta")},
    "an id that is an object": step_message(headers={"id": {"a": 1}}),
    "an id of a megabyte": step_message(headers={"id": "x" * (1 << 20)}),
    "an id of a lone surrogate": step_message(headers={"id": "\ud800"}),
    "no task": step_message(headers={"task": None}),
    "an unknown task": step_message(headers={"task": "omninode.unknown"}),
    "one of celery's own tasks": step_message(headers={"task": "celery.chord_unlock"}),
    "a task for next year": step_message(headers={"eta": "2999-01-01T00:00:00+00:00"}),
    "an expiry that is a number": step_message(headers={"expires": 1e400}),
    "time limits that are text": step_message(headers={"timelimit": "soon"}),
    "a group that is an object": step_message(headers={"group": {"a": 1}}),
    "an unknown compression": packed("nothing", b"x"),
    "a compression that is an object": step_message(headers={"compression": {"a": 1}}),
    "what was not packed": packed("gzip", b"not packed"),
    "a bomb of two streams": packed("bzip2", zlib.compress(b"x")),
    **{f"a {name}": with_option(name) for name in ("callbacks", "errbacks", "chain", "chord")},
    **{f"a header {name}": step_message(headers={name: [SIGNATURE]}) for name in ("callbacks", "chain", "chord")},
    "a header that hides a method": step_message(headers={"get": 5}),
    **{f"a {name}": make() for name, make in COSTLY.items()},
}


def test_no_kind_of_them_ends_the_worker_or_keeps_a_good_one_waiting(worker: LivingWorker, app: Celery) -> None:
    before = worker.state(app)["unreadable_total"]
    good = []
    for bad in KINDS.values():
        worker.push(bad)
        good.append(worker.push_good())
    worker.answers(good, seconds=60)
    kept = worker.kept()
    assert len(kept) == len(KINDS)
    assert [entry for entry in kept if not entry["reason"] or entry["queue"] != QUEUE] == []
    state = worker.state(app)
    assert state["unreadable_total"] - before == len(KINDS)
    wait_until(lambda: worker.unacknowledged() == 0, seconds=10, what="all are acknowledged")
    assert worker.redis.exists(worker.prefix + QUEUE, worker.prefix + ELSEWHERE) == 0


def test_what_is_kept_is_the_beginning_of_what_came(worker: LivingWorker) -> None:
    as_envelope = b"no json " * 10_000
    as_task = json.dumps(step_message(headers={"id": {"a": "x" * 80_000}})).encode()
    worker.push(as_envelope, as_task)
    worker.answers([worker.push_good()])
    kept = [(entry["size_bytes"], base64.b64decode(entry["head"])) for entry in worker.kept()]
    assert kept == [(len(raw), raw[:MAX_HEAD_BYTES]) for raw in (as_task, as_envelope)]


def test_each_is_logged_once_without_what_it_holds(worker: LivingWorker) -> None:
    begun = len(worker.log)
    worker.push(f"no json {SECRET}", step_message(headers={"id": [SECRET]}), step_message(body=[[SECRET], {}]))
    worker.push(step_message(headers={"task": SECRET}), packed("gzip", SECRET.encode()))
    worker.answers([worker.push_good()])
    log = worker.log[begun:]
    assert log.count('"event":"message_unreadable"') == 5
    assert SECRET not in log


def test_the_producer_of_an_unknown_task_is_told(worker: LivingWorker) -> None:
    message = step_message(headers={"task": "omninode.unknown"})
    worker.push(message)
    task_id = message["headers"]["id"]
    wait_until(lambda: worker.status(task_id) == "FAILURE", seconds=20, what="the producer is told")
    assert [entry["reason"] for entry in worker.kept()] == ["headers.task: unregistered"]


def test_the_list_is_bounded(worker: LivingWorker) -> None:
    worker.push(*[f"no json, number {n}" for n in range(MAX_KEPT + 20)])
    worker.answers([worker.push_good()])
    kept = [base64.b64decode(entry["head"]).decode() for entry in worker.kept()]
    assert kept == [f"no json, number {n}" for n in reversed(range(20, MAX_KEPT + 20))]


def test_what_stands_in_unacked_and_is_no_message_does_not_keep_the_others_from_coming_back(
    worker: LivingWorker,
) -> None:
    good = step_message()
    held: dict[str, Any] = {
        "good": json.dumps([good, "", QUEUE]),
        "text": "not json",
        "of one": json.dumps([step_message()]),
        "no object": json.dumps([5, "", QUEUE]),
        "no properties": json.dumps([without("properties"), "", QUEUE]),
        "headers that are null": json.dumps([having("headers", value=None), "", QUEUE]),
        "a priority past all bounds": json.dumps([having("properties", "priority", value=1e400), "", QUEUE]),
        "no queue": json.dumps([step_message(), "", ""]),
        "an unknown exchange": json.dumps([step_message(), "unknown", "unknown"]),
        "a queue that is a list": json.dumps([step_message(), "", [QUEUE]]),
        "bytes": b"\xff\xfe",
    }
    with worker.redis.pipeline() as pipe:
        for tag, text in held.items():
            pipe.hset(worker.prefix + "unacked", tag, text)
            pipe.zadd(worker.prefix + "unacked_index", {tag: 1.0})
        pipe.execute()
    worker.answers([good["headers"]["id"]])
    wait_until(lambda: worker.unacknowledged() == 0, seconds=20, what="nothing is left in unacked")
    kept = {base64.b64decode(entry["head"]) for entry in worker.kept()}
    assert kept == {text.encode() if isinstance(text, str) else text for tag, text in held.items() if tag != "good"}
    assert worker.redis.zcard(worker.prefix + "unacked_index") == 0


def test_broken_broadcasts_leave_remote_control_as_it_is(worker: LivingWorker, app: Celery) -> None:
    before = worker.state(app)["unreadable_total"]
    broken: list[Any] = ["not json", "5", b"\xff", "[" * 5000, json.dumps({}), json.dumps(without("properties"))]
    broken += [json.dumps(having(*place, value=[])) for place in (("body",), ("properties", "delivery_info"))]
    odd_bodies: list[Any] = [5, [], {"method": []}, {"method": "x", "a": 1}]
    broken += [json.dumps(step_message(body=body)) for body in odd_bodies]
    broken += [json.dumps(having("content-type", value="application/x-python-serialize"))]
    broken += [json.dumps(having("headers", "clock", value=["x"])), json.dumps(packed("gzip", b"no"))]
    channel = f"{worker.prefix}/0.celery.pidbox"
    for data in broken:  # Celery subscribes anew after some of them

        def reaches_it(data: Any = data) -> bool:
            return bool(worker.redis.publish(channel, data) == 1)

        wait_until(reaches_it, seconds=10, what="the worker listens")
    worker.answers([worker.push_good()])
    assert worker.state(app)["unreadable_total"] > before
    assert worker.kept() == []


def test_a_task_is_where_it_was_found_whatever_it_says(worker: LivingWorker) -> None:
    message = step_message(queue=QUEUE)
    worker.push(message, queue="housekeeping")
    task_id = message["headers"]["id"]
    wait_until(lambda: worker.status(task_id) == "FAILURE", seconds=20, what="it is refused")


def test_two_messages_with_one_delivery_tag_are_two(worker: LivingWorker) -> None:
    messages = [having("properties", "delivery_tag", value="the same") for _ in range(10)]
    worker.push(*messages)
    worker.answers([message["headers"]["id"] for message in messages])
    wait_until(lambda: worker.unacknowledged() == 0, seconds=10, what="all are acknowledged")


@pytest.mark.timeout(300)  # eleven commands
def test_an_operator_sees_them_and_discards_them(worker: LivingWorker) -> None:
    worker.push("first \x1b[31m \x7f \u202e", without("properties"), "last")
    worker.answers([worker.push_good()])
    env = clean_environment(worker.environment)

    status = fleet("status", environment=env).stdout
    assert "unreadable messages: 3 kept (fleet dlq unreadable)" in " ".join(status.split())
    told = json.loads(fleet("status", "--json", environment=env).stdout)
    assert told["unreadable"] == 3
    assert [state["unreadable_total"] >= 3 for state in told["workers"].values()] == [True]
    assert UNREADABLE not in told["queues"]

    listed = fleet("dlq", "unreadable", environment=env)
    assert listed.returncode == 0, listed.stderr
    assert "3 unreadable messages" in listed.stdout
    assert "properties: no object" in listed.stdout
    last, _, first = [entry["id"] for entry in worker.kept()]
    shown = fleet("dlq", "unreadable", first, environment=env).stdout
    assert json.loads(shown)["head"] == "first \x1b[31m \x7f \u202e"
    assert shown.replace("\n", "").isprintable()
    lines = fleet("dlq", "unreadable", "--json", environment=env).stdout.splitlines()
    assert [json.loads(line)["reason"] for line in lines] == [entry["reason"] for entry in worker.kept()]

    missing = fleet("dlq", "unreadable", "no-such-id", environment=env)
    assert (missing.returncode, "no such message" in missing.stderr) == (1, True)
    assert fleet("dlq", "unreadable", "--discard", first, environment=env).stdout == "1 discarded\n"
    assert last in [entry["id"] for entry in worker.kept()]
    assert fleet("dlq", "unreadable", "--discard", environment=env).stdout == "2 discarded\n"
    assert worker.kept() == []
    assert "unreadable messages: 0 kept" in " ".join(fleet("status", environment=env).stdout.split())


def test_no_worker_takes_the_queue_where_they_are_kept(worker: LivingWorker) -> None:
    refused = fleet("worker", "--queues", f"persist,{UNREADABLE}", environment=clean_environment(worker.environment))
    assert refused.returncode == 1
    assert f"queues: {UNREADABLE}" in refused.stderr


@pytest.mark.parametrize("name", ["gzip", "bzip2", "lzma"])
def test_a_packed_task_is_taken_as_any(name: str, worker: LivingWorker, app: Celery) -> None:
    sent = app.send_task("omninode.persist_workflow_step", args=[STEP], queue=QUEUE, compression=name)
    assert sent.get(timeout=20)["applied"] == 1


def test_a_task_id_that_is_a_uuid_object_is_taken(worker: LivingWorker, tmp_path: Path) -> None:
    tagged = step_message()
    id_ = tagged["headers"]["id"]
    tagged["headers"]["id"] = {"__type__": "uuid", "__value__": {"hex": id_.replace("-", "")}}
    worker.push(tagged)
    worker.answers([id_])
