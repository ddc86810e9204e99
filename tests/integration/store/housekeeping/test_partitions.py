"""The partitions by day: which rows they hold, and that making them stands in nobody's way."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg.errors import InsufficientPrivilege, InvalidParameterValue, LockNotAvailable

from store.housekeeping import partitions

TABLES = ("operations", "workflow_steps", "fsm_transitions", "event_logs")
MIGRATED_DAYS = range(-8, 4)
DAY = timedelta(days=1)
LONG_AGO = datetime(2001, 2, 3, tzinfo=UTC)


def id_at(instant: datetime) -> UUID:
    """A UUIDv7 of that instant."""
    milliseconds = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | uuid4().int & (1 << 62) - 1)


@pytest.fixture
def connection(database_any: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(database_any, autocommit=True) as opened:
        yield opened


@pytest.fixture
def today(connection: Connection[Any]) -> datetime:
    """The start of the day that the template's partitions are counted from."""
    row = connection.execute("select max(relname) from pg_class where relname ~ '^operations_p[0-9]+$'").fetchone()
    assert row is not None
    return datetime.strptime(row[0][-8:], "%Y%m%d").replace(tzinfo=UTC) - MIGRATED_DAYS[-1] * DAY


def add_row(connection: Connection[Any], table: str, key: UUID) -> None:
    """One row; a step also gets its workflow."""
    match table:
        case "operations":
            connection.execute(
                "insert into operations (operation_id, operation_type, outcome, digest)"
                " values (%s, 't', 'applied', '')",
                [key],
            )
        case "workflow_steps":
            workflow = "insert into workflow_executions (correlation_id) values (uuid_v7()) returning id"
            connection.execute(
                f"with w as ({workflow}) insert into workflow_steps (id, workflow_id, step_name, step_order, status)"
                " select %s, id, 's', 1, 'COMPLETED' from w".encode(),
                [key],
            )
        case "fsm_transitions":
            connection.execute(
                "insert into fsm_transitions (id, entity_id, entity_type, to_state, transition_event)"
                " values (%s, uuid_v7(), 'workflow_execution', 'COMPLETED', 'e')",
                [key],
            )
        case _:
            connection.execute("insert into event_logs (id, event_type, payload) values (%s, 'e', '{}')", [key])


def place_of(connection: Connection[Any], table: str, key: UUID) -> str:
    """The partition in which the row lies."""
    column = "operation_id" if table == "operations" else "id"
    query = sql.SQL("select tableoid::regclass::text from {} where {} = %s")
    row = connection.execute(query.format(sql.Identifier(table), sql.Identifier(column)), [key]).fetchone()
    assert row is not None
    return str(row[0])


def days_of(connection: Connection[Any], table: str) -> list[str]:
    query = """
        select child.relname from pg_inherits join pg_class as child on child.oid = inhrelid
        where inhparent = %s::regclass and child.relname !~ 'default$' order by 1"""
    return [row[0] for row in connection.execute(query, [table])]


def named(table: str, day: datetime) -> str:
    return f"{table}_p{day:%Y%m%d}"


@pytest.mark.parametrize("table", TABLES)
def test_the_migrations_make_the_days_around_today(connection: Connection[Any], today: datetime, table: str) -> None:
    assert days_of(connection, table) == [named(table, today + distance * DAY) for distance in MIGRATED_DAYS]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_lies_in_the_day_of_its_id(connection: Connection[Any], today: datetime, table: str) -> None:
    millisecond = timedelta(milliseconds=1)
    expected = {
        id_at(today): named(table, today),
        id_at(today + DAY - millisecond): named(table, today),
        id_at(today - millisecond): named(table, today - DAY),
        id_at(LONG_AGO): f"{table}_default",
        id_at(today + 10 * DAY): f"{table}_default",
    }
    for key in expected:
        add_row(connection, table, key)
    assert {key: place_of(connection, table, key) for key in expected} == expected


def test_days_that_are_missing_are_made_once(connection: Connection[Any], today: datetime) -> None:
    # One day of leeway: the template may have been made just before midnight.
    made = partitions.ensure(connection, days_back=8, days_ahead=6)
    assert made in (3 * len(TABLES), 4 * len(TABLES))
    assert named("event_logs", today + 6 * DAY) in days_of(connection, "event_logs")
    assert partitions.ensure(connection, days_back=8, days_ahead=6) == 0


@pytest.mark.parametrize("table", TABLES)
def test_rows_that_waited_in_the_default_partition_move_into_their_day(
    connection: Connection[Any], today: datetime, table: str
) -> None:
    waiting = [id_at(today + 5 * DAY + timedelta(hours=hours)) for hours in (0, 23)]
    others = [id_at(LONG_AGO), id_at(today + 40 * DAY)]
    for key in waiting + others:
        add_row(connection, table, key)
    assert partitions.default_rows(connection) == {name: 4 if name == table else 0 for name in TABLES}
    partitions.ensure(connection, days_back=0, days_ahead=6)
    assert {place_of(connection, table, key) for key in waiting} == {named(table, today + 5 * DAY)}
    assert {place_of(connection, table, key) for key in others} == {f"{table}_default"}
    assert partitions.default_rows(connection)[table] == 2


