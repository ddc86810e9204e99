"""Bus records through the bus: published, consumed by two processes of which one is killed, and their rows checked."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from omninode_bridge.bus.events import map_record
from tests.acceptance.bus.test_ingest import check_stream, make_stream
from tests.acceptance.buses import bus_under_test, read_all
from tests.conftest import Stack, clean_environment, fleet
from tests.deadline import wait_until
from tests.factories import count
from worker.intake.bus_values import value_of

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

GROUP = "acceptance"
UNDER_WAY = 500
WAIT_S = 120


@contextmanager
def consumer(environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`fleet consume`; killed at the end, where it still runs."""
    words = [sys.executable, "-m", "worker", "consume", "--group", GROUP]
    with log.open("wb") as output:
        running = subprocess.Popen(words, env=clean_environment(environment), stderr=output)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("kind", ["redis", "kafka"])
def test_a_stream_on_the_bus_leads_to_its_rows_though_a_consumer_is_killed(
    empty: Stack, tmp_path: Path, kind: str
) -> None:
    file = make_stream(tmp_path, workflows=1000, seed=11)
    refused = json.loads((tmp_path / "expected.json").read_text())["refused"]
    dsn, broker = empty.env["OMNINODE_DATABASE_URL"], empty.env["OMNINODE_BROKER_URL"]
    with bus_under_test(kind, broker) as bus, psycopg.connect(dsn, autocommit=True) as conn:
        environment = {**empty.env, **bus.variables, "OMNINODE_CONSUME_MAX_RECORDS": str(UNDER_WAY)}
        published = fleet("publish", file, environment=environment, timeout_s=120)
        assert published.returncode == 0, published.stdout + published.stderr
        with consumer(environment, tmp_path / "killed.log") as killed:
            # More than it may have under way: so it has committed some.
            wait_until(lambda: count(conn, "operations") > 3 * UNDER_WAY, seconds=WAIT_S, what="one consumes")
            with consumer(environment, tmp_path / "other.log") as other:
                enough = count(conn, "operations") + 2 * UNDER_WAY
                wait_until(lambda: count(conn, "operations") > enough, seconds=WAIT_S, what="two consume")
                killed.kill()
                wait_until(lambda: bus.left(GROUP) == 0, seconds=WAIT_S, what="everything is committed")
                other.send_signal(signal.SIGTERM)
                assert other.wait(WAIT_S) == 0
        check_stream(empty, tmp_path)
        on_dlq = {
            map_record(one.topic, one.key, value_of(one.value or b"")).operation_id
            for one in read_all(bus, "^.*[.]dlq$")
        }
        kept = {row[0] for row in conn.execute("select id from dead_letters")}
        assert len(kept) == refused and kept <= on_dlq, "each refused record stands on a dead-letter topic as well"
