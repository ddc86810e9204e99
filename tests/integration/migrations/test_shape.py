"""What a database holds, compared with what the migrations build: older is behind, other is wrong, more is noted."""

from collections.abc import Iterable
from pathlib import Path

import psycopg
import pytest

from migrations import shape
from migrations.dump_schema import dump
from migrations.dump_shape import dump as dump_shape
from migrations.shape import Comparison
from migrations.sql_files import FOLDER, up_files
from tests.conftest import fleet
from tests.integration.migrations.test_migrations import alembic, objects, script
from worker import migrate
from worker.migrate import MigrationError

# Tables of these names as other applications make them: whole, so that nothing but their shape tells them apart.
EARLIER = {
    "bridge_states: constraint bridge_states_pkey is PRIMARY KEY (bridge_id), "
    "expected PRIMARY KEY (bridge_id, namespace)": """
        create table bridge_states (bridge_id uuid primary key, namespace varchar(255) not null, state_data jsonb)""",
    "workflow_executions.started_at is timestamp with time zone not null, expected timestamp with time zone": """
        create table workflow_executions (id uuid primary key, correlation_id uuid unique not null,
          started_at timestamptz not null)""",
    "metadata_stamps: constraint metadata_stamps_file_hash_key is not the fleet's (UNIQUE (file_hash))": """
        create table metadata_stamps (id uuid primary key, file_hash varchar(128) unique, stamp_data jsonb not null)""",
    "node_registrations.node_id is uuid not null, expected character varying(255) not null": """
        create table node_registrations (node_id uuid primary key, node_type text)""",
    "workflow_steps is a plain table, expected a table partitioned by RANGE (id)": """
        create table workflow_steps (id uuid primary key)""",
    "fsm_transitions is a view, expected a table partitioned by RANGE (id)": "create view fsm_transitions as select 1",
    "operations is a type, expected a table partitioned by RANGE (operation_id)": "create type operations as (id uuid)",
    "event_logs_seq is a plain table, expected a sequence": "create table event_logs_seq (id uuid)",
    "uuid_v7() is a function that returns text, body ": """
        create function uuid_v7() returns text language sql as 'select gen_random_uuid()::text'""",
}

# What somebody does to a schema that the migrations have built, and how it is told.
DAMAGE = [
    ("drop table workflow_steps", "workflow_steps is missing"),
    ("drop table workflow_executions cascade", "workflow_executions is missing"),
    ("drop sequence event_logs_seq", "event_logs_seq is missing"),
    ("drop function row_within(jsonb, bigint)", "row_within(jsonb, bigint) is missing"),
    (
        "create or replace function uuid_v7() returns uuid language sql as 'select gen_random_uuid()'",
        "uuid_v7() is a function that returns uuid, body",
    ),
    ("alter table fsm_states drop column clock", 'fsm_states.clock is missing, expected text collate "C" not null'),
    ('alter table fsm_states alter clock type text collate "default"', "fsm_states.clock is text not null, expected"),
    ("alter table bridge_states alter version type bigint", "bridge_states.version is bigint not null default 1"),
    ("alter table dead_letters alter message type varchar(9)", "dead_letters.message is character varying(9) not null"),
    ("alter table dead_letters alter source set not null", "dead_letters.source is text not null, expected text"),
    ("alter table operations alter claimed_at drop default", "operations.claimed_at is timestamp with time zone not"),
    (
        "alter table workflow_executions drop constraint workflow_executions_correlation_id_key",
        "constraint workflow_executions_correlation_id_key is missing, expected UNIQUE (correlation_id)",
    ),
    ("alter table dead_letters drop constraint dead_letters_pkey", "constraint dead_letters_pkey is missing"),
    (
        "alter table dead_letters drop constraint dead_letters_pkey, add primary key (id)",
        "constraint dead_letters_pkey is PRIMARY KEY (id), expected PRIMARY KEY (id, digest)",
    ),
    (
        "alter table workflow_steps drop constraint workflow_steps_workflow_id_fkey",
        "constraint workflow_steps_workflow_id_fkey is missing, expected FOREIGN KEY (workflow_id)",
    ),
    (
        "alter table node_registrations add check (node_type <> 'x')",
        "constraint node_registrations_node_type_check is not the fleet's (CHECK",
    ),
    (
        "alter table node_registrations add column cost_centre text not null",
        "node_registrations.cost_centre is not the fleet's (text not null)",
    ),
    (
        "create unique index one_per_hash on metadata_stamps (file_hash)",
        "index one_per_hash is not the fleet's (CREATE UNIQUE INDEX",
    ),
    ("alter table dead_letters set unlogged", "dead_letters is a plain table, unlogged, expected a plain table"),
    (
        "alter table dead_letters enable row level security",
        "dead_letters is a plain table, with row security, expected",
    ),
]

