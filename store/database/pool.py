"""A process's connections to PostgreSQL: one pool for all of its threads, opened in the process that uses it.

The time limits of a task live here, in PostgreSQL and in libpq: Celery's thread pool has none.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import Connection, OperationalError
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from store.database.errors import Outage, Unfit
from store.database.server import CLIENT, require_fit
from store.database.session import PREPARE_THRESHOLD, SESSION_SETTINGS, LimitedConnection, read_json

logger = logging.getLogger(__name__)
Conn = Connection[Any]  # for those who are handed one and know nothing of psycopg

IDLE_CHECK_S = 1.0  # a connection unused for this long is asked whether it still lives; a busy one shows it by itself
RECONNECT_S = 2.0  # then the pool gives up, and asks again when a connection is wanted
PROBE_TIMEOUT_S = 2.0
WARNING_INTERVAL_S = 60.0
RECOMMENDATION = "Consider increasing max_connections or investigating connection leaks"
_SET_CONFIG = "select set_config(t.name, t.value, false) from unnest(%s::text[], %s::text[]) as t(name, value)"
# What is confirmed must outlive the server. Where somebody asks for more than "on" (remote_apply), it stays so.
_COMMIT_DURABLY = (
    "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"
)


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """database_url  libpq URL; everything else in milliseconds, seconds or connections as named."""

    database_url: str
    application_name: str
    min_size: int = 1
    max_size: int = 8
    timeout_ms: int = 2000
    connect_timeout_s: float = 5.0
    statement_timeout_ms: int = 30000
    lock_timeout_ms: int = 2000
    idle_in_transaction_timeout_ms: int = 30000
    exhaustion_threshold_percent: float = 90.0

    def conninfo(self) -> str:
        return make_conninfo(
            self.database_url,
            application_name=self.application_name,
            connect_timeout=max(2, round(self.connect_timeout_s)),  # libpq takes whole seconds, from two
            keepalives=1,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=self.statement_timeout_ms,
            **CLIENT,
        )

    def session_settings(self) -> dict[str, str]:
        return SESSION_SETTINGS | {
            "statement_timeout": str(self.statement_timeout_ms),
            "lock_timeout": str(self.lock_timeout_ms),
            "idle_in_transaction_session_timeout": str(self.idle_in_transaction_timeout_ms),
        }


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """How full the pool is.

    pool_free                 connections that could be had now, those not yet opened among them
    requests_total            how often one was asked for, and `requests_waited` how often none was free
    exhaustion_warning_count  how often the use rose over the threshold
    """

    pool_size: int
    pool_free: int
    pool_max: int
    used_connections: int
    utilization_percent: float
    exhaustion_threshold_percent: float
    exhaustion_warning_count: int
    requests_total: int
    requests_waited: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class ExhaustionWatch:
    """Counts each time that the pool's use rises over a threshold, and says when a warning is due."""

    def __init__(self, threshold_percent: float, *, warning_interval_s: float = WARNING_INTERVAL_S) -> None:
        self.threshold_percent = threshold_percent
        self.crossings = 0
        self._above = False
        self._interval_s = warning_interval_s
        self._warned_at: float | None = None

    def use(self, percent: float, *, now: float) -> bool:
        """Note the pool's use; True when it should be logged now."""
        was_above, self._above = self._above, percent > self.threshold_percent
        if not self._above or was_above:
            return False
        self.crossings += 1
        if self._warned_at is not None and now - self._warned_at < self._interval_s:
            return False
        self._warned_at = now
        return True


@contextmanager
def lone_connection(config: PoolConfig) -> Iterator[Conn]:
    """A connection of its own, set up as the pool's are, for a process that holds locks or listens.

    Raises what psycopg raises, from connecting and from the block; Unfit.
    """
    with Connection.connect(config.conninfo(), autocommit=True, prepare_threshold=PREPARE_THRESHOLD) as conn:
        require_fit(conn, config.conninfo())
        _set_up(conn, config)
        yield conn


