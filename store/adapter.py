"""The adapter of those who have a database: operations are carried out here, on a pool of its own."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid, quoted
from omninode_bridge.persistence.adapter import TIMEOUT_S, DatabaseAdapter
from store.database.breaker import Breaker, BreakerConfig
from store.database.guard import Guard
from store.database.health import health
from store.database.pool import Pool, PoolConfig
from store.generic import carry_out
from store.write.apply import Limits

T = TypeVar("T")

POOL_SIZE = 20
MAX_POOL_SIZE = 1000
WARM_CONNECTIONS = 2  # open from the start; the others come as they are needed
HOLD_S = 0.5  # how long an operation waits for the breaker: others are just trying whether the database is back
_LIBPQ_NAMES = {"host": "host", "port": "port", "database": "dbname", "user": "user", "password": "password"}


class RegistryBridgeDatabaseAdapter:
    """What the adapter needs: where the database is, and how to use it.

    config   host, port, database, user, password - or database_url in their place; pool_size, 20 when not given.
             Of what is missing libpq takes its own default
    breaker  when to leave the database alone
    limits   of operations' times, and of a node's silence: without them it is FRESH for 60 s, and DEAD after 120 s

    Raises OnexError VALIDATION_ERROR for a key that is unknown or wrong, by name.
    """

    def __init__(
        self, config: Mapping[str, Any], *, breaker: BreakerConfig | None = None, limits: Limits | None = None
    ) -> None:
        unknown = sorted(set(config) - {*_LIBPQ_NAMES, "database_url", "pool_size"})
        if unknown:
            raise invalid(f"config: {', '.join(map(quoted, unknown))} unknown")
        pool_size = _whole(config, "pool_size", POOL_SIZE, most=MAX_POOL_SIZE)
        self.pool_config = PoolConfig(
            database_url=_conninfo(config),
            application_name="omninode-bridge-adapter",
            min_size=min(WARM_CONNECTIONS, pool_size),
            max_size=pool_size,
            statement_timeout_ms=carry_out.TIMEOUT_MS,
        )
        self.breaker_config = breaker or BreakerConfig()
        self.limits = limits or Limits()

    def guard(self) -> Guard:
        """A new way to the database; nothing is opened yet."""
        return Guard(pool=Pool(self.pool_config), breaker=Breaker(self.breaker_config, now=time.monotonic()))

    def __repr__(self) -> str:
        return f"<RegistryBridgeDatabaseAdapter pool_size={self.pool_config.max_size}>"


class NodeBridgeDatabaseAdapterEffect(DatabaseAdapter):
    """Carries operations out on its own connections. Any number of tasks and event loops may use one at the same time.

    registry   what it needs, or the registry's config
    timeout_s  how long one operation waits for its answer; what is not answered then is TIMEOUT and may still happen

    Outages open a breaker, and only they: from then on operations are answered SERVICE_UNAVAILABLE at once, and the
    first of them in every second asks the database whether it is back. The connections are opened by the first
    operation, or by `initialize`.
    """

    def __init__(
        self, registry: RegistryBridgeDatabaseAdapter | Mapping[str, Any], *, timeout_s: float = TIMEOUT_S
    ) -> None:
        if timeout_s <= 0:
            raise invalid("timeout_s: not positive")
        super().__init__()
        if not isinstance(registry, RegistryBridgeDatabaseAdapter):
            registry = RegistryBridgeDatabaseAdapter(registry)
        self._registry = registry
        self._timeout_s = timeout_s
        self._guard = self._registry.guard()
        # A thread for each connection: more would only wait for one.
        self._threads = ThreadPoolExecutor(self._registry.pool_config.max_size, thread_name_prefix="database-adapter")
        # One more to ask for the health: it must not queue up behind work that waits for locks.
        self._health_thread = ThreadPoolExecutor(1, thread_name_prefix="database-adapter-health")
        self._opening = threading.Lock()
        self._opened = self._closed = False

    async def get_metrics(self) -> dict[str, Any]:
        state = self._guard.state()
        pool, breaker = state["pool"], state["breaker"]
        asked = pool["requests_total"]
        return await super().get_metrics() | {
            "pool_efficiency": 1.0 - pool["requests_waited"] / asked if asked else 1.0,
            "circuit_breaker": {
                "initialized": True,
                "current_state": breaker["state"].upper(),
                "state_duration_seconds": breaker["seconds_in_state"],
                "opened_count": breaker["opened_count"],
            },
        }

    async def shutdown(self) -> None:
        """Take no more operations, let those that run end, and close the connections. A second call does nothing."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._health_thread.shutdown)
        await asyncio.to_thread(self._guard.close)

    def __repr__(self) -> str:
        return f"<NodeBridgeDatabaseAdapterEffect {self._registry!r}>"

    # ---- inside -----------------------------------------------------------------------------------------------------

    async def _answer(self, request: Mapping[str, Any], operation_id: UUID) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._in_thread(self._threads, lambda: self._carry_out(request, operation_id))
        except TimeoutError:
            message = f"operation: not answered within {self._timeout_s:g} s; it may still be carried out"
            raise OnexError(EnumCoreErrorCode.TIMEOUT, message) from None

    async def _in_thread(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise OnexError(EnumCoreErrorCode.SERVICE_UNAVAILABLE, "adapter: shut down")
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def _carry_out(self, request: Mapping[str, Any], operation_id: UUID) -> dict[str, Any]:
        limits = self._registry.limits
        return self._run(lambda conn: carry_out.carry_out(conn, request, operation_id=operation_id, limits=limits))

    async def _health(self, correlation_id: str) -> dict[str, Any]:
        return await self._in_thread(
            self._health_thread,
            lambda: health(self._run, self._state, uptime_s=self._uptime_s(), correlation_id=correlation_id),
        )

    def _state(self) -> dict[str, Any]:
        return self._guard.state()

    def _run(self, work: Callable[[Any], T]) -> T:
        self._open_once()
        self._guard.probe()
        return self._guard.run(work, hold_s=HOLD_S)

    def _open_once(self) -> None:
        with self._opening:
            if not self._opened:
                self._opened = True
                self._guard.open()


def _conninfo(config: Mapping[str, Any]) -> str:
    """Raises OnexError VALIDATION_ERROR; nothing of a password is ever in it."""
    given = {name: config[name] for name in _LIBPQ_NAMES if config.get(name) is not None}
    url = config.get("database_url")
    if url is None:
        if "port" in given:
            given["port"] = str(_whole(given, "port", 0, most=65535))
        return make_conninfo("", **{_LIBPQ_NAMES[name]: _text(name, value) for name, value in given.items()})
    if given:
        raise invalid(f"config: database_url says what {', '.join(given)} would")
    if not _text("database_url", url).startswith(("postgresql://", "postgres://")):
        raise invalid("database_url: not postgresql://...")
    try:
        return make_conninfo(url)
    except ProgrammingError:
        raise invalid("database_url: libpq cannot read it") from None


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise invalid(f"{name}: not a text")
    return value


def _whole(config: Mapping[str, Any], name: str, default: int, *, most: int) -> int:
    value = config.get(name, default)
    if type(value) is not int or not 1 <= value <= most:
        raise invalid(f"{name}: not a number from 1 to {most}")
    return value
