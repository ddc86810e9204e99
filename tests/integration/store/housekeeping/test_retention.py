"""Retention: what goes, what stays however old it is, and that nobody waits for it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import Connection, sql

from omninode_bridge.contract.clock import uuid7
from store.housekeeping import partitions, retention, retention_report
from store.housekeeping.job import Batch
from store.housekeeping.retention import KeepTimes, Retention, first_id, statement
from store.housekeeping.retention_report import TableReport
from store.outbox import outbox
from store.write.apply import apply
from tests.deadline import wait_until
from tests.factories import publish_event, step, store_connection
from tests.integration.store.housekeeping.test_partitions import DAY, id_at

AT = datetime.now(UTC)
TODAY = AT.replace(hour=0, minute=0, second=0, microsecond=0)
MS = timedelta(milliseconds=1)
OLD = AT - 1000 * DAY
TIMELESS = datetime(1970, 1, 1, tzinfo=UTC)
KEEP = KeepTimes()


@pytest.fixture
def conn(database_any: str) -> Iterator[Connection[Any]]:
    with store_connection(database_any) as opened:
        opened.execute("set lock_timeout to '2s'")
        yield opened


def batches(conn: Connection[Any], job: Retention) -> list[Batch]:
    """Every portion of a run, each in a transaction of its own."""
    done: list[Batch] = []
    while not done or done[-1].more:
        job.aside(conn)
        with conn.transaction():
            done.append(job(conn))
    return done


def run(conn: Connection[Any], keep: KeepTimes = KEEP) -> dict[str, TableReport]:
    counts: dict[str, int] = {}
    job = Retention(keep, at=AT)
    for batch in batches(conn, job):
        for kind, count in batch.counts.items():
            counts[kind] = counts.get(kind, 0) + count
    return {report.table: report for report in retention_report.reports_of(keep, counts, job.left)}


def survey(conn: Connection[Any], keep: KeepTimes = KEEP) -> dict[str, TableReport]:
    return {report.table: report for report in retention_report.survey(conn, keep, at=AT)}


def add_day(conn: Connection[Any], table: str, day: datetime) -> str:
    name = f"{table}_p{day:%Y%m%d}"
    query = sql.SQL("create table if not exists {} partition of {} for values from ({}) to ({})")
    bounds = (sql.Literal(str(first_id(day))), sql.Literal(str(first_id(day + DAY))))
    conn.execute(query.format(sql.Identifier(name), sql.Identifier(table), *bounds))
    return name


def days(conn: Connection[Any], table: str) -> set[str]:
    query = "select relname from pg_class join pg_inherits on oid = inhrelid where inhparent = %s::regclass"
    return {row[0] for row in conn.execute(query.encode(), [table])} - {f"{table}_default"}


def insert(conn: Connection[Any], table: str, **values: Any) -> None:
    query = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Literal, values.values())),
    )
    conn.execute(query)


def keys(conn: Connection[Any], table: str, key: str = "id") -> set[Any]:
    query = sql.SQL("select {} from {}").format(sql.Identifier(key), sql.Identifier(table))
    return {row[0] for row in conn.execute(query)}


def add_workflow(conn: Connection[Any], *, at: datetime = OLD, state: str = "COMPLETED", **values: Any) -> UUID:
    id_ = uuid4()
    values = {"created_at": at, "updated_at": at} | values
    insert(conn, "workflow_executions", id=id_, correlation_id=id_, current_state=state, **values)
    return id_


def add_step(conn: Connection[Any], workflow: UUID, at: datetime) -> UUID:
    id_ = id_at(at)
    insert(conn, "workflow_steps", id=id_, workflow_id=workflow, step_name="s", step_order=1, status="COMPLETED")
    return id_


def add_stamp(
    conn: Connection[Any], at: datetime, workflow: UUID | None = None, *, sent: datetime | None = None
) -> UUID:
    id_ = id_at(sent or at)
    insert(conn, "metadata_stamps", id=id_, workflow_id=workflow, stamp_data="{}", created_at=at)
    return id_


def add_event(conn: Connection[Any], at: datetime, **values: Any) -> UUID:
    id_ = id_at(at)
    insert(conn, "event_logs", id=id_, event_type="e", payload="{}", **values)
    return id_


WAITING = {"direction": "out", "status": "pending", "topic": "t", "partition_key": "k", "shard": 1}


@pytest.mark.parametrize("table", partitions.TABLES)
def test_a_day_goes_when_its_end_is_as_old_as_the_keep_time(conn: Connection[Any], table: str) -> None:
    kept_from = TODAY - getattr(KEEP, table) * DAY
    stays, goes = add_day(conn, table, kept_from), add_day(conn, table, kept_from - DAY)
    assert survey(conn)[table].days == 1
    report = run(conn)[table]
    assert (report.days, report.left) == (1, [])
    assert report.size_bytes > 0
    assert stays in days(conn, table)
    assert goes not in days(conn, table)


@pytest.mark.parametrize("table", partitions.TABLES)
def test_what_is_kept_for_ever_stays(conn: Connection[Any], table: str) -> None:
    name = add_day(conn, table, TODAY - 1500 * DAY)
    keep = KeepTimes(**dict.fromkeys(KeepTimes.tables(), 0))
    add_workflow(conn)
    add_stamp(conn, OLD)
    assert not any((one.days, one.rows) != (0, 0) for one in [*survey(conn, keep).values(), *run(conn, keep).values()])
    assert name in days(conn, table)


def test_an_event_that_waits_moves_forward_and_is_published_afterwards(conn: Connection[Any]) -> None:
    old = AT - 40 * DAY
    add_day(conn, "event_logs", old.replace(hour=0, minute=0, second=0, microsecond=0))
    apply(conn, [publish_event(operation_id=id_at(old), occurred_at=old)])
    gone = add_event(conn, old, direction="out", status="published")
    (event,) = outbox.pending(conn, range(outbox.SHARDS), rows_limit=10)
    assert survey(conn)["event_logs"].kept == {"waiting to go out": 1}
    report = run(conn)["event_logs"]
    assert (report.days, report.moved, report.rows) == (1, 1, 0)
    (moved,) = outbox.pending(conn, range(outbox.SHARDS), rows_limit=10)
    assert moved == event
    assert gone not in keys(conn, "event_logs")
    outbox.settle(conn, published=[moved.id], refused=[])
    assert outbox.ends(conn, [moved.id]) == {moved.id: True}
    assert run(conn)["event_logs"].rows == 1


def test_ledger_rows_outside_every_day_go_by_their_arrival(conn: Connection[Any]) -> None:
    kept_from = TODAY - 8 * DAY
    late, edge, gone = (id_at(OLD) for _ in range(3))
    for id_, claimed_at in ((late, AT), (edge, kept_from), (gone, kept_from - MS)):
        insert(
            conn,
            "operations",
            operation_id=id_,
            operation_type="t",
            outcome="applied",
            digest="",
            claimed_at=claimed_at,
        )
    assert survey(conn)["operations"].rows == 1
    assert run(conn)["operations"].rows == 1
    assert keys(conn, "operations", "operation_id") == {late, edge}


def test_events_outside_every_day_go_by_their_id_and_timeless_ones_by_arrival(conn: Connection[Any]) -> None:
    kept_from = TODAY - 30 * DAY
    kept = {
        add_event(conn, kept_from),
        add_event(conn, TIMELESS, created_at=kept_from),
        add_event(conn, OLD, **WAITING, seq=1),
        add_event(conn, TIMELESS, **WAITING, seq=2, created_at=OLD),
    }
    add_event(conn, kept_from - MS)
    add_event(conn, TIMELESS, created_at=kept_from - MS)
    assert (survey(conn)["event_logs"].rows, survey(conn)["event_logs"].kept) == (2, {"waiting to go out": 2})
    assert run(conn)["event_logs"].rows == 2
    assert keys(conn, "event_logs") == kept


def test_transitions_outside_every_day_go_by_age_and_their_state_stays(conn: Connection[Any]) -> None:
    kept_from = TODAY - 90 * DAY

    def add(at: datetime, created_at: datetime) -> UUID:
        id_ = id_at(at)
        insert(
            conn,
            "fsm_transitions",
            id=id_,
            entity_id=uuid4(),
            entity_type="t",
            to_state="X",
            transition_event="e",
            created_at=created_at,
        )
        return id_

    kept = {add(kept_from, OLD), add(TIMELESS, kept_from)}
    add(kept_from - MS, AT), add(TIMELESS, kept_from - MS)
    assert survey(conn)["fsm_transitions"].rows == 2
    assert run(conn)["fsm_transitions"].rows == 2
    assert keys(conn, "fsm_transitions") == kept


def test_a_workflow_goes_when_it_ended_long_ago_and_nothing_kept_refers_to_it(conn: Connection[Any]) -> None:
    kept_from = AT - 180 * DAY
    kept = {
        add_workflow(conn, state="PROCESSING"),
        add_workflow(conn, created_at=OLD, updated_at=kept_from),
        (with_step := add_workflow(conn)),
        (with_stamp := add_workflow(conn)),
        (with_timeless_stamp := add_workflow(conn)),
    }
    steps = {add_step(conn, with_step, TODAY - 90 * DAY)}
    stamps = {
        add_stamp(conn, AT - 364 * DAY, with_stamp),
        add_stamp(conn, TIMELESS, with_timeless_stamp),
        add_stamp(conn, OLD, sent=AT),
        add_stamp(conn, AT, sent=OLD),
    }
    add_workflow(conn, at=kept_from - MS, state="FAILED")
    add_step(conn, add_workflow(conn), TIMELESS)
    add_step(conn, add_workflow(conn), TODAY - 90 * DAY - MS)
    add_stamp(conn, AT - 365 * DAY - MS, add_workflow(conn))
    expected = survey(conn)
    assert expected["workflow_executions"].kept == {"not ended": 1, "have steps": 1, "have stamps": 2}
    done = run(conn)
    assert done["workflow_executions"].rows == expected["workflow_executions"].rows == 4
    assert done["metadata_stamps"].rows == expected["metadata_stamps"].rows == 1
    assert done["workflow_steps"].rows == expected["workflow_steps"].rows == 1
    assert keys(conn, "workflow_executions") == kept
    assert (keys(conn, "workflow_steps"), keys(conn, "metadata_stamps")) == (steps, stamps)


def test_a_workflow_that_somebody_writes_to_is_left(conn: Connection[Any], database_any: str) -> None:
    workflow = add_workflow(conn)
    with psycopg.connect(database_any) as writer:
        add_step(writer, workflow, AT)
        assert run(conn)["workflow_executions"].rows == 0
    assert run(conn)["workflow_executions"].rows == 0
    assert keys(conn, "workflow_executions") == {workflow}


def test_a_step_without_a_time_that_came_just_now_stays_with_its_workflow(conn: Connection[Any]) -> None:
    workflow = add_workflow(conn)
    late = step(workflow, operation_id=id_at(TIMELESS))
    assert [outcome.status for outcome in apply(conn, [late])] == ["applied"]
    conn.execute("update workflow_executions set updated_at = %s", [OLD])
    assert survey(conn)["workflow_executions"].kept == {"have steps": 1}
    assert run(conn)["workflow_executions"].rows == 0
    assert keys(conn, "workflow_steps") == {late.operation_id}
    conn.execute("delete from operations")
    assert run(conn)["workflow_executions"].rows == 1


def test_a_step_that_comes_between_look_and_lock_is_seen(
    conn: Connection[Any], database_any: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look is held up at a gate, after its snapshot was taken, and the step committed meanwhile."""
    workflow = add_workflow(conn)
    gated = statement("lock_old_workflows").replace(
        "from workflow_executions\n", "from workflow_executions, (select pg_advisory_xact_lock(7)) as gate\n"
    )
    monkeypatch.setattr(retention, "statement", lambda name: gated if name == "lock_old_workflows" else statement(name))
    with psycopg.connect(database_any, autocommit=True) as writer, ThreadPoolExecutor(1) as beside:
        writer.execute("select pg_advisory_lock(7)")
        done = beside.submit(batches, conn, Retention(KEEP, at=AT))
        waits = "select exists (select from pg_locks where locktype = 'advisory' and objid = 7 and not granted)"
        wait_until(lambda: writer.execute(waits).fetchone() == (True,), seconds=20, what="the look")
        add_step(writer, workflow, AT)
        writer.execute("select pg_advisory_unlock(7)")
        counts = [batch.counts for batch in done.result(60)]
    assert not any("workflow_executions.rows" in count for count in counts)
    assert keys(conn, "workflow_executions") == {workflow}
    assert len(keys(conn, "workflow_steps")) == 1


