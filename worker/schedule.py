"""What beat sends, and when. Each message expires before the next is due, so that none pile up without workers."""

from typing import Any

from omninode_bridge.broker import ENSURE_PARTITIONS_TASK, HOUSEKEEPING_QUEUE

HOUR_S = 3600.0


def beat_schedule() -> dict[str, dict[str, Any]]:
    return {"ensure-partitions": _every(HOUR_S, ENSURE_PARTITIONS_TASK)}


def _every(seconds: float, task: str) -> dict[str, Any]:
    return {
        "task": task,
        "schedule": seconds,
        "options": {"queue": HOUSEKEEPING_QUEUE, "expires": seconds * 0.9, "ignore_result": True},
    }
