"""What a beat sends, and when it looks again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from store.housekeeping.schedules import Due, Tick, TickOutcome
from worker.schedule.jobs import JOBS
from worker.schedule.plan import LONGEST_WAIT_S, SHORTEST_WAIT_S, Plan
from worker.schedule.schedules import Schedule, schedules
from worker.settings import Settings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SWEEP = Schedule("sweep", "a.task", period_s=15)


def due(outcome: TickOutcome | None = None, *, next_in_s: float = 9.0, at: datetime = NOON) -> Due:
    return Due(Tick(SWEEP.name, at), outcome, next_in_s)


def test_a_tick_is_sent_once_and_again_only_after_a_while() -> None:
    plan = Plan([SWEEP])
    assert plan.to_send([due()], now=100) == [due()]
    plan.sent(due(), now=100)
    assert plan.to_send([due("running")], now=104.9) == []
    assert plan.to_send([due("failed")], now=105) == [due("failed")]


def resends(schedule: Schedule, *, until: float) -> list[float]:
    """When a plan sends a tick that is never done, in seconds from the first."""
    plan, now, sent = Plan([schedule]), 0.0, []
    while now < until:
        for one in plan.to_send([due("failed", next_in_s=until)], now=now):
            plan.sent(one, now=now)
            sent.append(now)
        now += plan.wait_s([due("failed", next_in_s=until)], looked_at=now, now=now)
    return sent


def test_a_tick_that_keeps_failing_is_sent_less_and_less_often() -> None:
    assert resends(replace(SWEEP, period_s=3600), until=3600) == [0, 60, 180, 420, 900, 1860]
    day = resends(replace(SWEEP, period_s=86400), until=86400)
    assert [later - earlier for earlier, later in zip(day[-4:], day[-3:], strict=False)] == [3600] * 3
    assert len(day) < 31


def test_the_next_tick_begins_with_short_waits_again() -> None:
    plan = Plan([SWEEP])
    for now in (100, 105, 115):
        plan.sent(due(), now=now)
    later = due(at=NOON + timedelta(seconds=15))
    plan.sent(later, now=120)
    assert plan.to_send([later], now=125) == [later]


def test_a_tick_that_is_done_is_not_sent() -> None:
    assert Plan([SWEEP]).to_send([due("done")], now=100) == []


def test_the_next_tick_is_sent_at_once() -> None:
    plan = Plan([SWEEP])
    plan.sent(due(), now=100)
    later = due(at=NOON + timedelta(seconds=15))
    assert plan.to_send([later], now=101) == [later]


@pytest.mark.parametrize(
    ("outcome", "sent_at", "wait_s"),
    [("done", None, 8.0), (None, 99.0, 3.0), (None, 90.0, SHORTEST_WAIT_S), ("running", 100.5, 4.5)],
)
def test_it_looks_again_when_something_is_due(
    outcome: TickOutcome | None, sent_at: float | None, wait_s: float
) -> None:
    plan = Plan([SWEEP])
    if sent_at is not None:
        plan.sent(due(), now=sent_at)
    assert plan.wait_s([due(outcome)], looked_at=100, now=101) == wait_s


def test_it_never_waits_for_long() -> None:
    assert Plan([SWEEP]).wait_s([due("done", next_in_s=3600)], looked_at=100, now=100) == LONGEST_WAIT_S
    assert Plan([]).wait_s([], looked_at=100, now=100) == LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("period_s", "resend_s", "expires_s"),
    [(2, 1, 60), (15, 5, 60), (60, 20, 60), (3600, 60, 3600), (86400, 60, 3600)],
)
def test_a_tick_is_sent_again_several_times_before_the_next(period_s: float, resend_s: float, expires_s: float) -> None:
    schedule = replace(SWEEP, period_s=period_s)
    assert (schedule.resend_s, schedule.expires_s) == (resend_s, expires_s)


def test_the_settings_say_when_each_schedule_is_due() -> None:
    settings = Settings.load(heartbeat_sweep_s=4, fsm_recovery_s=9, retention_at="03:30")
    found = {schedule.name: (schedule.period_s, schedule.offset_s) for schedule in schedules(settings)}
    assert found == {
        "heartbeat-sweep": (4, 0),
        "fsm-recovery": (9, 0),
        "partitions": (3600, 0),
        "retention": (86400, 3.5 * 3600),
    }


def test_every_schedule_has_a_job_and_a_task_of_its_own() -> None:
    every = schedules(Settings.load())
    assert {schedule.name for schedule in every} == set(JOBS)
    assert len({schedule.task for schedule in every}) == len(every)