def test_a_late_step_opens_again_a_workflow_that_is_gone(conn: Connection[Any]) -> None:
    workflow = add_workflow(conn)
    assert run(conn)["workflow_executions"].rows == 1
    assert [outcome.status for outcome in apply(conn, [step(workflow)])] == ["applied"]
    assert keys(conn, "workflow_executions", "current_state") == {"PENDING"}


def test_only_states_of_workflows_that_are_gone_go(conn: Connection[Any]) -> None:
    there = add_workflow(conn, at=AT)
    kept_from = AT - 365 * DAY

    def add(entity: UUID, updated_at: datetime, entity_type: str = "workflow_execution") -> UUID:
        values = {"entity_type": entity_type, "entity_id": entity, "current_state": "X", "transition_count": 1}
        insert(conn, "fsm_states", **values, last_transition_at=OLD, updated_at=updated_at, clock="")
        return entity

    kept = {add(there, OLD), add(uuid4(), kept_from), add(uuid4(), OLD, "bridge")}
    add(uuid4(), kept_from - MS)
    assert survey(conn)["fsm_states"] == TableReport("fsm_states", 365, rows=1, kept={"workflow is there": 1})
    assert run(conn)["fsm_states"].rows == 1
    assert keys(conn, "fsm_states", "entity_id") == kept


