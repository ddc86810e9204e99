"""What each report reads, on tables that have grown: rows in proportion to its answer, by index, whoever planned it."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString, cast
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from store.database.bounded_read import walk_in_order
from store.database.statements import statement_files
from store.reports.days import of_any_day
from store.reports.reports import __file__ as REPORTS
from store.reports.trace import statement as statement_of_room
from store.write.families import FAMILIES
from tests.conftest import VERSIONS
from tests.factories import store_connection
from tests.servers import PostgresServer

Conn = psycopg.Connection[Any]
Plan = dict[str, Any]
ROWS = 100_000
AN_HOUR = timedelta(hours=1)
SESSION = UUID(int=1)
WORKFLOW = UUID(int=777)
RUN = UUID(int=7)  # the workflow_id of two workflows; one in ten has any
DESCENTS = 100  # pages on the way down to where a scan begins, once in each of 15 partitions
DAYS = of_any_day()
BOUNDS = {"rows_limit": 100, "row_bytes": 1 << 18, "bytes_limit": 1 << 20}
MOMENT = {"fresh_for": AN_HOUR, "dead_after": 2 * AN_HOUR, "at": None}

# One row every 8 s, so that 450 are of the last hour; an id carries its row's time.
AT = "now() - i * interval '8 s'"
MILLIS = f"lpad(to_hex((extract(epoch from {AT}) * 1000)::bigint), 12, '0')"
ID = f"({MILLIS} || '70008000' || lpad(to_hex(i), 12, '0'))::uuid"
UUID_OF_I = "lpad(to_hex(i), 32, '0')::uuid"
TABLES = {
    "workflow_executions": (
        "id, correlation_id, current_state, namespace, started_at, completed_at, created_at, workflow_id",
        f"{UUID_OF_I}, lpad(to_hex(i), 32, '0')::uuid, case when i % 50 = 0 then 'FAILED' else 'COMPLETED' end, "
        f"'ns-' || i % 500, {AT}, case when i % 500 = 0 then null else {AT} end, {AT}, "
        "case when i % 10 = 0 then lpad(to_hex(i / 20), 32, '0')::uuid end",
    ),
    "workflow_steps": (
        "id, workflow_id, step_name, step_order, status, execution_time_ms, created_at",
        f"{ID}, lpad(to_hex(i / 5 + 1), 32, '0')::uuid, 'step-' || i % 5, i % 5, 'COMPLETED', i % 1000, {AT}",
    ),
    "fsm_transitions": (
        "id, entity_id, entity_type, from_state, to_state, transition_event, transition_at",
        f"{ID}, lpad(to_hex(i / 5 + 1), 32, '0')::uuid, 'workflow_execution', 'PROCESSING', "
        f"case when i % 50 = 0 then 'FAILED' else 'COMPLETED' end, 'e', {AT}",
    ),
    "metadata_stamps": (
        "id, workflow_id, file_hash, stamp_data, namespace, created_at, file_metadata, intelligence_data",
        f"{ID}, {UUID_OF_I}, case when i % 100 = 0 then 'e3b0' else to_hex(i) end, '{{}}', 'ns-' || i % 500, {AT}, "
        "jsonb_build_object('size', i), "
        "case when i % 10 = 0 then jsonb_build_object('kind', 'k' || i % 2000) else '{}' end",
    ),
    "event_logs": (
        "id, event_type, correlation_id, session_id, payload, created_at",
        f"{ID}, 'type-' || i % 7, lpad(to_hex(i / 5 + 1), 32, '0')::uuid, "
        f"case when i % 10 = 0 then '{SESSION}' when i % 2 = 0 then {ID} end, "
        f"case when i % 50 = 0 then '{{\"error\": \"e\"}}'::jsonb else '{{}}' end, {AT}",
    ),
    "bridge_states": (
        "bridge_id, namespace, current_fsm_state, node_type",
        f"{UUID_OF_I}, 'ns-' || i % 500, case when i % 1000 = 0 then 'AGGREGATING' else 'IDLE' end, 'reducer'",
    ),
    "node_registrations": (
        "node_id, node_type, health_status, last_heartbeat",
        "'node-' || i, 'type-' || i % 20, case when i % 100 = 0 then 'HEALTHY' else 'OFFLINE' end, now()",
    ),
}

# name -> what is asked, how many rows may be read for it. In an hour are 450 rows of each table.
QUESTIONS: dict[str, tuple[dict[str, Any], int]] = {
    "workflow_by_correlation_id": ({"id": WORKFLOW, "row_bytes": 1 << 18}, 1),
    "workflow_by_id": ({"id": WORKFLOW, "row_bytes": 1 << 18}, 1),
    "workflows_by_workflow_id": ({"id": RUN, "rows_limit": 10}, 2),
    "trace_steps": ({"workflow_id": WORKFLOW, "failed_limit": 10, **DAYS, **BOUNDS}, 5),
    "trace_transitions": ({"ids": [WORKFLOW], **DAYS, **BOUNDS}, 5),
    "trace_stamps": ({"workflow_id": WORKFLOW, **BOUNDS}, 1),
    "trace_events": ({"ids": [WORKFLOW], **DAYS, **BOUNDS}, 5),
    "any_trace_steps": ({"workflow_id": WORKFLOW, **DAYS}, 1),
    "any_trace_transitions": ({"ids": [WORKFLOW], **DAYS}, 1),
    "any_trace_events": ({"ids": [WORKFLOW], **DAYS}, 1),
    "any_session_events": ({"session_id": SESSION, "within": AN_HOUR, **DAYS}, 1),
    "any_step_timing": ({"within": AN_HOUR, **DAYS}, 1),
    "any_transition_failures": ({"within": AN_HOUR, **DAYS}, 1),
    "any_events_with_error": ({"within": AN_HOUR, **DAYS}, 1),
    "failed_workflows": ({"within": AN_HOUR, **BOUNDS}, 12),
    "step_timing": ({"within": AN_HOUR, "rows_limit": 100, **DAYS}, 460),
    "transition_failures": ({"within": AN_HOUR, "rows_limit": 100, **DAYS}, 12),
    "session_events": ({"session_id": SESSION, "within": AN_HOUR, **DAYS, **BOUNDS}, 50),
    "events_with_error": ({"within": AN_HOUR, **DAYS, **BOUNDS}, 12),
    "node_types": ({}, 60),
    "healthy_nodes": (
        {
            "types": ["type-0"],
            "namespace": None,
            "max_age": AN_HOUR,
            **MOMENT,
            "after_type": "",
            "after": "",
            "rows_limit": 2000,
            "row_bytes": 1 << 18,
            "bytes_limit": 1 << 20,
        },
        1000,
    ),
    "list_nodes": (
        {"after": "node-5", **dict.fromkeys(("node_type", "namespace", "liveness", "health"))}
        | {"include_deregistered": False, **MOMENT, **BOUNDS},
        102,  # one more shows whether there are more, and the numbering of the rows reads one ahead
    ),
    "node_type": ({"node_id": "node-777"}, 1),
    "node": ({"node_id": "node-777", "row_bytes": 1 << 18, **MOMENT}, 1),
    "active_bridge_states": ({}, 100),
    "stamps_by_hash": (
        {"file_hash": "e3b0", **BOUNDS, "rows_limit": 10},
        40,
    ),  # ties: 32 at a time
    "stamps_with": ({"intelligence": Jsonb({"kind": "k0"}), **BOUNDS}, 50),
    "namespace_stamps": ({"namespace": "ns-1"}, 200),
    "namespace_bridges": ({"namespace": "ns-1"}, 200),
    "namespace_workflows": ({"namespace": "ns-1"}, 200),
}
NO_REPORT = {"recover_fsm_states", "days_of"}  # the first has its own test, the other reads no rows
IN_ORDER = {"list_nodes"}  # the report says so to PostgreSQL before it asks
_TRACED = [family.traced for family in FAMILIES if family.traced is not None]
TRACED = {f"trace_{one.title}": one.read for one in _TRACED}
TRACED |= {f"any_trace_{one.title}": one.any for one in _TRACED if one.any}


def statement(name: str) -> LiteralString:
    return TRACED.get(name) or statement_of_room(name)


@pytest.fixture(scope="module", params=VERSIONS)
def grown(request: pytest.FixtureRequest, postgres_servers: Mapping[str, PostgresServer]) -> Iterator[Conn]:
    if request.param not in postgres_servers:
        pytest.skip(f"no PostgreSQL {request.param} here")
    server = postgres_servers[request.param]
    with store_connection(server.create_migrated("report_plans")) as conn:
        conn.execute("select ensure_partitions(12, 1)")
        for table, (columns, values) in TABLES.items():
            conn.execute(
                f"insert into {table} ({columns}) select {values} from generate_series(1, {ROWS}) as i".encode()
            )
        for table in TABLES:  # what autovacuum does
            conn.execute(sql.SQL("vacuum analyze {}").format(sql.Identifier(table)))
        yield conn
    server.drop_database("report_plans")


def bound(conn: Conn, name: str, parameters: dict[str, Any]) -> Plan:
    """The plan that is made when the values are known."""
    return explained(conn, b"explain (analyze, buffers, format json) " + statement(name).encode(), parameters)


def generic(conn: Conn, name: str, parameters: dict[str, Any]) -> Plan:
    """The plan that a prepared statement keeps for any values."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement(name))))
    text = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", statement(name))
    conn.execute("set plan_cache_mode to force_generic_plan")
    conn.execute(f"prepare asked as {text}".encode())
    try:
        values = sql.SQL(", ").join([sql.Literal(parameters[one]) for one in names])
        call = sql.SQL("execute asked ({})" if names else "execute asked").format(values)
        return explained(conn, sql.SQL("explain (analyze, buffers, format json) ") + call)
    finally:
        conn.execute("deallocate asked")
        conn.execute("reset plan_cache_mode")


