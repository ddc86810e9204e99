"""The sweep of stale heartbeats: notes which nodes fell silent or came back, and tells the bus once of each change.

    liveness            what the node's silence means: set by each heartbeat for the moment of its arrival, and here
    liveness_announced  what the bus was told last: set here alone, in the transaction of the event

So a heartbeat brings a node back at once, and the next sweep says so. Two sweeps, or a sweep that was killed and is
begun anew, find nothing left to tell. What the node reported, its row_version and updated_at stay as they are.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from omninode_bridge.contract.enums import EnumFleetEvent, EnumLiveness
from store.database.bounded_read import walk_in_order
from store.database.statements import statements_beside
from store.housekeeping.job import Batch, Progress
from store.outbox import outbox
from store.outbox.announcements import of_findings
from store.write.liveness import Thresholds

statement = statements_beside(__file__)

PORTION_ROWS = 1000  # nodes changed in one transaction, so that heartbeats wait for milliseconds only
_COUNTED = {EnumLiveness.STALE: "stale", EnumLiveness.DEAD: "dead", EnumLiveness.FRESH: "back"}


class _Found(NamedTuple):
    """A node whose row was changed; `age_s` seconds since it was heard of, `last` the last node_id of the portion."""

    node_id: str
    node_type: str
    namespace: str | None
    last_heartbeat: datetime | None
    old: str
    new: str
    old_health: str
    new_health: str
    age_s: float
    last: str


class Sweep:
    """A job: each portion is of at most `PORTION_ROWS` nodes that changed, in the order of their ids.

    at  stands for the database's clock

    It goes on behind the portion before only where that was committed. Nodes that are deregistered, or that somebody
    has locked just now, are left as they are.
    """

    def __init__(self, thresholds: Thresholds, *, environment: str, at: datetime | None = None) -> None:
        self._thresholds = thresholds
        self._environment = environment
        self._at = at
        self._progress = Progress("")  # the node_id behind which the next portion begins

    def __call__(self, conn: Connection[Any]) -> Batch:
        # A parameter and no part of the statement: PostgreSQL writes node_liveness out for parameters only.
        at = self._progress.begin(conn, self._at)
        walk_in_order(conn)
        parameters = {
            "at": at,
            "after": self._progress.reached,
            "rows_limit": PORTION_ROWS,
            **self._thresholds.as_parameters(),
        }
        found = [_Found(*row) for row in conn.execute(statement("sweep_nodes"), parameters).fetchall()]
        more = len(found) == PORTION_ROWS
        self._progress.reached = found[0].last if more else ""
        changed = [node for node in found if node.old != node.new]
        told = ((node.node_id, _payload(node)) for node in changed)
        event = EnumFleetEvent.NODE_HEALTH_CHANGED
        outbox.append(conn, of_findings(event, told, at=at, environment=self._environment))
        return Batch(len(found), more, _counts(changed))


def _payload(node: _Found) -> dict[str, Any]:
    told = node._asdict()
    del told["last"]
    if node.last_heartbeat is not None:
        told["last_heartbeat"] = node.last_heartbeat.isoformat()
    return told


def _counts(changed: Iterable[_Found]) -> dict[str, int]:
    counts = dict.fromkeys(_COUNTED.values(), 0)
    for node in changed:
        counts[_COUNTED[EnumLiveness(node.new)]] += 1
    return counts
