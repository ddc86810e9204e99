"""Clients of the tests: hasty ones, and something for them to submit."""

from typing import Any

from omninode_bridge import FleetClient, NodeHeartbeatData
from omninode_bridge.client.backoff import Backoff
from omninode_bridge.client.dispatch import Pace

HASTY = Pace(sweep_s=0.1, listen_s=0.05, hold_s=0.1, reconnect=Backoff(first_s=0.02, most_s=0.1))
SOON = Backoff(first_s=0.2, most_s=5)


def client_of(url: str, **options: Any) -> FleetClient:
    hasty: dict[str, Any] = {"_pace": HASTY, "_resend": SOON}
    return FleetClient(url, **hasty | options)


def heartbeat(number: int = 0) -> NodeHeartbeatData:
    return NodeHeartbeatData(node_id=f"node-{number}", health_status="HEALTHY")
