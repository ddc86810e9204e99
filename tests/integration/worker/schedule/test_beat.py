"""A beat on the real database, and on the real broker."""

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
import redis
from celery import Celery
from psycopg import Connection

from omninode_bridge.client.broker import ENSURE_PARTITIONS_TASK, celery_settings
from store.database.pool import PoolConfig
from store.housekeeping import schedules
from store.housekeeping.job import Batch
from store.housekeeping.schedules import Due
from tests.factories import store_connection
from worker.schedule.beat import Beat, send_with
from worker.schedule.schedules import Schedule

EVERY = (Schedule("hourly", "omninode.hourly", 3600.0), Schedule("daily", "omninode.daily", 86400.0))
AWAY = "postgresql://nobody@127.0.0.1:1/nothing"


class Sent(list[tuple[str, Due]]):
    """Takes what a beat sends; raises while `away`."""

    away = False

    def __call__(self, schedule: Schedule, due: Due) -> None:
        if self.away:
            raise OSError("no broker")
        self.append((schedule.task, due))


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def conn(database_any: str) -> Iterator[Connection[Any]]:
    with store_connection(database_any) as opened:
        yield opened


def beat_on(url: str, sent: Any, **options: Any) -> Beat:
    return Beat(PoolConfig(database_url=url, application_name="beat"), EVERY, sent, **options)


def run(conn: Connection[Any], due: Due) -> None:
    schedules.run(conn, due.tick, lambda: lambda _: Batch(rows=0, more=False), ran_by="a test")


def test_the_newest_missed_tick_of_each_schedule_is_sent_until_it_is_done(
    database_any: str, conn: Connection[Any], sent: Sent
) -> None:
    beats = [beat_on(database_any, sent) for _ in range(2)]  # the second is also the first, started anew
    beats[0].round()
    assert [task for task, _ in sent] == ["omninode.hourly", "omninode.daily"]
    assert beats[0].round() > 0
    assert len(sent) == 2
    beats[1].round()
    assert len(sent) == 4
    for _, due in sent:
        run(conn, due)
    beat_on(database_any, sent).round()
    assert len(sent) == 4
    assert conn.execute("select count(*) from schedule_ticks where runs > 0").fetchone() == (2,)


def test_a_database_that_goes_away_is_told_of_once_and_when_it_is_back(
    database_any: str, conn: Connection[Any], sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="worker.schedule.beat")
    conn.execute("alter table schedule_ticks rename to elsewhere")
    beat = beat_on(database_any, sent)
    waits = [beat.round() for _ in range(6)]
    assert waits == [0.5, 1, 2, 4, 5, 5]
    assert sent == []
    conn.execute("alter table elsewhere rename to schedule_ticks")
    beat.round()
    assert len(sent) == 2
    assert [record.message for record in caplog.records] == ["database_away", "database_back"]


def test_a_lost_connection_is_made_anew(database_any: str, conn: Connection[Any], sent: Sent) -> None:
    beat = beat_on(database_any, sent)
    beat.round()
    conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'beat'")
    assert beat.round() == 0.5
    conn.execute("delete from schedule_ticks")
    assert beat.round() > 0.5
    beat.close()


def test_a_database_that_cannot_be_reached_ends_nothing(sent: Sent) -> None:
    beat = beat_on(AWAY, sent)
    assert [beat.round(), beat.round()] == [0.5, 1]


def test_a_broker_that_is_away_is_told_of_once_and_the_tick_is_sent_when_it_is_back(
    database_any: str, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="worker.schedule.beat")
    beat = beat_on(database_any, sent)
    sent.away = True
    assert [beat.round() for _ in range(3)] == [0.5, 1, 2]
    sent.away = False
    beat.round()
    assert [task for task, _ in sent] == ["omninode.hourly", "omninode.daily"]
    assert [record.message for record in caplog.records] == ["broker_away", "broker_back"]


def test_it_is_ready_when_it_has_found_the_database(tmp_path: Any, database_any: str, sent: Sent) -> None:
    file = tmp_path / "ready"
    beat_on(AWAY, sent, ready_file=file).round()
    assert not file.exists()
    beat_on(database_any, sent, ready_file=file).round()
    assert file.exists()


def test_who_may_only_read_can_beat(database: str, sent: Sent) -> None:
    name = f"reader_{uuid4().hex[:12]}"
    parts = urlsplit(database)
    url = urlunsplit(parts._replace(netloc=f"{name}:test@{parts.netloc.rpartition('@')[2]}"))
    with store_connection(database) as owner:
        owner.execute(f"create role {name} login password 'test'".encode())
        owner.execute(f"grant select on schedule_ticks to {name}".encode())
        try:
            with closing(beat_on(url, sent)) as beat:
                beat.round()
        finally:
            owner.execute(f"drop owned by {name}; drop role {name}".encode())
    assert len(sent) == len(EVERY)


def test_a_message_names_its_tick_and_expires(database: str, broker: str) -> None:
    app = Celery("beat", set_as_current=False)
    app.conf.update(celery_settings(broker_url=broker, result_backend_url=""))
    schedule = Schedule("partitions", ENSURE_PARTITIONS_TASK, 3600.0)
    with psycopg.connect(database) as conn:
        (due,) = schedules.due(conn, [schedule.grid])
    send_with(app)(schedule, due)
    with redis.Redis.from_url(broker) as client:
        (message,) = client.lrange("housekeeping", 0, -1)
    headers = json.loads(message)["headers"]
    assert headers["task"] == ENSURE_PARTITIONS_TASK
    assert due.tick.due_at.isoformat() in headers["argsrepr"]
    assert headers["expires"] is not None