ALLOWED = [
    (
        "alter table workflow_executions add column cost_centre text",
        "workflow_executions.cost_centre is not the fleet's",
    ),
    (
        "alter table workflow_executions add column at timestamptz not null default now()",
        "workflow_executions.at is not",
    ),
    (
        "alter table dead_letters add column number bigint generated always as identity",
        "dead_letters.number is not the",
    ),
    ("create index by_error on workflow_executions (error_message)", "index by_error is not the fleet's"),
    ("drop index idx_dead_letters_status_created_at", "index idx_dead_letters_status_created_at is missing, expected"),
    (
        "create function noted() returns trigger language plpgsql as 'begin return new; end'; "
        "create trigger told before insert on dead_letters for each row execute function noted()",
        "trigger told is not the fleet's",
    ),
]


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def run_files(url: str, files: Iterable[Path]) -> None:
    run(url, *(file.read_text(encoding="utf-8") for file in files))


def examine(url: str) -> Comparison:
    with psycopg.connect(url, autocommit=True) as connection:
        return shape.examine(connection)


def test_the_kept_shape_is_what_the_migrations_build(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        made = dump_shape(connection)
    assert made == shape.FILE.read_text(encoding="utf-8"), "run: python -m migrations.dump_shape URL"


def test_a_database_of_every_revision_is_behind_and_only_the_last_is_not(empty_database: str) -> None:
    found = examine(empty_database)
    assert (found.wrong, found.noted, found.is_behind) == ([], [], True)
    run(empty_database, "create table alembic_version (version_num text primary key)")
    for file in up_files():
        run_files(empty_database, [file])
        by_psql = examine(empty_database)
        run(empty_database, f"insert into alembic_version values ('{file.name[:3]}')")
        noted = examine(empty_database)
        run(empty_database, "delete from alembic_version")
        is_last = file == up_files()[-1]
        assert [(one.wrong, one.noted, one.is_behind) for one in (by_psql, noted)] == [([], [], not is_last)] * 2, file


@pytest.mark.parametrize("told", EARLIER)
def test_up_stops_before_it_changes_anything_where_a_table_of_that_name_has_another_shape(
    empty_database: str, told: str
) -> None:
    run(empty_database, EARLIER[told])
    before = objects(empty_database)
    with pytest.raises(MigrationError) as refused:
        migrate.up(empty_database)
    assert told in str(refused.value) and "\n" not in str(refused.value)
    assert objects(empty_database) == before
    with pytest.raises(MigrationError):
        migrate.status(empty_database)


def test_alembic_itself_and_the_script_stop_as_well(empty_database: str) -> None:
    told, made = next(iter(EARLIER.items()))
    run(empty_database, made)
    before = objects(empty_database)
    process = alembic(empty_database, "upgrade", "head")
    output, _ = process.communicate(timeout=60)
    by_script = script("up", OMNINODE_DATABASE_URL=empty_database)
    assert process.returncode != 0 and by_script.returncode == 1
    assert told in output and told in by_script.stdout + by_script.stderr
    assert "Traceback" not in output
    assert objects(empty_database) == before


def test_tables_of_a_later_revision_are_judged_before_an_earlier_database_goes_up(empty_database: str) -> None:
    """Revision by revision would stop in the middle: 012 makes event_logs."""
    run_files(empty_database, up_files()[:5])
    run(
        empty_database,
        "create table alembic_version (version_num text primary key)",
        "insert into alembic_version values ('005')",
        "create table event_logs (id bigserial primary key, payload text)",
    )
    before = objects(empty_database)
    with pytest.raises(
        MigrationError, match=r"event_logs is a plain table, expected a table partitioned by RANGE \(id\)"
    ):
        migrate.up(empty_database)
    assert objects(empty_database) == before
    run(empty_database, "drop table event_logs")
    assert migrate.up(empty_database)[0].number == "006"


def test_our_own_tables_without_a_revision_are_taken_over(empty_database: str) -> None:
    run_files(empty_database, up_files()[:9])
    assert len(migrate.up(empty_database)) == len(up_files())
    found = examine(empty_database)
    assert (found.wrong, found.noted, found.is_behind) == ([], [], False)


@pytest.mark.parametrize(("statement", "told"), DAMAGE)
def test_what_is_not_as_the_migrations_built_it_is_named(database_any: str, statement: str, told: str) -> None:
    run(database_any, statement)
    found = examine(database_any)
    assert told in "; ".join(found.wrong)
    assert not found.is_behind
    for refusing in (migrate.up, migrate.status):
        with pytest.raises(MigrationError):
            refusing(database_any)


@pytest.mark.parametrize(("statement", "told"), ALLOWED)
def test_what_an_operator_adds_or_leaves_out_without_harm_is_noted(database: str, statement: str, told: str) -> None:
    run(database, statement)
    found = examine(database)
    assert (found.wrong, found.is_behind) == ([], False)
    assert len(found.noted) == 1 and told in found.noted[0]
    assert migrate.up(database) == []


def test_a_wrong_schema_can_still_be_taken_down(database: str) -> None:
    run(database, "alter table dead_letters add check (code <> 'x')")
    assert len(migrate.down(database, revisions=None)) == len(up_files())


@pytest.mark.parametrize("revision", ["1975ea83b712", "1", "ab1", "0010", "O27"])
def test_the_revision_of_another_application_is_named(empty_database: str, revision: str) -> None:
    run(
        empty_database,
        "create table alembic_version (version_num varchar(32) primary key)",
        f"insert into alembic_version values ('{revision}')",
    )
    before = objects(empty_database)
    for refusing in (migrate.up, migrate.status):
        with pytest.raises(MigrationError, match=f"names revision {revision}, which is none of the fleet's"):
            refusing(empty_database)
    assert objects(empty_database) == before


def test_a_second_revision_beside_ours_is_somebody_else_s(database: str) -> None:
    run(database, "insert into alembic_version values ('023')")
    with pytest.raises(MigrationError, match="which is none of the fleet's"):
        migrate.up(database)


def test_a_version_table_of_another_shape_says_nothing_and_stops_the_migration(empty_database: str) -> None:
    run(empty_database, "create table alembic_version (id integer)")
    assert examine(empty_database).revision is None
    with pytest.raises(MigrationError):
        migrate.up(empty_database)


def test_a_search_path_that_names_no_schema_is_refused(database: str) -> None:
    with pytest.raises(MigrationError, match="the search path names no schema that exists"):
        migrate.up(f"{database}?options=-csearch_path%3Dnowhere")


def test_the_line_is_one_and_bounded_whatever_the_names_are(database: str) -> None:
    run(database, *(f'alter table dead_letters add column "a\n\x1b[31m{n}{"x" * 40}" text not null' for n in range(20)))
    line = examine(database).line()
    assert line.isprintable() and "and 8 more" in line and len(line) < 2500


def test_each_fact_is_of_revisions_that_there_are() -> None:
    numbers = [path.name[:3] for path in up_files()]
    kept = shape.kept()
    assert kept.head == numbers[-1]
    assert {fact.since for fact in kept.facts} <= set(numbers)
    assert {fact.until for fact in kept.facts} <= {*numbers, None}


def test_the_kept_schema_has_the_kept_shape(empty_database: str) -> None:
    """schema.sql and shape.json tell of the same."""
    run(empty_database, (FOLDER / "schema.sql").read_text(encoding="utf-8"))
    found = examine(empty_database)
    assert (found.wrong, found.noted, found.is_behind) == ([], [], False)
    with psycopg.connect(empty_database) as connection:
        assert dump(connection) == (FOLDER / "schema.sql").read_text(encoding="utf-8")


def test_a_role_that_may_not_read_the_version_still_compares(database: str) -> None:
    run(database, "create role looks_only login password 'x'", "revoke all on alembic_version from public")
    try:
        with psycopg.connect(database, user="looks_only", password="x") as connection:
            found = shape.examine(connection)
        assert (found.revision, found.wrong, found.is_behind) == (None, [], False)
    finally:
        run(database, "drop role looks_only")


def test_the_command_says_note_and_wrong_by_line(database: str) -> None:
    run(database, "alter table dead_letters add column cost_centre text")
    told = fleet("migrate", "status", environment={"OMNINODE_DATABASE_URL": database})
    assert told.returncode == 0 and "note  dead_letters.cost_centre is not the fleet's (text)" in told.stdout
    run(database, "drop table workflow_steps", "alter table fsm_states drop column metadata")
    told = fleet("migrate", "status", environment={"OMNINODE_DATABASE_URL": database})
    assert told.returncode == 1
    assert "wrong  workflow_steps is missing" in told.stdout and "wrong  fsm_states.metadata is missing" in told.stdout
    assert "applied" not in told.stdout and told.stderr.count("\n") == 1
