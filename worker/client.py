"""The client as the settings describe it, for every command that submits."""

from datetime import timedelta
from typing import Any

from omninode_bridge.client.client import FleetClient
from worker.settings import Settings


def client_of(settings: Settings, **options: Any) -> FleetClient:
    """A client with the fleet's settings; `options` win over them."""
    given = {
        "result_backend_url": settings.result_backend_url or None,
        "key_prefix": settings.broker_key_prefix,
        "max_pending": settings.client_max_pending,
        "linger": timedelta(milliseconds=settings.client_linger_ms),
        "batch_operations": settings.client_batch_operations,
        "batch_bytes": settings.client_batch_bytes,
    }
    return FleetClient(settings.broker_url, **given | options)
