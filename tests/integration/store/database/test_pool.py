"""The worker's connections, and the gate before them, on a real PostgreSQL."""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from store.database.breaker import Breaker, BreakerConfig
from store.database.errors import Outage
from store.database.pool import ExhaustionWatch, Pool, PoolConfig, lone_connection
from store.write.apply import Limits
from tests.deadline import wait_until
from worker.process.database_gate import Gate

NOWHERE = "postgresql://fleet:word@127.0.0.1:1/none"
QUICK = BreakerConfig(probe_interval_s=0.05)


def config(url: str, **more: Any) -> PoolConfig:
    given: dict[str, Any] = {"application_name": "test", "max_size": 2, "timeout_ms": 3000}
    return PoolConfig(database_url=url, **given | more)


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    opened = Pool(config(database))
    opened.open()
    yield opened
    opened.close()


def gate_before(pool: Pool, **more: Any) -> Gate:
    return Gate(pool=pool, breaker=Breaker(QUICK, now=0.0), limits=Limits(), **more)


@pytest.fixture
def gate(database: str) -> Iterator[Gate]:
    opened = gate_before(Pool(config(database)), hold_s=0.2)
    opened.open()
    yield opened
    opened.close()


def away(conn: Any) -> None:
    raise Outage("the database is away")


def open_breaker(gate: Gate) -> None:
    for _ in range(QUICK.failure_threshold):
        with pytest.raises(Outage):
            gate.run(away)


def test_the_server_asks_whether_a_silent_client_still_lives(pool: Pool) -> None:
    """What a host that vanished held is free within half a minute."""
    with pool.connection() as conn:
        names = ("idle", "interval", "count")
        found = [conn.execute(f"show tcp_keepalives_{name}".encode()).fetchone() for name in names]
    assert found == [("10",), ("5",), ("3",)]


def test_a_connection_has_the_session_s_limits(pool: Pool) -> None:
    with pool.connection() as conn:
        assert conn.autocommit
        shown = {name: conn.execute(f"show {name}").fetchone() for name in ("statement_timeout", "lock_timeout", "jit")}
        idle = conn.execute("show idle_in_transaction_session_timeout").fetchone()
        name = conn.execute("show application_name").fetchone()
    assert shown == {"statement_timeout": ("30s",), "lock_timeout": ("2s",), "jit": ("off",)}
    assert (idle, name) == (("30s",), ("test",))


@pytest.mark.parametrize(("set_to", "used"), [("off", "on"), ("remote_write", "remote_write"), ("on", "on")])
def test_what_is_confirmed_outlives_the_server_whatever_the_database_is_set_to(
    database: str, set_to: str, used: str
) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"alter database {admin.info.dbname} set synchronous_commit = {set_to}")
    with lone_connection(config(database)) as conn:
        assert conn.execute("show synchronous_commit").fetchone() == (used,)


def test_the_statistics_tell_how_full_the_pool_is(pool: Pool) -> None:
    assert pool.statistics().used_connections == 0
    with ExitStack() as stack:
        stack.enter_context(pool.connection())
        assert pool.statistics().utilization_percent == 50.0
        stack.enter_context(pool.connection())
        full = pool.statistics().as_dict()
    assert full.pop("requests_waited") <= full["requests_total"]  # the first ones may have come before the connection
    assert full == {
        "pool_size": 2,
        "pool_free": 0,
        "pool_max": 2,
        "used_connections": 2,
        "utilization_percent": 100.0,
        "exhaustion_threshold_percent": 90.0,
        "exhaustion_warning_count": 1,
        "requests_total": 2,
    }
    assert pool.statistics().used_connections == 0


