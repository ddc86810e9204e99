"""What a simulation plays of a family: plain functions, which whoever simulates calls with a world of its own.

A simulated workflow has a life: a start, some steps, an end. At each of these every family may say what it does then.
Nodes and bridges act beside that, each family with its share of all that happens.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

T = TypeVar("T")
Data = dict[str, Any]  # of an operation, before its validation


class World(Protocol):
    """The clock and the chance of a simulated world: the same for the same seed.

    random, bits  as `random` and `getrandbits` of random.Random
    """

    now: datetime
    session: UUID
    random: Callable[[], float]
    bits: Callable[[int], int]

    def key(self) -> UUID:
        """An id that no other world has."""
        ...

    def one_of(self, things: Sequence[T], /) -> T: ...

    def namespace(self) -> str: ...


@dataclass(slots=True)
class Life:
    """A simulated workflow, as far as it has come.

    order              of the step that ends now, from 0
    failed, file_hash  how it ends, and of what; known at its end
    """

    workflow_id: UUID
    namespace: str
    began: datetime
    steps: int = 0
    order: int = 0
    failed: bool = False
    file_hash: str = ""


InALife = Callable[[World, Life], Iterable[Data]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What simulated nodes do of a family; each function gives the data of operations of the family's first type.

    started, stepped, ended  what it does at a workflow's start, at each of its steps, and at its end
    share, beside            how much of all that happens it does beside workflows (0 to 1); and what makes the next
                             one, for a world that begins
    """

    started: InALife | None = None
    stepped: InALife | None = None
    ended: InALife | None = None
    share: float = 0.0
    beside: Callable[[World], Callable[[], Data]] | None = None
