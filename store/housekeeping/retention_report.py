"""What retention did to each table, or would do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

from psycopg import Connection

from store.database.instant import instant
from store.database.statements import statements_beside
from store.housekeeping.references import with_references
from store.housekeeping.retention import MOST_MOVED, DayLeft, KeepTimes, OldDay, bounds, first_id, left_days, old_days

statement = statements_beside(__file__)


@dataclass(slots=True)
class TableReport:
    """What retention did, or would do, to a table.

    days, size_bytes  partitions dropped
    rows              removed one by one
    moved             events that wait to go out, moved out of a day before it was dropped
    left              old days that stay, the oldest first; of a dry run those alone that do not stay for a lock
    kept              rows that are old and stay: why -> how many
    """

    table: str
    keep_days: int
    days: int = 0
    size_bytes: int = 0
    rows: int = 0
    moved: int = 0
    left: list[DayLeft] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)


def survey(conn: Connection[Any], keep: KeepTimes, *, at: datetime | None = None) -> list[TableReport]:
    """What a run would remove now, and what it would keep although it is old, and why; changes nothing.

    Counts every old row: on large tables it takes a while.
    """
    with conn.transaction():
        conn.execute("set local statement_timeout to 0")
        for method in ("seqscan", "hashjoin", "mergejoin"):
            conn.execute(f"set local enable_{method} to on".encode())
        at = at or instant(conn)
        reports = {table: TableReport(table, getattr(keep, table)) for table in KeepTimes.tables()}
        _survey_days(conn, old_days(conn, keep, at), reports)
        for table, kind, count in conn.execute(with_references(statement("survey_retention")), bounds(keep, at)):
            if kind == "rows":
                reports[table].rows = count
            elif count:
                reports[table].kept[kind] = reports[table].kept.get(kind, 0) + count
    return list(reports.values())


def _survey_days(conn: Connection[Any], days: Sequence[OldDay], reports: Mapping[str, TableReport]) -> None:
    for day in days:
        report = reports[day.table]
        waiting = _waiting(conn, day) if day.table == "event_logs" and not report.left else 0
        if waiting > MOST_MOVED:
            following = [one for one in days if one.table == day.table and one.day >= day.day]
            report.left = left_days(following, day.table, "events wait")
        if not report.left:
            report.days += 1
            report.size_bytes += day.size_bytes
            report.moved += waiting


def _waiting(conn: Connection[Any], day: OldDay) -> int:
    begins = datetime.combine(day.day, time(), UTC)
    given = {"first": first_id(begins), "end": first_id(begins + timedelta(days=1)), "rows_limit": MOST_MOVED + 1}
    row = conn.execute(statement("waiting_events"), given).fetchone()
    return int(row[0]) if row else 0


def reports_of(keep: KeepTimes, counts: Mapping[str, int], left: Sequence[DayLeft]) -> list[TableReport]:
    """What a run did, from the counts of its portions and the days that it has left."""
    return [
        TableReport(
            table,
            getattr(keep, table),
            days=counts.get(f"{table}.days", 0),
            size_bytes=counts.get(f"{table}.bytes", 0),
            rows=counts.get(f"{table}.rows", 0),
            moved=counts.get(f"{table}.moved", 0),
            left=[day for day in left if day.table == table],
        )
        for table in KeepTimes.tables()
    ]
