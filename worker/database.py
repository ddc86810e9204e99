"""What the settings say of the way to the database, for every process that has one."""

from store.breaker import BreakerConfig
from store.pool import PoolConfig
from worker.settings import Settings


def pool_config(settings: Settings, application_name: str) -> PoolConfig:
    """Who holds one connection alone has no use for the sizes."""
    return PoolConfig(
        database_url=settings.database_url,
        application_name=application_name,
        min_size=settings.pool_min_size,
        max_size=settings.pool_max_size,
        timeout_ms=settings.pool_timeout_ms,
        connect_timeout_s=settings.connect_timeout_s,
        statement_timeout_ms=settings.statement_timeout_ms,
        lock_timeout_ms=settings.lock_timeout_ms,
        idle_in_transaction_timeout_ms=settings.idle_in_transaction_timeout_ms,
        exhaustion_threshold_percent=settings.pool_exhaustion_percent,
    )


def breaker_config(settings: Settings) -> BreakerConfig:
    return BreakerConfig(
        failure_threshold=settings.breaker_failure_threshold,
        window_s=settings.breaker_window_s,
        open_s=settings.breaker_open_s,
        probe_interval_s=settings.breaker_probe_interval_s,
        half_open_max_calls=settings.breaker_half_open_max_calls,
        half_open_successes=settings.breaker_half_open_successes,
    )
