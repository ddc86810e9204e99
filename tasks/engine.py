"""What a task needs of the worker that runs it."""

from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeVar
from uuid import UUID

from store.write.apply import Limits
from store.write.progress import Suspects

T = TypeVar("T")


class Engine(Protocol):
    """A way to the database that knows when to leave it alone."""

    @property
    def limits(self) -> Limits: ...

    @property
    def suspects(self) -> Suspects:
        """Operations at which PostgreSQL failed while it took others."""
        ...

    def run(self, work: Callable[[Any], T]) -> T:
        """Call `work` with a connection in autocommit mode.

        Raises Outage when the database is away: the task gives its message back. Lost, HeldBack: see
        `tasks.settle.persevere`. Whatever else `work` raises comes through.
        """
        ...

    def state(self) -> dict[str, Any]:
        """How that way is: `breaker`, `pool` and more; plain values."""
        ...

    @property
    def settled_total(self) -> int:
        """Operations counted so far."""
        ...

    def settled(self, operations: int) -> None:
        """Count operations whose outcome is committed."""
        ...

    def deaths(self, task_id: str) -> int:
        """How many workers ended over this message, where it is known to be the reason; else 0."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the worker lives."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the worker is: long work ends at its next good place."""
        ...

    def published(self, event_ids: Collection[UUID]) -> set[UUID]:
        """Which of these committed events are on the bus, after waiting for them a little.

        Those that cannot be told of are left out; nothing is raised.
        """
        ...
