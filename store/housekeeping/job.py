"""What the fleet does for itself, in bounded portions: sweeping, recovering, removing.

A job is called again and again, each time in a transaction of its own, until it says that there is nothing more. What
it touches depends on what the rows say, not on what it did before: one that was killed is simply begun anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from psycopg import Connection

from store.database.statements import statements_beside

statement = statements_beside(__file__)

T = TypeVar("T")


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


class Progress(Generic[T]):
    """How far a run has come, from portion to portion: what a portion reached counts if its transaction was committed.

    The answer to a commit can be lost, so the database is asked for what became of that transaction.

    reached  where the next portion begins; the portion sets it to where it ends
    """

    def __init__(self, start: T) -> None:
        self.reached = start
        self._last: tuple[str, T] | None = None  # the last portion's transaction, and where it began

    def begin(self, conn: Connection[Any], at: datetime | None) -> datetime:
        """Begin a portion, in its transaction; the instant by which it judges: `at`, or the database's now."""
        asked = {"at": at, "last": self._last[0] if self._last else None}
        row = conn.execute(statement("begin_portion"), asked).fetchone()
        assert row is not None
        self._take_back_unless(row[2])
        self._last = (row[1], self.reached)
        moment: datetime = row[0]
        return moment

    def settle(self, conn: Connection[Any]) -> None:
        """Go back to where the last portion began, if its transaction was not committed. Between two portions."""
        if self._last is not None:
            row = conn.execute(statement("was_committed"), {"transaction": self._last[0]}).fetchone()
            assert row is not None
            self._take_back_unless(row[0])

    def _take_back_unless(self, is_committed: bool) -> None:
        if self._last is not None and not is_committed:
            self.reached = self._last[1]
        self._last = None
