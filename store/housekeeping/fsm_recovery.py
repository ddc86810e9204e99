"""FSM recovery: workflows that lag behind their transitions, and workflows that nobody has told of for long.

    behind   fsm_states proves more than the workflow's row says, and has for a while: the row is brought there
    idle     it has not ended, and nothing was heard of it for long: reported once; FAILED where a policy gives it up

Both are conclusions, not operations: their clocks lie below those of any reported end, so that whatever is really told
later still wins. To give up is a guess, and below what transitions prove too. See docs/convergence.md, "What the fleet
concludes".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from omninode_bridge.contract.enums import EnumFleetEvent
from store.database.statements import statements_beside
from store.housekeeping.job import Batch, Progress
from store.outbox import announcements, outbox

statement = statements_beside(__file__)

PORTION = 500  # workflows of one transaction: some 50 ms, in which their writers wait
MOST = 20_000  # workflows looked for at once; what is beyond waits for another look
STEPS = 20  # of the newest of a workflow: the one that came last is among them
EVERY_OTHER_TYPE = "*"


Finding = tuple[UUID, dict[str, Any]]  # a workflow, and what its event says


class Recovered(NamedTuple):
    """A workflow that was brought to what its transitions prove; `since` it was behind.

    from_state  FAILED of one that was given up
    """

    correlation_id: UUID
    workflow_type: str
    namespace: str
    from_state: str
    to_state: str
    transitioned_at: datetime
    since: datetime


class Stalled(NamedTuple):
    """A workflow that nothing was heard of since `last_activity_at`.

    is_new     it was not reported before
    last_step  step_name, step_order, status, created_at; None where it has none
    reason     why it is FAILED now; None where it stays in its state
    """

    correlation_id: UUID
    workflow_type: str
    namespace: str
    state: str
    last_activity_at: datetime
    is_new: bool
    last_step: dict[str, Any] | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class _Phase:
    """find  the statement that looks for workflows; settle, what is done to a portion of them"""

    find: str
    settle: Callable[[Connection[Any], Sequence[UUID], datetime], Batch]


class _Reached(NamedTuple):
    """What a run remembers from portion to portion.

    phase     the position of the one that is at work
    found     what is still to be settled there
    was_full  there may be more than was found, and what was found was not in vain
    """

    phase: int = 0
    found: tuple[UUID, ...] = ()
    was_full: bool = False


def policies(entries: Iterable[str]) -> dict[str, timedelta]:
    """Policies as settings have them, "type=seconds" each, by workflow type."""
    pairs = (entry.rpartition("=") for entry in entries)
    return {workflow_type: timedelta(seconds=int(seconds)) for workflow_type, _, seconds in pairs}


class Recovery:
    """A Job: recover what is behind, then report or fail what is idle. One object is one run.

    after          how long a workflow must have been behind
    stalled_after  how long nothing must have been heard of an open workflow before that is reported
    fails          by workflow type ("*": every other), after how long such a one is set to FAILED
    environment    of the events
    at             the instant at which it happens; None is the database's now
    """

    def __init__(
        self,
        *,
        after: timedelta,
        stalled_after: timedelta,
        fails: Mapping[str, timedelta],
        environment: str,
        at: datetime | None = None,
    ) -> None:
        named = {type_: limit for type_, limit in fails.items() if type_ != EVERY_OTHER_TYPE}
        self._behind = {"after": after}
        self._idle = {
            "after": stalled_after,
            "types": list(named),
            "limits": list(named.values()),
            "other": fails.get(EVERY_OTHER_TYPE),
        }
        self._environment = environment
        self._at = at
        self._phases = (_Phase("find_behind", self._recover), _Phase("find_idle", self._settle_idle))
        self._progress = Progress(_Reached())

    def __call__(self, conn: Connection[Any]) -> Batch:
        """Look for workflows, or settle a portion of those that were found."""
        at = self._progress.begin(conn, self._at)
        return self._settle(conn, at) if self._progress.reached.found else self._look(conn, at)

    def _settle(self, conn: Connection[Any], at: datetime) -> Batch:
        phase, found, was_full = self._progress.reached
        batch = self._phases[phase].settle(conn, list(found[:PORTION]), at)
        left, was_full = found[PORTION:], was_full and batch.rows > 0
        self._progress.reached = _Reached(phase if left or was_full else phase + 1, left, was_full)
        return Batch(batch.rows, more=self._progress.reached.phase < len(self._phases), counts=batch.counts)

    def _look(self, conn: Connection[Any], at: datetime) -> Batch:
        """Find what the first phase that has something to do is to be done to; nothing is touched yet."""
        for position in range(self._progress.reached.phase, len(self._phases)):
            found = self._find(conn, self._phases[position].find, at)
            if found:
                self._progress.reached = _Reached(position, found, was_full=len(found) == MOST)
                return Batch(0, more=True)
        return Batch(0, more=False)

    def _find(self, conn: Connection[Any], name: str, at: datetime) -> tuple[UUID, ...]:
        """Planned anew each time: how much of a table is to be read differs from run to run."""
        conn.execute(statement("plan_by_size"))
        given = self._behind if name == "find_behind" else self._idle
        found = conn.execute(statement(name), given | {"at": at, "rows_limit": MOST}, prepare=False)
        return tuple(correlation_id for (correlation_id,) in found)

    def _recover(self, conn: Connection[Any], ids: Sequence[UUID], at: datetime) -> Batch:
        found = conn.execute(statement("recover_workflows"), self._behind | {"ids": ids, "at": at})
        recovered = [Recovered(*row) for row in found]
        self._announce(conn, EnumFleetEvent.FSM_STATE_RECOVERED, (_recovered(one, at) for one in recovered), at)
        return Batch(len(recovered), more=True, counts={"recovered": len(recovered)})

    def _settle_idle(self, conn: Connection[Any], ids: Sequence[UUID], at: datetime) -> Batch:
        found = conn.execute(
            statement("settle_idle"), self._idle | {"ids": ids, "at": at, "steps_limit": STEPS}, prepare=False
        )
        stalled = [Stalled(*row) for row in found]
        self._announce(conn, EnumFleetEvent.WORKFLOW_STALLED, (_stalled(one, at) for one in stalled), at)
        counts = {
            "stalled": sum(one.is_new for one in stalled),
            "failed": sum(one.reason is not None for one in stalled),
        }
        return Batch(len(stalled), more=True, counts=counts)

    def _announce(self, conn: Connection[Any], event: EnumFleetEvent, found: Iterable[Finding], at: datetime) -> None:
        outbox.append(conn, announcements.of_findings(event, found, at=at, environment=self._environment))


def _recovered(one: Recovered, at: datetime) -> Finding:
    says = {
        "workflow_id": str(one.correlation_id),
        "workflow_type": one.workflow_type,
        "namespace": one.namespace,
        "from_state": one.from_state,
        "to_state": one.to_state,
        "transitioned_at": one.transitioned_at.isoformat(),
        "behind_s": (at - one.since).total_seconds(),
    }
    return one.correlation_id, says


def _stalled(one: Stalled, at: datetime) -> Finding:
    says: dict[str, Any] = {
        "workflow_id": str(one.correlation_id),
        "workflow_type": one.workflow_type,
        "namespace": one.namespace,
        "state": one.state,
        "idle_s": (at - one.last_activity_at).total_seconds(),
        "last_activity_at": one.last_activity_at.isoformat(),
        "last_step": one.last_step,
    }
    if one.reason is not None:
        says |= {"set_to": "FAILED", "reason": one.reason}
    return one.correlation_id, says