def test_only_dead_letters_that_were_settled_long_ago_go(conn: Connection[Any]) -> None:
    kept_from = AT - 90 * DAY

    def add(status: str, resolved_at: datetime | None) -> UUID:
        id_ = uuid7()
        values = {"id": id_, "digest": "", "code": "C", "message": "m", "payload": "p", "form": "record"}
        insert(conn, "dead_letters", **values, status=status, created_at=OLD, resolved_at=resolved_at)
        return id_

    kept = {add("open", None), add("retried", kept_from), add("discarded", AT)}
    add("retried", kept_from - MS), add("discarded", OLD)
    assert survey(conn)["dead_letters"] == TableReport("dead_letters", 90, rows=2, kept={"open": 1})
    assert run(conn)["dead_letters"].rows == 2
    assert keys(conn, "dead_letters") == kept


def test_nodes_go_that_were_gone_or_silent_for_long(conn: Connection[Any]) -> None:
    kept_from, gone = AT - 30 * DAY, AT - 30 * DAY - MS

    def add(name: str, **values: Any) -> None:
        insert(conn, "node_registrations", node_id=name, **({"registered_at": OLD} | values))

    add("heard", heartbeat_received_at=kept_from)
    add("fast clock, silent", heartbeat_received_at=gone, last_heartbeat=AT)
    add("deregistered lately", heartbeat_received_at=gone, deregistered_at=kept_from)
    add("deregistered long ago", heartbeat_received_at=OLD, deregistered_at=gone)
    add("registered lately", registered_at=kept_from)
    assert survey(conn)["node_registrations"].rows == 2
    assert run(conn)["node_registrations"].rows == 2
    assert keys(conn, "node_registrations", "node_id") == {"heard", "deregistered lately", "registered lately"}