def test_a_full_pool_is_logged_and_then_an_outage(database: str, caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool(config(database, timeout_ms=50))
    pool.open()
    try:
        wait_until(lambda: pool.statistics().pool_size > 0, seconds=5, what="a first connection")
        with ExitStack() as stack, caplog.at_level(logging.WARNING):
            for _ in range(2):
                wait_until(lambda: _taken(stack, pool), seconds=5, what="a connection")
            with pytest.raises(Outage, match=r"no connection to the database within 0\.05 s"):
                stack.enter_context(pool.connection())
    finally:
        pool.close()
    (record,) = (record for record in caplog.records if record.message == "pool_exhaustion")
    assert record.__dict__["fields"] | {"recommendation": ""} == {
        "utilization_percent": 100.0,
        "used_connections": 2,
        "free_connections": 0,
        "pool_size": 2,
        "pool_max": 2,
        "threshold_percent": 90.0,
        "exhaustion_count": 1,
        "recommendation": "",
    }


def _taken(stack: ExitStack, pool: Pool) -> bool:
    try:
        stack.enter_context(pool.connection())
    except Outage:
        return False
    return True


def test_warnings_are_counted_at_every_crossing_and_logged_once_a_minute() -> None:
    watch = ExhaustionWatch(90.0)
    logged = [watch.use(percent, now=now) for now, percent in [(0, 95), (1, 100), (2, 50), (3, 95), (4, 50), (70, 95)]]
    assert logged == [True, False, False, False, False, True]
    assert watch.crossings == 3


def test_a_connection_that_the_server_closed_is_replaced(pool: Pool, database: str) -> None:
    with pool.connection() as conn:
        pid = conn.info.backend_pid
    pool._last_use.clear()  # as if it had lain idle
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s, 5000)", (pid,))
    with pool.connection() as conn:
        assert conn.info.backend_pid != pid
        assert conn.execute("select 1").fetchone() == (1,)


def test_a_statement_beyond_its_time_is_an_outage(database: str) -> None:
    gate = gate_before(Pool(config(database, statement_timeout_ms=50)))
    gate.open()
    try:
        with pytest.raises(Outage, match="QueryCanceled"):
            gate.run(lambda conn: conn.execute("select pg_sleep(5)"))
    finally:
        gate.close()


def test_a_worker_starts_while_the_database_is_away() -> None:
    gate = gate_before(Pool(config(NOWHERE, timeout_ms=50)))
    gate.open()
    try:
        with pytest.raises(Outage):
            gate.run(lambda conn: conn.execute("select 1"))
    finally:
        gate.close()


def test_outages_pause_consuming_and_the_database_s_answer_resumes_it(gate: Gate) -> None:
    told: list[bool] = []
    resumed = threading.Event()
    gate.on_pause = lambda paused: told.append(paused) if paused else resumed.set()
    open_breaker(gate)
    assert told == [True]
    assert resumed.wait(60)
    for _ in range(QUICK.half_open_successes):
        gate.run(lambda conn: conn.execute("select 1"))
    assert not gate.paused
    assert gate.state()["breaker"]["state"] == "closed"


def test_wrong_data_and_defects_never_open_the_breaker(gate: Gate) -> None:
    for _ in range(2 * QUICK.failure_threshold):
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            gate.run(lambda conn: conn.execute("select 'x'::integer"))
        with pytest.raises(ZeroDivisionError):
            gate.run(lambda conn: 1 // 0)
    assert gate.state()["breaker"] | {"seconds_in_state": 0} == {
        "state": "closed",
        "seconds_in_state": 0,
        "opened_count": 0,
    }


def test_fetched_work_waits_a_moment_for_an_open_breaker_and_then_goes_back() -> None:
    gate = gate_before(Pool(config(NOWHERE, timeout_ms=50)), hold_s=0.1)
    gate.open()
    try:
        open_breaker(gate)
        with pytest.raises(Outage, match="the breaker is open"):
            gate.run(lambda conn: conn.execute("select 1"))
    finally:
        gate.close()


def test_a_stopping_worker_does_not_wait_for_the_database() -> None:
    gate = gate_before(Pool(config(NOWHERE, timeout_ms=50)), hold_s=60)
    gate.open()
    try:
        open_breaker(gate)
        ended = threading.Event()

        def work() -> None:
            with pytest.raises(Outage):
                gate.run(lambda conn: conn.execute("select 1"))
            ended.set()

        waiting = threading.Thread(target=work)
        waiting.start()
        gate.stop_waiting()
        waiting.join(60)
        assert ended.is_set()
    finally:
        gate.close()