def explained(conn: Conn, query: Any, parameters: dict[str, Any] | None = None) -> Plan:
    ((plans,),) = conn.execute(query, parameters).fetchall()
    return cast(Plan, plans[0]["Plan"])


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def days_just_begun(conn: Conn) -> set[str]:
    """The partitions with less than an hour's rows: a few pages, through which PostgreSQL may as well pass."""
    found = conn.execute("select relname from pg_class where relispartition and reltuples between 0 and 450")
    return {name for (name,) in found}


def rows_read(plan: Plan, days: set[str]) -> float:
    """Rows of tables, or entries of bitmaps where those are more; with what was then thrown away, except for `days`."""

    def read(node: Plan) -> float:
        just_begun = any(str(node.get("Relation Name", node.get("Index Name"))).startswith(day) for day in days)
        thrown_away = () if just_begun else ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        kinds = () if just_begun and node in of_bitmaps else ("Actual Rows", *thrown_away)
        return float(node["Actual Loops"]) * sum(float(node.get(kind, 0)) for kind in kinds)

    of_tables = [node for node in nodes(plan) if "Relation Name" in node]
    of_bitmaps = [node for node in nodes(plan) if node["Node Type"] == "Bitmap Index Scan"]
    return max(sum(map(read, scans)) for scans in (of_tables, of_bitmaps))


