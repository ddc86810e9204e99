"""What the settings say of the way to the database, and of what is taken there, for every process that has one."""

from datetime import timedelta

from store.database.breaker import BreakerConfig
from store.database.pool import PoolConfig
from store.write.batch import Limits
from store.write.liveness import Thresholds
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


def limits(settings: Settings) -> Limits:
    return Limits(
        future_limit=timedelta(seconds=settings.future_limit_s),
        horizon=timedelta(days=settings.ledger_horizon_days),
        log_consumed_events=settings.log_consumed_events,
        environment=settings.environment,
        liveness=thresholds(settings),
    )


def thresholds(settings: Settings) -> Thresholds:
    return Thresholds(
        fresh_for=timedelta(seconds=settings.heartbeat_fresh_s), dead_after=timedelta(seconds=settings.heartbeat_dead_s)
    )
