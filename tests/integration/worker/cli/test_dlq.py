"""`fleet dlq retry` as a command, on a database without a fleet."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from omninode_bridge.contract.wire import decode_operation
from store import letters
from store.outbox import outbox
from store.write.apply import apply
from tests.conftest import fleet
from tests.deadline import wait_until
from tests.factories import publish_event, store_connection

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with store_connection(database) as opened:
        yield opened


def retry(database: str, *words: str | Path) -> tuple[int, str, str]:
    """Exit code, what was said, and what was complained of."""
    done = fleet("dlq", "retry", *words, environment={"OMNINODE_DATABASE_URL": database})
    return done.returncode, done.stdout, done.stderr


def waiting(conn: Conn) -> list[outbox.PendingEvent]:
    return outbox.pending(conn, range(outbox.SHARDS), rows_limit=100)


def test_all_events_of_a_key_go_out_in_the_order_in_which_they_were_to_go(conn: Conn, database: str) -> None:
    for number in range(5):  # each refused on its own: the newest letter is that of the last
        apply(conn, [publish_event(partition_key="k", payload={"n": number})])
        outbox.settle(conn, published=[], refused=[(waiting(conn)[0], "no")])
    code, said, _ = retry(database, "--all")
    assert (code, said.count(" goes out again\n")) == (0, 5)
    assert [event.payload["n"] for event in waiting(conn)] == [0, 1, 2, 3, 4]


def test_a_letter_that_goes_while_all_are_retried_is_told_and_the_others_go_on(conn: Conn, database: str) -> None:
    for number in range(3):
        apply(conn, [publish_event(partition_key="k", payload={"n": number})])
        outbox.settle(conn, published=[], refused=[(waiting(conn)[0], "no")])
    (first, _), (second, _), (third, _) = letters.open_in_order(conn)
    with ThreadPoolExecutor() as threads:
        with conn.transaction():
            conn.execute("select from dead_letters where id = %s for update", [first])
            command = threads.submit(retry, database, "--all")
            waits = "select from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))"
            wait_until(lambda: conn.execute(waits).rowcount, seconds=60, what="the command has come to the first one")
            conn.execute("delete from dead_letters where id = %s", [second])
        code, said, complained = command.result(60)
    assert (code, said) == (1, f"{first} goes out again\n{third} goes out again\n")
    assert complained.startswith(f"{second} still refused: NOT_FOUND: no dead letter {second}")
    assert complained.count("\n") == 1


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b'{"text": "\xff"}', "payload: not UTF-8: invalid start byte at byte 10"),
        (b"[" * 100_000, "payload: nested too deep"),
        (b"{", "payload: not JSON"),
    ],
)
def test_a_repair_that_cannot_be_read_is_told_in_one_line(
    conn: Conn, database: str, tmp_path: Path, payload: bytes, complaint: str
) -> None:
    (outcome,) = apply(conn, [decode_operation({}, seed="seed", operation_type="persist_workflow_step")])
    repaired = tmp_path / "repaired.json"
    repaired.write_bytes(payload)
    code, said, complained = retry(database, str(outcome.operation_id), "--payload", repaired)
    assert (code, said) == (1, "")
    assert complaint in complained and complained.count("\n") == 1, complained
    assert conn.execute("select status from dead_letters").fetchall() == [("open",)]
