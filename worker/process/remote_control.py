"""What a worker answers when `fleet status` asks it how it is."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

from celery.worker.control import inspect_command

from omninode_bridge.client.broker import FLEET_STATE_COMMAND
from worker.incoming.unreadable import tally


@inspect_command(name=FLEET_STATE_COMMAND)  # type: ignore[untyped-decorator]  # celery has no types
def fleet_state(state: Any, **_: Any) -> dict[str, Any]:
    """Breaker, pool, whether it takes messages, its rate, its process."""
    consumer = state.consumer
    return {
        **state.app.gate.state(),
        "queues": sorted(queue.name for queue in consumer.task_consumer.queues) if consumer.task_consumer else [],
        "threads": consumer.pool.num_processes,
        "pid": os.getpid(),
        "rss_bytes": rss_bytes(),
        "unreadable_total": tally.total,
    }


def rss_bytes() -> int:
    """The memory that this process holds now; where the platform only tells the peak, that."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
