"""The schema's way up and down: by Alembic, by psql, by the script, and by `fleet migrate`'s own functions."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from migrations.dump_schema import dump
from migrations.sql_files import FOLDER, down_files, up_files
from tests.conftest import clean_environment
from tests.deadline import wait_until
from tests.servers import PostgresServer
from worker import migrate
from worker.migrate import MigrationError

ROOT = FOLDER.parent
KEPT = (FOLDER / "schema.sql").read_text(encoding="utf-8")
NUMBERS = [path.name[:3] for path in up_files()]


def schema(url: str) -> str:
    with psycopg.connect(url) as connection:
        return dump(connection)


def objects(url: str) -> set[tuple[str, str]]:
    """Everything that somebody made in the database: tables, indexes, sequences, functions, types."""
    with psycopg.connect(url) as connection:
        return set(
            connection.execute("""
                with mine as (select oid from pg_namespace where nspname !~ '^(pg_|information_schema)')
                select 'relation', relname::text from pg_class where relnamespace in (select oid from mine)
                union all select 'function', proname from pg_proc where pronamespace in (select oid from mine)
                union all select 'type', typname from pg_type where typnamespace in (select oid from mine)
            """).fetchall()
        )


def run_files(url: str, files: Iterable[Path]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for file in files:
            connection.execute(file.read_bytes())


def alembic(url: str, *words: str) -> subprocess.Popen[str]:
    """The alembic command, started from the root of the checkout."""
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *words],
        cwd=ROOT,
        env=clean_environment({"OMNINODE_DATABASE_URL": url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


def test_alembic_builds_the_schema_that_is_kept(empty_database: str) -> None:
    said(alembic(empty_database, "upgrade", "head"))
    assert schema(empty_database) == KEPT


def test_psql_on_the_files_builds_the_schema_that_is_kept(
    empty_database: str, postgres_servers: Mapping[str, PostgresServer]
) -> None:
    psql = [str(postgres_servers["18"].bin_dir / "psql"), empty_database, "--no-psqlrc", "-v", "ON_ERROR_STOP=1"]
    before = objects(empty_database)
    for files in (up_files(), down_files()):
        words = [word for path in files for word in ("-f", str(path))]
        done = subprocess.run([*psql, *words], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        if files == up_files():
            assert schema(empty_database) == KEPT
    assert objects(empty_database) == before


def test_the_kept_schema_builds_itself(empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute(KEPT.encode())
    assert schema(empty_database) == KEPT


def test_all_the_way_down_leaves_nothing(empty_database: str) -> None:
    before = objects(empty_database)
    assert [revision.number for revision in migrate.up(empty_database)] == NUMBERS
    assert [revision.number for revision in migrate.down(empty_database, revisions=None)] == NUMBERS[::-1]
    assert objects(empty_database) == before
    migrate.up(empty_database)
    assert schema(empty_database) == KEPT


def test_each_down_file_undoes_exactly_its_up_file(empty_database: str) -> None:
    steps = [schema(empty_database)]
    for file in up_files():
        run_files(empty_database, [file])
        steps.append(schema(empty_database))
    assert len(set(steps)) == len(up_files()) + 1, "a file that changes nothing"
    for file, expected in zip(down_files(), steps[-2::-1], strict=True):
        run_files(empty_database, [file])
        assert schema(empty_database) == expected, file.name


def test_every_file_may_run_twice(empty_database: str) -> None:
    before = objects(empty_database)
    run_files(empty_database, [file for path in up_files() for file in (path, path)])
    run_files(empty_database, up_files())
    assert schema(empty_database) == KEPT
    run_files(empty_database, [file for path in down_files() for file in (path, path)])
    run_files(empty_database, down_files())
    assert objects(empty_database) == before


def test_one_revision_down_and_up_again_keeps_the_rows(empty_database: str) -> None:
    migrate.up(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("insert into workflow_executions (correlation_id) values (uuid_v7())")
        connection.execute("insert into event_logs (id, event_type, payload) values (uuid_v7(), 'a', '{}')")
        said(alembic(empty_database, "downgrade", "-1"))
        assert f"{NUMBERS[-2]}\n" in said(alembic(empty_database, "current"))
        said(alembic(empty_database, "upgrade", "head"))
        assert f"{NUMBERS[-1]} (head)" in said(alembic(empty_database, "current"))
        counts = "select (select count(*) from workflow_executions), (select count(*) from event_logs)"
        assert connection.execute(counts.encode()).fetchone() == (1, 1)
    assert schema(empty_database) == KEPT


def test_up_after_psql_only_notes_the_revision(empty_database: str) -> None:
    run_files(empty_database, up_files())
    assert not any(revision.applied for revision in migrate.status(empty_database))
    migrate.up(empty_database)
    assert all(revision.applied for revision in migrate.status(empty_database))
    assert schema(empty_database) == KEPT
    assert migrate.up(empty_database) == []


def test_two_at_once_wait_for_each_other(empty_database: str) -> None:
    with (
        psycopg.connect(empty_database) as obstacle,
        psycopg.connect(empty_database, autocommit=True) as watcher,
    ):

        def one_waits_for(kind: str) -> bool:
            query = "select count(*) from pg_locks where not granted and locktype = %s"
            return watcher.execute(query, [kind]).fetchone() == (1,)

        obstacle.execute("create table alembic_version ()")  # the first waits for this; the second for the first
        processes = [alembic(empty_database, "upgrade", "head") for _ in range(2)]
        for kind in ("transactionid", "advisory"):
            wait_until(partial(one_waits_for, kind), seconds=30, what=f"one of the two waits for a lock of kind {kind}")
        obstacle.rollback()
        for process in processes:
            said(process)
    assert schema(empty_database) == KEPT


def test_a_revision_that_fails_leaves_those_before_it_and_nothing_of_its_own(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("create type event_logs as enum ('stands in the way')")
    with pytest.raises(MigrationError, match="event_logs"):
        migrate.up(empty_database)
    applied = [revision.number for revision in migrate.status(empty_database) if revision.applied]
    assert applied == NUMBERS[: NUMBERS.index("012")]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert connection.execute("select to_regclass('operations')").fetchone() == (None,)
        connection.execute("drop type event_logs")
    assert [revision.number for revision in migrate.up(empty_database)] == NUMBERS[NUMBERS.index("012") :]
    assert schema(empty_database) == KEPT


def test_down_by_a_number_undoes_the_newest_and_refuses_more_than_there_are(empty_database: str) -> None:
    migrate.up(empty_database)
    assert [revision.number for revision in migrate.down(empty_database, revisions=2)] == NUMBERS[:-3:-1]
    assert [revision.number for revision in migrate.status(empty_database) if revision.applied] == NUMBERS[:-2]
    with pytest.raises(MigrationError, match=f"cannot undo 99 revisions: the database has {len(NUMBERS) - 2}"):
        migrate.down(empty_database, revisions=99)
    assert migrate.down(empty_database, revisions=0) == []


def test_a_database_of_a_newer_release_is_left_alone(empty_database: str) -> None:
    migrate.up(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = '999'")
    with pytest.raises(MigrationError, match="revision 999, which this release does not know"):
        migrate.up(empty_database)


@pytest.mark.parametrize("url", ["postgresql://owner:hu%sh@localhost/db", "postgresql://owner:hush@127.0.0.1:1/db"])
def test_an_error_does_not_tell_the_password(url: str) -> None:
    with pytest.raises(MigrationError) as caught:
        migrate.up(url)
    assert "hush" not in str(caught.value) and "hu%sh" not in str(caught.value)


def script(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**clean_environment(variables), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        [str(FOLDER / "apply_migrations.sh"), *words],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environment,
    )


def test_the_script_finds_the_database_by_the_pg_variables(empty_database: str) -> None:
    parts = urlsplit(empty_database)
    values = (parts.hostname, str(parts.port), parts.path.lstrip("/"), parts.username, parts.password)
    names = ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD")
    where = {name: value or "" for name, value in zip(names, values, strict=True)}
    assert script("up", **where).returncode == 0
    assert schema(empty_database) == KEPT
    shown = script("status", **where)
    assert shown.returncode == 0 and re.search(rf"{NUMBERS[-1]} \(head\) \(current\)", shown.stdout), shown.stdout
    assert script("down", **where).returncode == 0
    assert objects(empty_database) == set()


def test_the_script_tells_failure_from_wrong_use() -> None:
    unreachable = script("up", PGHOST="127.0.0.1", PGPORT="1")
    assert unreachable.returncode == 1 and "connection" in unreachable.stderr
    assert [script(*words).returncode for words in ((), ("sideways",), ("up", "up"))] == [2, 2, 2]


def test_every_number_has_one_file_up_one_down_and_one_revision() -> None:
    assert [f"{number:03d}" for number in range(1, len(NUMBERS) + 1)] == NUMBERS
    assert [path.name[:3] for path in down_files()] == NUMBERS[::-1]
    revisions = sorted((FOLDER / "versions").glob("*.py"))
    assert [path.stem for path in revisions] == [path.stem for path in up_files()]
    for up, down, revision in zip(up_files(), down_files()[::-1], revisions, strict=True):
        assert up.stem.split("_", 2)[2] == down.stem.split("_", 2)[2]
        names = re.findall(r'run\("(.+)"\)', revision.read_text(encoding="utf-8"))
        assert names == [up.stem, down.stem]


@pytest.mark.parametrize("file", up_files() + down_files(), ids=lambda path: path.stem)
def test_a_file_says_what_it_is_for_and_runs_anywhere(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("-- ")
    assert not re.search(r"(?mi)^\s*(\\|(begin|commit|rollback)\s*;)", text)


def test_every_index_names_its_query() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in up_files())
    indexes = re.findall(r"(?m)^(.*)\ncreate index", text)
    replaced = re.findall(r"(?m)^drop index", text)
    assert len(indexes) - len(replaced) == KEPT.count("CREATE INDEX")
    assert all(line.startswith("-- ") for line in indexes)


def test_ids_are_version_7_and_begin_with_the_time(empty_database: str) -> None:
    run_files(empty_database, up_files()[:1])
    with psycopg.connect(empty_database) as connection:
        rows = connection.execute("""
            select id, extract(epoch from earlier) * 1000, extract(epoch from clock_timestamp()) * 1000
            from (select clock_timestamp() as earlier, uuid_v7() as id from generate_series(1, 100)) as made
        """).fetchall()
    assert len({row[0] for row in rows}) == 100
    for made, earlier_ms, later_ms in rows:
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
        assert int(earlier_ms) <= made.int >> 80 <= later_ms
