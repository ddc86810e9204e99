"""What the fleet does for itself, in bounded portions: sweeping, recovering, removing.

A job is called again and again, each time in a transaction of its own, until it says that there is nothing more. What
it touches depends on what the rows say, not on what it did before: one that was killed is simply begun anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from psycopg import Connection


@dataclass(frozen=True, slots=True)
class Batch:
    """What one portion did.

    rows    it touched
    more    whether there is another portion
    counts  of what it did, by kind; they are added up over the portions
    rest_s  seconds to leave the database alone before the next
    """

    rows: int
    more: bool
    counts: Mapping[str, int] = field(default_factory=dict)
    rest_s: float = 0.0


# Does one portion in the caller's open transaction. Raises what psycopg raises; then nothing of the portion stays.
Job = Callable[[Connection[Any]], Batch]


@runtime_checkable
class Aside(Protocol):
    """A job with something to do that must not wait for its client while it holds locks: a drop, say."""

    def aside(self, conn: Connection[Any]) -> None:
        """Called once before each portion, in autocommit mode: one statement is one transaction, which ends on the
        server whether the client still lives or not.

        What it did is told by the counts of the portion that follows. Where the run dies in between, the effect stands
        and its counts are lost. Raises what psycopg raises; contention is run again.
        """
        ...