class Pool:
    """The connections. `open` in the process that uses them, `close` when it ends; both may be called again."""

    def __init__(self, config: PoolConfig) -> None:
        self.config = config
        self._pool: ConnectionPool[LimitedConnection] | None = None
        self._watch = ExhaustionWatch(config.exhaustion_threshold_percent)
        self._used = 0
        self._unfit: Unfit | None = None  # why the last new connection was of no use
        self._lock = threading.Lock()
        self._last_use: WeakKeyDictionary[Connection[Any], float] = WeakKeyDictionary()

    def open(self) -> None:
        """Start connecting in the background: a database that is away does not keep a worker from starting."""
        if self._pool is not None:
            return
        config = self.config
        self._pool = ConnectionPool(
            config.conninfo(),
            connection_class=LimitedConnection,
            kwargs={"autocommit": True, "prepare_threshold": PREPARE_THRESHOLD},
            min_size=config.min_size,
            max_size=config.max_size,
            timeout=config.timeout_ms / 1000,
            reconnect_timeout=RECONNECT_S,
            configure=self._configure,
            check=self._check,
            name="fleet",
            open=False,
        )
        self._pool.open(wait=False)

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(timeout=2)

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """A connection for one piece of work, in autocommit mode.

        Raises Outage when there is none within the pool's timeout.
        """
        pool = self._pool
        if pool is None:
            raise Outage("the connections to the database are not open")
        conn = self._take(pool, timeout_s=self.config.timeout_ms / 1000)
        try:
            yield conn
        finally:
            self._give_back(pool, conn)

    def probe(self) -> bool:
        """Whether the database answers, through the pool that will have to serve."""
        pool = self._pool
        if pool is None:
            return False
        try:
            conn = pool.getconn(timeout=PROBE_TIMEOUT_S)
            try:
                conn.execute("select 1")
            finally:
                pool.putconn(conn)
        except (PoolTimeout, PoolClosed, OperationalError):
            return False
        return True

    def statistics(self) -> PoolStatistics:
        counts = self._pool.get_stats() if self._pool is not None else {}
        size = int(counts.get("pool_size", 0))
        with self._lock:
            used = self._used
            crossings = self._watch.crossings
        return PoolStatistics(
            pool_size=max(size, used),
            pool_free=max(self.config.max_size - used, 0),
            pool_max=self.config.max_size,
            used_connections=used,
            utilization_percent=self._percent(used),
            exhaustion_threshold_percent=self.config.exhaustion_threshold_percent,
            exhaustion_warning_count=crossings,
            requests_total=int(counts.get("requests_num", 0)),
            requests_waited=int(counts.get("requests_queued", 0)),
        )

    def _take(self, pool: ConnectionPool[LimitedConnection], *, timeout_s: float) -> LimitedConnection:
        try:
            conn = pool.getconn(timeout=timeout_s)
        except (PoolTimeout, PoolClosed) as error:
            if self._unfit is not None:
                raise Unfit(self._unfit.message) from error
            raise Outage(f"no connection to the database within {timeout_s:g} s", error) from error
        with self._lock:
            self._used += 1
            warn = self._watch.use(self._percent(self._used), now=time.monotonic())
        if warn:
            self._log_exhaustion()
        return conn

    def _give_back(self, pool: ConnectionPool[LimitedConnection], conn: LimitedConnection) -> None:
        with self._lock:
            self._used -= 1
            self._watch.use(self._percent(self._used), now=time.monotonic())
        self._last_use[conn] = time.monotonic()
        pool.putconn(conn)

    def _configure(self, conn: LimitedConnection) -> None:
        try:
            require_fit(conn, self.config.conninfo())
        except Unfit as unfit:
            self._unfit = unfit
            raise
        self._unfit = None
        _set_up(conn, self.config)
        conn.statement_timeout_ms = self.config.statement_timeout_ms

    def _check(self, conn: Connection[Any]) -> None:
        last_use = self._last_use.get(conn)
        if last_use is None or time.monotonic() - last_use > IDLE_CHECK_S:
            ConnectionPool.check_connection(conn)

    def _percent(self, used: int) -> float:
        return round(100.0 * used / self.config.max_size, 1)

    def _log_exhaustion(self) -> None:
        now = self.statistics()
        fields = {
            "utilization_percent": now.utilization_percent,
            "used_connections": now.used_connections,
            "free_connections": now.pool_free,
            "pool_size": now.pool_size,
            "pool_max": now.pool_max,
            "threshold_percent": now.exhaustion_threshold_percent,
            "exhaustion_count": now.exhaustion_warning_count,
            "recommendation": RECOMMENDATION,
        }
        logger.warning("pool_exhaustion", extra={"fields": fields})


def _set_up(conn: Conn, config: PoolConfig) -> None:
    read_json(conn)
    settings = config.session_settings()
    conn.execute(_SET_CONFIG, (list(settings), list(settings.values())), prepare=False)
    conn.execute(_COMMIT_DURABLY, prepare=False)
