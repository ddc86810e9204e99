"""Very many messages that are nearly tasks, or nothing at all, to one living worker, with good ones in between.

FLEET_FUZZ_MESSAGES says how many: a thousand in the suite, a hundred thousand by hand.
"""

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import servers
from tests.deadline import wait_until
from tests.integration.worker.incoming.workers import Broker, celery_app
from tests.living_worker import QUEUE, RESULT, LivingWorker, living_worker
from tests.odd_messages import COSTLY, bodies, mutated, structured, values

MESSAGES = int(os.environ.get("FLEET_FUZZ_MESSAGES", "1000"))
TOGETHER = 100  # pushed at once, and a good one behind them
BACKLOG = 5000
SECONDS = 60 + MESSAGES / 10


def drawn() -> tuple[list[Any], list[Any]]:
    """Odd values and odd bodies, as Hypothesis draws them: the same at every run."""
    oddities: list[Any] = []
    odd_bodies: list[Any] = []

    @settings(
        max_examples=20 + min(200, MESSAGES // 500),
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(values, min_size=8), st.lists(bodies, min_size=8))
    def draw(some_values: list[Any], some_bodies: list[Any]) -> None:
        oddities.extend(some_values)
        odd_bodies.extend(some_bodies)

    draw()
    return oddities, odd_bodies


def statuses(worker: LivingWorker) -> Counter[str]:
    """The answers that lie in the broker: how many of each status, a failure by its exception."""
    found: Counter[str] = Counter()
    for key in worker.redis.scan_iter(f"{RESULT}*", count=1000):
        text: Any = worker.redis.get(key)
        answer = orjson.loads(text)
        found[answer["result"]["exc_type"] if answer["status"] == "FAILURE" else answer["status"]] += 1
    return found


@pytest.mark.timeout(SECONDS * 3)
def test_every_one_is_accounted_for_and_every_good_one_is_answered(own_database: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    oddities, odd_bodies = drawn()
    sent, good = 0, []
    with (
        servers.broker() as server,
        living_worker(broker=server.url(), database=own_database, log=tmp_path / "worker.log") as worker,
    ):

        def few_wait() -> bool:
            waiting: Any = worker.redis.llen(QUEUE)
            return worker.is_ready() and waiting < BACKLOG

        while sent < MESSAGES:
            some = [mutated(rng) if n % 2 else structured(rng, oddities, odd_bodies) for n in range(TOGETHER)]
            worker.push(*some)
            good.append(worker.push_good())
            sent += TOGETHER
            wait_until(few_wait, seconds=SECONDS, what="the worker keeps up")
        worker.push(*(make() for make in COSTLY.values()))
        good.append(worker.push_good())
        worker.answers(good, seconds=SECONDS)
        wait_until(lambda: worker.unacknowledged() == 0, seconds=30, what="all are acknowledged")
        with celery_app(Broker(server.url())) as app:
            set_aside = worker.state(app)["unreadable_total"]
        answered = statuses(worker)
    told_as_well = answered.pop("NotRegistered", 0)  # a task that is good but for its name is set aside and answered
    assert set_aside + answered.total() == sent + len(COSTLY) + len(good), (answered, told_as_well)
    assert answered["SUCCESS"] >= len(good)
    assert set_aside > sent / 2
