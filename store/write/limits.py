"""What the fleet takes, and how it writes: settings as the store knows them."""

from dataclasses import dataclass, field
from datetime import timedelta

from store.write.liveness import Thresholds


@dataclass(frozen=True, slots=True)
class Limits:
    """What the fleet takes.

    future_limit         how far an operation's time may lie ahead of the database's clock
    horizon              how long the ledger remembers
    log_consumed_events  whether events that became operations are written to event_logs too
    environment          what announcements say where they come from
    liveness             how long a silent node counts as there
    """

    future_limit: timedelta = timedelta(hours=1)
    horizon: timedelta = timedelta(days=7)
    log_consumed_events: bool = True
    environment: str = "development"
    liveness: Thresholds = field(default_factory=Thresholds)
