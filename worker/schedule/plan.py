"""What one beat sends, and when it looks again. `now` is a monotonic time in seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from store.housekeeping.schedules import Due
from worker.schedule.schedules import Schedule

LONGEST_WAIT_S = 15.0  # a clock that was set, or a database that took another's place, is noticed after this time
SHORTEST_WAIT_S = 0.01
RAREST_RESEND_S = 3600.0  # a tick that fails all day is told of once an hour


@dataclass(frozen=True, slots=True)
class _Sent:
    """The last tick that was sent of a schedule: how often, and when last."""

    due_at: datetime
    at: float
    times: int


class Plan:
    """Remembers which tick of each schedule this beat has sent last, and when."""

    def __init__(self, schedules: Sequence[Schedule]) -> None:
        self.schedules = {schedule.name: schedule for schedule in schedules}
        self._sent: dict[str, _Sent] = {}

    def to_send(self, dues: Sequence[Due], *, now: float) -> list[Due]:
        """Those that are not done and that this beat has not sent lately."""
        return [due for due in dues if not due.is_done and self._resend_in_s(due, now) <= 0]

    def sent(self, due: Due, *, now: float) -> None:
        before = self._sent_before(due)
        self._sent[due.tick.name] = _Sent(due.tick.due_at, now, 1 if before is None else before.times + 1)

    def wait_s(self, dues: Sequence[Due], *, looked_at: float, now: float) -> float:
        """How long to wait until something is due, or due to be sent again."""
        moments = [looked_at + due.next_in_s - now for due in dues]
        moments += [self._resend_in_s(due, now) for due in dues if not due.is_done]
        return max(min([*moments, LONGEST_WAIT_S]), SHORTEST_WAIT_S)

    def _resend_in_s(self, due: Due, now: float) -> float:
        """Twice as long after each: its message may be lost, but a tick that keeps failing is no flood."""
        sent = self._sent_before(due)
        if sent is None:
            return 0.0
        resend_s = self.schedules[due.tick.name].resend_s * 2.0 ** min(sent.times - 1, 30)
        return sent.at + min(resend_s, RAREST_RESEND_S) - now

    def _sent_before(self, due: Due) -> _Sent | None:
        sent = self._sent.get(due.tick.name)
        return sent if sent is not None and sent.due_at == due.tick.due_at else None
