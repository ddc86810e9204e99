"""A small world of bridge nodes that never stops: orchestrators and their workflows, reducers, heartbeats.

The same seed and start give the same operations, so whoever wants to know what was sent plays the world again instead
of keeping it. Everything in it has ids of its own: two worlds in one database do not touch. What happens is the
families' to say (store/write/play.py); when, and to whom, is said here.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from omninode_bridge.contract.clock import TIMELESS
from omninode_bridge.contract.operation import Operation
from omninode_bridge.contract.operation_types import OPERATION_CLASSES
from store.write.families import FAMILIES
from store.write.play import Data, InALife, Life, Play

UNPACED_PER_S = 50_000  # the world's own speed where nobody says one: sooner behind the real clock than ahead of it
WORKFLOWS_AT_ONCE = 64
DRAWERS = 48  # operations that lie about and come late
LATE_SHARE = 0.05
FAILED_SHARE = 0.12

_Thing = TypeVar("_Thing")
_Make = Callable[[Any], Operation]

_MICROSECOND = timedelta(microseconds=1)
# Version and variant of a UUID, and the bits that they leave free: many ids are made here, and this is the quick way.
_MARKS_4, _MARKS_7 = (4 << 76) | (2 << 62), (7 << 76) | (2 << 62)
_FREE_BITS_4 = ~((15 << 76) | (3 << 62)) & ((1 << 128) - 1)
_FREE_BITS_7 = _FREE_BITS_4 & ((1 << 80) - 1)

_NAMESPACES = ("omninode.services.metadata", "omninode.services.workflow", "tenant-a.production", "tenant-b.staging")

_PLAYS: list[tuple[_Make, Play]] = [
    (OPERATION_CLASSES[family.types[0]].__pydantic_validator__.validate_python, family.play)
    for family in FAMILIES
    if family.play is not None
]
# A workflow is told of first at its start and last at its end.
_STARTED: list[tuple[_Make, InALife]] = [(make, play.started) for make, play in _PLAYS if play.started is not None]
_STEPPED: list[tuple[_Make, InALife]] = [(make, play.stepped) for make, play in _PLAYS if play.stepped is not None]
_ENDED: list[tuple[_Make, InALife]] = [(make, play.ended) for make, play in reversed(_PLAYS) if play.ended is not None]


class _Beside(NamedTuple):
    """What happens beside workflows: while the draw is less than `below`."""

    below: float
    make: _Make
    data: Callable[[], Data]


class BridgeWorld(Iterator[Operation]):
    """An endless stream of operations.

    start       what the world's clock begins with
    rate_per_s  operations in a second of that clock, so that played at this rate the stream looks like now
    """

    # Producing shares its CPU with what is measured. So data goes in as a dict, which one validation turns into the
    # operation and all that is in it; and chances are `random()` times something, which is the cheapest draw.

    def __init__(self, seed: int, start: datetime, *, rate_per_s: float = UNPACED_PER_S) -> None:
        chance = random.Random(f"{seed} {start.isoformat()}")
        self.random, self.bits = chance.random, chance.getrandbits
        self._start = self.now = start
        self._start_us = (start - TIMELESS) // _MICROSECOND
        self._elapsed_us = 0.0
        self._id_base = 0  # of the ids made now: their time, version and variant
        self._step_us = 1_000_000 / rate_per_s
        self.session = self.key()
        self._beside = self._beside_workflows()
        self._workflows = [self._workflow() for _ in range(WORKFLOWS_AT_ONCE)]
        self._drawers: list[Operation | None] = [None] * DRAWERS

    def __next__(self) -> Operation:
        while True:
            operation = self._happening()
            if self.random() >= LATE_SHARE:
                return operation
            drawer = int(self.random() * DRAWERS)
            late, self._drawers[drawer] = self._drawers[drawer], operation
            if late is not None:
                return late

    def key(self) -> UUID:
        return UUID(int=(self.bits(128) & _FREE_BITS_4) | _MARKS_4)

    def one_of(self, things: Sequence[_Thing], /) -> _Thing:
        return things[int(self.random() * len(things))]

    def namespace(self) -> str:
        return self.one_of(_NAMESPACES)

    def _beside_workflows(self) -> list[_Beside]:
        beside: list[_Beside] = []
        below = 0.0
        for make, play in reversed(_PLAYS):
            if play.beside is not None:
                below += play.share
                beside.append(_Beside(below, make, play.beside(self)))
        return beside

    def _happening(self) -> Operation:
        """What happens next, somewhere."""
        self._elapsed_us += self._step_us
        elapsed_us = int(self._elapsed_us)
        self.now = self._start + timedelta(0, 0, elapsed_us)
        self._id_base = ((self._start_us + elapsed_us) // 1000 << 80) | _MARKS_7
        what = self.random()
        for below, make, data in self._beside:
            if what < below:
                told = data()
                return make({"operation_id": self._id(), "occurred_at": self.now, "data": told})
        which = int(self.random() * WORKFLOWS_AT_ONCE)
        operation = next(self._workflows[which], None)
        if operation is None:
            self._workflows[which] = self._workflow()
            operation = next(self._workflows[which])
        return operation

    def _workflow(self) -> Iterator[Operation]:
        """One workflow's life, an operation at a time."""
        life = Life(self.key(), self.namespace(), self.now)
        yield from self._told(_STARTED, life)
        life.steps = 2 + int(self.random() * 6)
        for order in range(life.steps):
            life.order = order
            yield from self._told(_STEPPED, life)
        life.failed = self.random() < FAILED_SHARE
        life.file_hash = f"{self.bits(256):064x}"
        yield from self._told(_ENDED, life)

    def _told(self, plays: Sequence[tuple[_Make, InALife]], life: Life) -> Iterator[Operation]:
        trace = life.workflow_id
        for make, tell in plays:
            for data in tell(self, life):
                yield make({"operation_id": self._id(), "occurred_at": self.now, "correlation_id": trace, "data": data})

    def _id(self) -> bytes:
        """An operation id as bytes, of which validation makes a UUID sooner than `UUID` itself does."""
        return (self._id_base | (self.bits(80) & _FREE_BITS_7)).to_bytes(16)