def blocks_read(plan: Plan) -> int:
    """Pages of tables and indexes: what an index is walked for without finding anything is seen here alone."""
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def test_every_statement_of_a_report_is_looked_at() -> None:
    of_room = {file.stem for file in statement_files() if file.parents[1] == Path(REPORTS).parent}
    assert set(QUESTIONS) == (of_room | set(TRACED)) - NO_REPORT


BY_DAY = {name for name, (parameters, _) in QUESTIONS.items() if "first_id" in parameters}
PLANNED = [
    (name, planned)
    for name in QUESTIONS
    for planned in (bound, generic)
    if planned is bound or name not in BY_DAY  # those are planned with their ids each time: test_days.py holds that
]


@pytest.mark.parametrize(("name", "planned"), PLANNED)
def test_a_report_reads_no_more_than_it_answers_from(
    grown: Conn, name: str, planned: Callable[[Conn, str, dict[str, Any]], Plan]
) -> None:
    parameters, most = QUESTIONS[name]
    with grown.transaction():
        if name in IN_ORDER:
            walk_in_order(grown)
        plan = planned(grown, name, parameters)
    shown = json.dumps(plan, indent=1)
    assert not [node for node in nodes(plan) if node["Node Type"] == "Seq Scan"], shown
    assert 0 < rows_read(plan, days_just_begun(grown)) <= most, shown
    assert blocks_read(plan) <= most + DESCENTS, shown