def test_the_last_tick_of_a_schedule_and_the_last_that_was_done_stay(conn: Connection[Any]) -> None:
    for days_ago, name, outcome in ((60, "a", "done"), (50, "a", "done"), (40, "a", "failed"), (90, "b", "done")):
        insert(conn, "schedule_ticks", name=name, due_at=AT - days_ago * DAY, outcome=outcome)
    insert(conn, "schedule_ticks", name="c", due_at=AT - 30 * DAY, outcome="failed")
    insert(conn, "schedule_ticks", name="c", due_at=AT, outcome="failed")
    insert(conn, "schedule_ticks", name="d", due_at=AT - 31 * DAY, outcome="failed")
    insert(conn, "schedule_ticks", name="d", due_at=AT, outcome="failed")
    assert survey(conn)["schedule_ticks"].rows == 2
    assert run(conn)["schedule_ticks"].rows == 2
    left = conn.execute("select name, count(*) from schedule_ticks where runs > 0 group by 1 order by 1").fetchall()
    assert left == [("a", 2), ("b", 1), ("c", 2), ("d", 1)]


def test_a_portion_that_was_taken_back_is_done_again(conn: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS_LIMIT", 3)
    ids = [add_workflow(conn, at=OLD + number // 2 * MS) for number in range(8)]
    job = Retention(KEEP, at=AT)
    counts, calls = 0, 0
    more = True
    while more:
        calls += 1
        with conn.transaction(force_rollback=calls % 2 == 0):
            batch = job(conn)
        if calls % 2:
            counts += batch.counts.get("workflow_executions.rows", 0)
            more = batch.more
    assert counts == len(ids)
    assert keys(conn, "workflow_executions") == set()


def test_a_run_goes_on_where_it_stopped_on_any_connection(
    conn: Connection[Any], database_any: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS_LIMIT", 2)
    kept = {add_workflow(conn, at=OLD + number * MS, state="PENDING") for number in range(20)}
    add_workflow(conn, at=OLD + DAY)
    job = Retention(KEEP, at=AT)
    calls = 0
    while not job.over:
        calls += 1
        with store_connection(database_any) as slice_, slice_.transaction():
            job(slice_)
    assert calls > 15
    assert keys(conn, "workflow_executions") == kept


def test_a_portion_rests_for_the_time_that_it_leaves_to_others(conn: Connection[Any]) -> None:
    half = batches(conn, Retention(KEEP, at=AT, share=0.5))
    assert all(0 < batch.rest_s <= retention.LONGEST_REST_S for batch in half)
    assert all(batch.rest_s == 0 for batch in batches(conn, Retention(KEEP, at=AT, share=1.0)))


def test_a_survey_changes_nothing(conn: Connection[Any]) -> None:
    add_workflow(conn)
    name = add_day(conn, "operations", TODAY - 40 * DAY)
    assert survey(conn) == survey(conn)
    assert name in days(conn, "operations")
    assert len(keys(conn, "workflow_executions")) == 1