def test_a_new_day_has_what_its_table_has(connection: Connection[Any], today: datetime) -> None:
    partitions.ensure(connection, days_back=0, days_ahead=6)
    query = """
        select contype::text, regexp_replace(pg_get_constraintdef(oid), ' NOT VALID', '')
        from pg_constraint where conrelid = %s::regclass and contype <> 'n' order by 1, 2"""
    index = """
        select regexp_replace(pg_get_indexdef(indexrelid), '^.* USING', '') from pg_index
        where indrelid = %s::regclass order by 1"""
    for table in TABLES:
        for what in (query, index):
            parent = connection.execute(what.encode(), [table]).fetchall()
            assert parent and connection.execute(what.encode(), [named(table, today + 6 * DAY)]).fetchall() == parent


def test_a_deleted_workflow_takes_its_steps_out_of_a_new_day(connection: Connection[Any], today: datetime) -> None:
    partitions.ensure(connection, days_back=0, days_ahead=6)
    add_row(connection, "workflow_steps", id_at(today + 6 * DAY))
    connection.execute("delete from workflow_executions")
    assert connection.execute("select count(*) from workflow_steps").fetchone() == (0,)


def test_a_step_without_workflow_does_not_get_into_a_new_day(connection: Connection[Any], today: datetime) -> None:
    partitions.ensure(connection, days_back=0, days_ahead=6)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(
            "insert into workflow_steps (id, workflow_id, step_name, step_order, status)"
            " values (%s, uuid_v7(), 's', 1, 'X')",
            [id_at(today + 6 * DAY)],
        )


def test_several_at_once_make_each_day_once(connection: Connection[Any], database_any: str) -> None:
    callers = 4
    barrier = threading.Barrier(callers)

    def call(_: int) -> int:
        with psycopg.connect(database_any, autocommit=True) as mine:
            barrier.wait(60)
            return partitions.ensure(mine, days_back=8, days_ahead=9)

    before = sum(len(days_of(connection, table)) for table in TABLES)
    with ThreadPoolExecutor(callers) as pool:
        made = list(pool.map(call, range(callers)))
    assert sum(made) == sum(len(days_of(connection, table)) for table in TABLES) - before > 0
    assert sorted(made)[:-1] == [0] * (callers - 1)


def test_open_writers_of_other_days_do_not_delay_it(
    connection: Connection[Any], database_any: str, today: datetime
) -> None:
    with psycopg.connect(database_any) as writer:
        for table in ("operations", "fsm_transitions", "event_logs"):
            add_row(writer, table, id_at(today))
        assert partitions.ensure(connection, days_back=0, days_ahead=6) > 0


@pytest.mark.parametrize(("table", "at"), [("workflow_steps", datetime.now(UTC)), ("event_logs", LONG_AGO)])
def test_a_writer_in_the_way_is_not_waited_for_and_nothing_is_made(
    connection: Connection[Any], database_any: str, table: str, at: datetime
) -> None:
    before = connection.execute("select count(*) from pg_class").fetchone()
    with psycopg.connect(database_any) as writer:
        add_row(writer, table, id_at(at))  # holds workflow_executions, or the default partition
        with pytest.raises(LockNotAvailable):
            partitions.ensure(connection, days_back=0, days_ahead=6)
    assert connection.execute("select count(*) from pg_class").fetchone() == before
    assert partitions.ensure(connection, days_back=0, days_ahead=6) > 0
    assert connection.execute("show lock_timeout").fetchone() == ("0",)


@pytest.mark.parametrize("days", [(-1, 0), (0, -1), (367, 0), (0, 367), (None, 0)])
def test_absurd_ranges_are_refused(connection: Connection[Any], days: tuple[Any, int]) -> None:
    with pytest.raises(InvalidParameterValue):
        partitions.ensure(connection, days_back=days[0], days_ahead=days[1])


def test_the_count_of_default_rows_stops_at_its_limit(connection: Connection[Any]) -> None:
    connection.execute("""
        insert into event_logs (id, event_type, payload)
        select gen_random_uuid(), 'e', '{}' from generate_series(1, 1500)""")
    assert partitions.default_rows(connection)["event_logs"] == partitions.DEFAULT_ROWS_LIMIT


@pytest.fixture
def role(connection: Connection[Any]) -> Iterator[str]:
    """A role that may log in and do nothing else."""
    name = f"role_{uuid4().hex[:12]}"
    connection.execute(sql.SQL("create role {} login password 'test'").format(sql.Identifier(name)))
    yield name
    connection.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:test@{parts.netloc.rpartition('@')[2]}"))


def test_a_role_that_writes_rows_makes_partitions_that_it_does_not_own(
    connection: Connection[Any], database_any: str, role: str, today: datetime
) -> None:
    connection.execute(sql.SQL("grant insert on operations to {}").format(sql.Identifier(role)))
    waiting = id_at(today + 6 * DAY)
    add_row(connection, "operations", waiting)
    with psycopg.connect(as_role(database_any, role), autocommit=True) as worker:
        # A table of that name, first on the caller's path, is not the one that the owner's rights reach.
        worker.execute("create temporary table operations_default (operation_id uuid)")
        assert partitions.ensure(worker, days_back=0, days_ahead=6) > 0
        with pytest.raises(InsufficientPrivilege):
            worker.execute(sql.SQL("drop table {}").format(sql.Identifier(named("operations", today + 6 * DAY))))
    assert place_of(connection, "operations", waiting) == named("operations", today + 6 * DAY)


def test_a_role_that_only_reads_makes_none(connection: Connection[Any], database_any: str, role: str) -> None:
    connection.execute(sql.SQL("grant select on all tables in schema public to {}").format(sql.Identifier(role)))
    with psycopg.connect(as_role(database_any, role), autocommit=True) as reader, pytest.raises(InsufficientPrivilege):
        partitions.ensure(reader, days_back=0, days_ahead=6)
