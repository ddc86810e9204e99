"""Retention beside a load: how much slower the fleet gets, how long a day takes to go, and what is left of bloat.

A database is filled with days of the ledger that are old, and with workflows that ended long ago; `fleet simulate` runs
alone, then with `fleet retention` beside it.
"""

import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from benchmarks.figures import Measurement, Seen
from store.database.connection import connection
from store.database.errors import Fate, fate_of
from store.housekeeping import partitions
from store.housekeeping.retention import statement
from worker.settings import ROOT, child_environment

RATE_PER_S = 5000
OPERATIONS = 10_000_000
WORKFLOWS = 2_000_000
DAYS = 10  # that the old rows of the ledger are spread over
OLD_SHARE = 20  # one workflow in so many is old: about a day's of a fleet that has kept so many for three weeks
TABLES = ("operations", "workflow_executions", "workflow_steps", "event_logs", "fsm_states")


def sizes(operations: int, workflows: int) -> None:
    """How much the database is filled with."""
    global OPERATIONS, WORKFLOWS
    OPERATIONS, WORKFLOWS = operations, workflows


def beside_load(variables: dict[str, str], seconds: float) -> list[Seen]:
    """Both rates, what retention did, and the tables before and after."""
    with connection(variables["OMNINODE_DATABASE_URL"]) as conn:
        _fill(conn)
        before = _tables(conn)
        alone = _simulate(variables, seconds).communicate()[0]
        load = _simulate(variables, seconds)
        drop_ms = _drop_oldest(conn)
        removal = _start(variables, "retention", "--json")
        beside = load.communicate()[0]
        worked_s, removed = _ended(removal)
        after = _tables(conn)
        for table in TABLES:
            conn.execute(f"vacuum analyze {table}".encode())
        vacuumed = _tables(conn)
    return [
        *_rates(orjson.loads(alone), orjson.loads(beside)),
        *_removed(removed, worked_s),
        Seen(f"a day of {OPERATIONS // DAYS:,} rows dropped", f"{drop_ms:.0f} ms", "1,000 ms"),
        *_bloat(before, after, vacuumed),
    ]


def _bloat(before: dict[str, str], after: dict[str, str], vacuumed: dict[str, str]) -> list[Seen]:
    return [
        Seen(f"bloat of {table}", f"{before[table]} -> {after[table]} -> vacuum {vacuumed[table]}", "")
        for table in TABLES
    ]


def _fill(conn: Any) -> None:
    """Old days made by hand, since `ensure_partitions` makes those around today."""
    today = datetime.now(UTC).date()
    per_day = OPERATIONS // DAYS
    for number in range(DAYS + 1):  # the oldest is for _drop_oldest
        _fill_day(conn, today - timedelta(days=20 + number), per_day)
    conn.execute(
        """
        insert into workflow_executions (correlation_id, current_state, created_at, updated_at)
        select uuid_v7(), 'COMPLETED', made, made
        from generate_series(1, %s::integer) as i
        cross join lateral (
          select now() - case when i %% %s::integer = 0 then interval '300 days' else interval '100 days' end
            + i * interval '1 second') as t (made)
        """,
        [WORKFLOWS, OLD_SHARE],
    )
    conn.execute("vacuum analyze operations")
    conn.execute("vacuum analyze workflow_executions")
    partitions.ensure(conn, days_back=8, days_ahead=3)


def _fill_day(conn: Any, day: date, rows: int) -> None:
    first = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    bounds = [f"{millis:012x}{0:020x}" for millis in (first, first + 86_400_000)]
    name = f"operations_p{day:%Y%m%d}"
    conn.execute(
        f"create table {name} partition of operations for values from ('{bounds[0]}') to ('{bounds[1]}')".encode()
    )
    conn.execute(
        f"""
        insert into {name} (operation_id, operation_type, outcome, digest)
        select
          (lpad(to_hex(%s::bigint + i %% 86400000), 12, '0') || '70008000' || lpad(to_hex(i), 12, '0'))::uuid,
          'persist_workflow_step', 'applied', decode(md5(i::text), 'hex')
        from generate_series(1, %s::integer) as i
        """.encode(),
        [first, rows],
    )


