"""The fleet's tasks as any Celery producer sees them that knows nothing but the broker's URL."""

import gc
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from celery import Celery

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.operation import Operation
from tests import factories
from tests.acceptance.flower import done_in_flower, flower
from tests.conftest import Stack, clean_environment
from tests.deadline import wait_until

pytestmark = pytest.mark.acceptance

ANSWER_S = 20
SECRET = "a value that must not be shown"
OPERATIONS: dict[str, Callable[[], Operation]] = {
    "persist_workflow_execution": factories.execution,
    "persist_workflow_step": factories.step,
    "persist_bridge_state": factories.bridge_state,
    "persist_fsm_transition": factories.transition,
    "persist_metadata_stamp": factories.stamp,
    "update_node_heartbeat": factories.heartbeat,
}


@pytest.fixture(scope="module")
def producer(stack: Stack) -> Iterator[Celery]:
    """A Celery app without a line of configuration."""
    url = stack.env["OMNINODE_BROKER_URL"]
    app = Celery("producer", broker=url, backend=url, set_as_current=False)
    yield app
    close(app)


@pytest.fixture
def conn(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(stack.env["OMNINODE_DATABASE_URL"], autocommit=True) as opened:
        yield opened


def close(app: Celery) -> None:
    """End its connections; results that nobody holds any more say good-bye to the broker while there is one."""
    gc.collect()
    app.close()


def ask(app: Celery, task: str, *args: Any, queue: str | None = None, **kwargs: Any) -> dict[str, Any]:
    sent = app.send_task(f"omninode.{task}", args=args, kwargs=kwargs, queue=queue)
    answer: dict[str, Any] = sent.get(timeout=ANSWER_S)
    return answer


def wire(operation: Operation) -> dict[str, Any]:
    shape: dict[str, Any] = operation.model_dump(mode="json", exclude_none=True)
    return shape


def applied(count: int) -> dict[str, Any]:
    return {"operations": count, "applied": count, "rest": []}


@pytest.mark.parametrize("task", OPERATIONS)
def test_each_named_task_applies_one_operation_and_a_list_once(task: str, producer: Celery) -> None:
    one, two, three = (wire(OPERATIONS[task]()) for _ in range(3))
    assert ask(producer, task, one) == applied(1)
    assert ask(producer, task, [two, three]) == applied(2)
    again = ask(producer, task, [one, two, three])
    assert again == {"operations": 3, "applied": 0, "rest": [[n, "duplicate"] for n in range(3)]}


def test_an_operation_s_fields_alone_are_enough(producer: Celery, conn: psycopg.Connection[Any]) -> None:
    workflow = str(uuid4())
    fields: dict[str, Any] = {"workflow_id": workflow, "step_name": "validate", "step_order": 1, "status": "completed"}
    assert ask(producer, "persist_workflow_step", fields) == applied(1)
    assert ask(producer, "persist_workflow_step", **fields) == applied(1)
    assert ask(producer, "persist_workflow_step", json.dumps([fields])) == applied(1)
    stored = conn.execute("select status from workflow_steps where workflow_id = %s", (workflow,)).fetchall()
    assert stored == [("COMPLETED",)] * 3  # three tasks, none of which named an operation's id


def test_a_batch_goes_to_its_own_queue_or_to_celery_s_default(producer: Celery) -> None:
    for queue in ("persist", None):
        text = json.dumps([wire(factories.step()), wire(factories.heartbeat("node-of-a-batch"))])
        assert ask(producer, "persist_batch", text, queue=queue) == applied(2)


def test_a_bad_operation_is_refused_and_kept_while_its_neighbours_are_applied(
    producer: Celery, conn: psycopg.Connection[Any]
) -> None:
    good, bad = wire(factories.step()), wire(factories.step())
    bad["data"]["step_order"] = SECRET
    answer = ask(producer, "persist_workflow_step", [good, bad])
    position, status, code, message = answer["rest"][0]
    assert (answer["applied"], position, status, code) == (1, 1, "refused", "VALIDATION_ERROR")
    assert message.startswith("step_order: ")
    kept = conn.execute("select payload from dead_letters where id = %s", (bad["operation_id"],)).fetchone()
    assert kept is not None
    assert json.loads(kept[0])["data"]["step_order"] == SECRET


@pytest.mark.parametrize("argument", [None, 7, "no json", [[]], {"x": 1}])
def test_nonsense_is_refused_rather_than_lost(argument: Any, producer: Celery) -> None:
    answer = ask(producer, "persist_workflow_step", argument)
    assert [entry[1] for entry in answer["rest"]] == ["refused"]


def test_a_task_is_taken_from_its_own_queue_only(producer: Celery) -> None:
    with pytest.raises(Exception, match="not taken from the queue 'housekeeping'"):
        ask(producer, "persist_workflow_step", wire(factories.step()), queue="housekeeping")


def test_a_schedules_task_runs_the_tick_that_it_is_given(producer: Celery, conn: psycopg.Connection[Any]) -> None:
    due_at = datetime.now(UTC)
    producer.send_task("omninode.ensure_partitions", [due_at.isoformat()], queue="housekeeping")
    query = "select outcome from schedule_ticks where name = 'partitions' and due_at = %s"
    wait_until(lambda: conn.execute(query, [due_at]).fetchone() == ("done",), seconds=ANSWER_S, what="the tick is done")


def test_each_worker_tells_how_it_is(producer: Celery) -> None:
    replies = producer.control.broadcast("fleet_state", reply=True, timeout=2)
    states = [state for reply in replies for state in reply.values()]
    assert len(states) == 2
    for state in states:
        assert state["paused"] is False
        assert state["breaker"]["state"] == "closed"
        assert state["pool"]["pool_max"] > 0
        assert state["rss_bytes"] > 10 << 20
        assert "persist" in state["queues"]


def test_flower_shows_a_task_by_name_with_a_summary_and_no_payload(producer: Celery, stack: Stack) -> None:
    step = wire(factories.step(step_data={"secret": SECRET}))
    sent = producer.send_task("omninode.persist_workflow_step", args=[[step, step]])
    sent.get(timeout=ANSWER_S)
    listed = wait_until(lambda: done_in_flower(stack, sent.id), seconds=20, what="Flower knows the task")
    assert listed["name"] == "omninode.persist_workflow_step"
    assert listed["args"] == "2 operations: 2 workflow_step"
    assert listed["kwargs"] == "{}"
    assert SECRET not in json.dumps(flower(stack, "/api/tasks"))


def test_flower_is_closed_without_its_login(stack: Stack) -> None:
    for path in ("/", "/workers", "/tasks", "/api/tasks", "/api/workers"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(stack.env["OMNINODE_FLOWER_URL"] + path, timeout=10)
        assert refused.value.code == 401
        refused.value.close()


class OwnWorker:
    """A worker of its own, under a prefix of its own, so that nobody else takes its messages."""

    def __init__(self, stack: Stack, log: Path) -> None:
        self.prefix = f"test-{uuid7()}:"
        self.log = log
        self.redis = redis.Redis.from_url(stack.env["OMNINODE_BROKER_URL"])
        prefixed = {"global_keyprefix": self.prefix}
        url = stack.env["OMNINODE_BROKER_URL"]
        self.app = Celery("producer", broker=url, backend=url, set_as_current=False)
        self.app.conf.update(broker_transport_options=prefixed, result_backend_transport_options=prefixed)
        self.process = self._start(stack.env)

    def _start(self, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "worker", "worker", "--name", "own", "--threads", "2"]
        variables = clean_environment({**env, "OMNINODE_BROKER_KEY_PREFIX": self.prefix})
        with self.log.open("wb") as output:
            return subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, env=variables)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return "ready" in self.log.read_text()

    def waiting(self) -> int:
        return int(self.redis.llen(f"{self.prefix}persist"))

    def unacknowledged(self) -> int:
        return int(self.redis.hlen(f"{self.prefix}unacked"))

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for key in self.redis.scan_iter(f"{self.prefix}*"):
            self.redis.delete(key)
        self.redis.close()
        close(self.app)


@pytest.fixture
def own_worker(stack: Stack, tmp_path: Path) -> Iterator[OwnWorker]:
    worker = OwnWorker(stack, tmp_path / "worker.log")
    try:
        wait_until(worker.is_ready, seconds=30, what="the worker is ready")
        yield worker
    finally:
        worker.end()


def test_a_worker_told_to_stop_finishes_what_it_does_and_gives_the_rest_back(
    own_worker: OwnWorker, conn: psycopg.Connection[Any]
) -> None:
    sent = 20
    with conn.transaction():
        conn.execute("lock table operations in share row exclusive mode")  # its threads are held here
        answers = [
            own_worker.app.send_task(
                "omninode.persist_workflow_step", args=[wire(factories.step())], queue="persist"
            ).id
            for _ in range(sent)
        ]
        wait_until(lambda: own_worker.unacknowledged() == 4, seconds=10, what="the worker has fetched all that it may")
        own_worker.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Warm shutdown" in own_worker.log.read_text(), seconds=10, what="it has heard")
    assert own_worker.process.wait(60) == 0, own_worker.log.read_text()
    states = [own_worker.app.backend.get_state(answer) for answer in answers]
    finished = states.count("SUCCESS")
    assert 2 <= finished <= 4  # what its two threads were at, and perhaps what lay ready for them
    assert states.count("PENDING") == own_worker.waiting() == sent - finished
    assert own_worker.unacknowledged() == 0


def test_an_idle_worker_stops_within_seconds(own_worker: OwnWorker) -> None:
    own_worker.process.send_signal(signal.SIGTERM)
    assert own_worker.process.wait(60) == 0, own_worker.log.read_text()


def test_logs_hold_no_payload_and_no_password(own_worker: OwnWorker, stack: Stack) -> None:
    bad = wire(factories.step(step_data={"secret": SECRET}))
    bad["data"]["step_order"] = SECRET
    own_worker.app.send_task("omninode.persist_workflow_step", args=[bad]).get(timeout=ANSWER_S)
    own_worker.app.send_task("omninode.not_a_task", args=[SECRET])
    wait_until(lambda: "unregistered" in own_worker.log.read_text(), seconds=10, what="the unknown task is logged")
    text = own_worker.log.read_text()
    password = psycopg.conninfo.conninfo_to_dict(stack.env["OMNINODE_DATABASE_URL"])["password"]
    assert '"event":"batch_settled"' in text
    assert SECRET not in text
    assert str(password) not in text
