"""What the database can tell of the fleet's work."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from store.database.statements import statements_beside
from store.housekeeping import alerts, partitions
from store.housekeeping.alerts import Alert
from store.housekeeping.retention import KeepTimes
from store.housekeeping.schedules import Grid
from store.outbox import outbox
from store.outbox.outbox import OutboxDepth

statement = statements_beside(__file__)


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """The ledger's last seconds.

    outcomes      (outcome, code or "") -> operations claimed in the window
    by_type       operation type -> operations claimed in the window
    rate_per_s    operations claimed a second, over the window
    """

    window_s: float
    outcomes: dict[tuple[str, str], int]
    by_type: dict[str, int]
    rate_per_s: float


@dataclass(frozen=True, slots=True)
class OpenLetters:
    """Dead letters of one code that wait for somebody."""

    code: str
    letters: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Ledger, dead letters, outbox, sizes, alerts. `default_rows`: rows outside every day's partition, per table."""

    server_version: str
    ledger: LedgerStatus
    open_letters: list[OpenLetters]
    outbox: OutboxDepth
    estimated_rows: dict[str, int]
    default_rows: dict[str, int]
    alerts: list[Alert]


def read(
    conn: Connection[Any],
    *,
    keep: KeepTimes,
    grids: Sequence[Grid] = (),
    window_s: float = 10.0,
    days_ahead: int = 3,
    rows_limit: int = 1000,
) -> StoreStatus:
    """The store's status over the last `window_s` seconds. The rest is for housekeeping/alerts.py."""
    version = conn.info.parameter_status("server_version") or "unknown"
    letters = [OpenLetters(*row) for row in conn.execute(statement("open_dead_letters"))]
    estimates = {str(name): int(count) for name, count in conn.execute(statement("rows_per_table"))}
    return StoreStatus(
        server_version=version,
        ledger=_ledger(conn, window_s),
        open_letters=letters,
        outbox=outbox.depth(conn),
        estimated_rows=estimates,
        default_rows=partitions.default_rows(conn),
        alerts=alerts.read(conn, days_ahead=days_ahead, rows_limit=rows_limit, keep=keep, grids=grids),
    )


def _ledger(conn: Connection[Any], window_s: float) -> LedgerStatus:
    outcomes: dict[tuple[str, str], int] = {}
    by_type: dict[str, int] = {}
    for outcome, code, kind, count in conn.execute(statement("outcomes_lately"), {"seconds": window_s}):
        outcomes[outcome, code] = outcomes.get((outcome, code), 0) + count
        by_type[kind] = by_type.get(kind, 0) + count
    return LedgerStatus(window_s, outcomes, by_type, sum(by_type.values()) / window_s)