def _drop_oldest(conn: Any) -> float:
    """How long the drop that worked took, in ms; it is tried again as retention does."""
    day = datetime.now(UTC).date() - timedelta(days=20 + DAYS)
    while True:
        began = time.perf_counter()
        try:
            conn.execute(statement("drop_partition"), {"parent": "operations", "day": day})
        except Exception as error:
            if fate_of(error) is not Fate.RUN_AGAIN:
                raise
            time.sleep(0.5)
        else:
            return (time.perf_counter() - began) * 1000


def _simulate(variables: dict[str, str], seconds: float) -> "subprocess.Popen[str]":
    return _start(variables, "simulate", "--rate", str(RATE_PER_S), "--seconds", str(seconds), "--json")


def _start(variables: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "worker", *words]
    environment = child_environment(variables)
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def _ended(removal: "subprocess.Popen[str]") -> tuple[float, dict[str, Any]]:
    """How long retention went on after the load had ended, and what it removed."""
    began = time.monotonic()
    told = removal.communicate()[0]
    return time.monotonic() - began, {table["table"]: table for table in orjson.loads(told)["tables"]}


def _rates(alone: dict[str, Any], beside: dict[str, Any]) -> list[Seen]:
    share = beside["rate_per_s"] / alone["rate_per_s"]
    failed = f"{sum(beside['refused'].values())} refused, {beside['unconfirmed']} unconfirmed"
    return [
        Seen("load alone", f"{alone['rate_per_s']:,.0f}/s", f"{RATE_PER_S:,}/s"),
        Seen("load with retention beside it", f"{beside['rate_per_s']:,.0f}/s, {share:.2f} of it", "0.90"),
        Seen("operations that failed", f"{failed}, {beside['difference_count']} differences", "0"),
        Seen("latency alone: p50, p95, max", _latency(alone), ""),
        Seen("latency with retention beside it", _latency(beside), ""),
    ]


def _latency(load: dict[str, Any]) -> str:
    return ", ".join(f"{load['latency_ms'][name]:.0f} ms" for name in ("p50", "p95", "max"))


def _removed(removed: dict[str, Any], after_s: float) -> list[Seen]:
    days = sum(table["days"] for table in removed.values())
    rows = sum(table["rows"] for table in removed.values())
    left = sum(len(table["left"]) for table in removed.values())
    size = sum(table["size_bytes"] for table in removed.values())
    return [
        Seen("days dropped", f"{days} ({size / 1e6:,.0f} MB), {left} left", f"{DAYS}, 0 left"),
        Seen("rows removed", f"{rows:,}, done {after_s:.0f} s after the load", f"{WORKFLOWS // OLD_SHARE:,}"),
    ]


def _tables(conn: Any) -> dict[str, str]:
    """Size, live and dead rows of each table, its partitions added up."""
    conn.execute("select pg_stat_clear_snapshot()")
    query = """
        select root.relname, sum(pg_total_relation_size(leaf.relid))::bigint,
          sum(coalesce(s.n_live_tup, 0))::bigint, sum(coalesce(s.n_dead_tup, 0))::bigint
        from pg_class as root
        cross join lateral (select relid from pg_partition_tree(root.oid) union select root.oid) as leaf
        left join pg_stat_user_tables as s on s.relid = leaf.relid
        where root.relname = any(%s) group by 1"""
    found = conn.execute(query, [list(TABLES)]).fetchall()
    return {name: f"{size / 1e6:,.0f} MB ({live:,} live, {dead:,} dead)" for name, size, live, dead in found}


MEASUREMENTS: dict[str, Measurement] = {"retention": beside_load}
