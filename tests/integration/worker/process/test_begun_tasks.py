"""Which messages end their workers, told from those that were only there, on a real broker."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis
from celery.exceptions import Reject

from tests.checkout import CHECKOUT
from tests.deadline import wait_until
from worker.process import begun_tasks
from worker.process.begun_tasks import BegunTasks

# A worker that begins the given tasks, all at a time, and ends without a word.
DIES = """
import os, sys, threading, redis
from worker.process.begun_tasks import BegunTasks
url, prefix, *tasks = sys.argv[1:]
client = redis.Redis.from_url(url)
begun = BegunTasks(lambda: client, key_prefix=prefix)
begun.open()
arrived = threading.Barrier(len(tasks) + 1)
def work(task_id):
    with begun.working_on(task_id):
        arrived.wait()
        threading.Event().wait()
for task_id in tasks:
    threading.Thread(target=work, args=(task_id,), daemon=True).start()
arrived.wait()
os._exit(9)
"""


@pytest.fixture
def client(broker: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker) as one:
        yield one


@pytest.fixture
def begun(client: redis.Redis) -> Iterator[BegunTasks]:
    one = BegunTasks(lambda: client, key_prefix="fleet:")
    one.open()
    yield one
    one.close()


def die_with(broker: str, *tasks: str) -> None:
    command = [sys.executable, "-c", DIES, broker, "fleet:", *tasks]
    assert subprocess.run(command, cwd=CHECKOUT, timeout=60, check=False).returncode == 9


def notes(client: redis.Redis) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in sorted(client.scan_iter("fleet:omninode:begun:*")):
        value = client.get(key)
        assert isinstance(value, bytes)
        found[key.decode().rsplit(":", 1)[-1]] = value.decode()
    return found


def test_what_is_settled_is_forgotten_many_at_a_time(
    begun: BegunTasks, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begun_tasks, "MANY_SETTLED", 2)
    with begun.working_on("a") as deaths:
        assert deaths == 0
        (note,) = notes(client).values()
        assert f":{os.getpid()}:" in note
    for task in ("b", "c"):
        with begun.working_on(task):
            pass
    assert list(notes(client)) == ["c"]
    begun.close()
    assert notes(client) == {}
    assert list(client.scan_iter("fleet:omninode:worker:*")) == []


def test_a_message_that_took_three_workers_with_it_is_known(begun: BegunTasks, broker: str) -> None:
    for _ in range(3):
        with begun.working_on("healthy") as deaths:
            assert deaths == 0
        die_with(broker, "killer")
    for _ in range(2):  # and another copy of it
        with begun.working_on("killer") as deaths:
            assert deaths == 3 and begun.deaths("killer") == 3
    assert begun.deaths("killer") == 0


def test_two_deaths_are_not_enough(begun: BegunTasks, broker: str) -> None:
    for _ in range(2):
        die_with(broker, "unlucky")
    with begun.working_on("unlucky") as deaths:
        assert deaths == 0
    with begun.working_on("something else"):
        pass
    with begun.working_on("unlucky") as deaths:
        assert deaths == 0, "it was settled: what was noted of it is forgotten"


def test_what_was_under_way_beside_a_killer_is_not_blamed(begun: BegunTasks, broker: str) -> None:
    together = ["killer", *(f"healthy {n}" for n in range(5))]
    die_with(broker, *together)  # all of them are suspected, so they are taken alone from here on
    die_with(broker, "killer")
    die_with(broker, "killer")
    for task in together[1:]:
        with begun.working_on(task) as deaths:
            assert deaths == 0
    with begun.working_on("killer") as deaths:
        assert deaths == 3


def test_a_suspect_is_taken_alone(begun: BegunTasks, broker: str, client: redis.Redis) -> None:
    die_with(broker, "suspect")
    other_began, other_may_end = threading.Event(), threading.Event()
    order: list[str] = []

    def other() -> None:
        with begun.working_on("other"):
            other_began.set()
            other_may_end.wait(20)
            order.append("other")

    def suspect() -> None:
        with begun.working_on("suspect"):
            order.append("suspect")

    threads = [threading.Thread(target=other)]
    threads[0].start()
    assert other_began.wait(20)
    threads.append(threading.Thread(target=suspect))
    threads[1].start()
    wait_until(lambda: begun._turns._waiting, seconds=20, what="the suspect waits for its turn")
    assert "!" not in notes(client)["suspect"], "it is not begun before"
    other_may_end.set()
    for thread in threads:
        thread.join(20)
    assert order == ["other", "suspect"]


def test_a_worker_that_is_stopped_accuses_nobody(begun: BegunTasks, client: redis.Redis, broker: str) -> None:
    die_with(broker, "b")
    before = notes(client)["b"]
    with begun.working_on("a"):
        begun.forgive()
        assert notes(client) == {"b": before}


def test_what_is_given_back_accuses_nobody(begun: BegunTasks, client: redis.Redis) -> None:
    with pytest.raises(Reject), begun.working_on("a"):
        raise Reject("the database is away", requeue=True)
    assert notes(client) == {}


def test_a_copy_that_a_living_worker_is_at_is_no_death(begun: BegunTasks, client: redis.Redis) -> None:
    other = BegunTasks(lambda: client, key_prefix="fleet:")
    other._token = f"elsewhere:1:{uuid4().hex[:8]}"
    client.set(f"fleet:omninode:worker:{other._token}", "1")
    client.set("fleet:omninode:begun:a", " ".join(f"{other._token}!" for _ in range(3)))
    with begun.working_on("a") as deaths:
        assert deaths == 0
    client.delete(f"fleet:omninode:worker:{other._token}")
    client.set("fleet:omninode:begun:b", " ".join(f"{other._token}!" for _ in range(3)))
    with begun.working_on("b") as deaths:
        assert deaths == 3


def test_without_a_broker_work_goes_on_without_notes() -> None:
    nowhere = redis.Redis(port=1)
    for begun in (BegunTasks(lambda: nowhere), BegunTasks(None)):
        with begun.working_on("a") as deaths:
            assert deaths == 0
