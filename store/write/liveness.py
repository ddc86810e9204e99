"""How long a silent node counts as there.

A node was heard of at the earlier of two instants: that which its last heartbeat gives, and that at which the
heartbeat came. So neither a clock that runs fast nor a heartbeat that was long on its way makes a node look more alive
than it is.
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Thresholds:
    """fresh_for   a node heard of within this time is FRESH
    dead_after  one not heard of for longer is DEAD; between the two it is STALE
    """

    fresh_for: timedelta = timedelta(seconds=60)
    dead_after: timedelta = timedelta(seconds=120)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.fresh_for < self.dead_after:
            raise ValueError("fresh_for must be more than nothing, and less than dead_after")

    def as_parameters(self) -> dict[str, timedelta]:
        """The same as parameters of a statement."""
        return {"fresh_for": self.fresh_for, "dead_after": self.dead_after}
