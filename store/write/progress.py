"""How far a batch is, on its way through `store.write.apply`: what is settled, what is still to be tried, and how."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from uuid import UUID

from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.wire import Item
from store.write.canary import kind_of

SUSPECTS = 1000  # ids that a process remembers

Part = list[int]  # positions in the batch


class Suspects:
    """Ids that failed alone in this process: the newest of them. Used by many threads."""

    def __init__(self, most: int = SUSPECTS) -> None:
        self._ids: OrderedDict[UUID, None] = OrderedDict()
        self._most = most

    def add(self, operation_ids: Iterable[UUID]) -> None:
        for id_ in operation_ids:
            self._ids[id_] = None
        while len(self._ids) > self._most:
            self._ids.popitem(last=False)

    def discard(self, operation_id: UUID) -> None:
        self._ids.pop(operation_id, None)

    def __contains__(self, operation_id: UUID) -> bool:
        return operation_id in self._ids

    def __bool__(self) -> bool:
        return bool(self._ids)


class Progress:
    """Of one batch; whoever calls `apply` again with it goes on where that one stopped.

    whole     the outcomes of a batch that was committed as one
    outcomes  by position
    parts     what is to be tried, each in a transaction of its own, in this order
    alone     what failed by itself since it was last judged, with what was said of it
    defects   what met a defect of ours by itself
    taken     kinds of which a row was committed since then
    singling  whether a part has failed in a way that may be one row's
    doubt     why it has to be asked first whether any row is taken
    slow      whether such a row keeps others waiting: then trials are given little time
    """

    def __init__(self, batch: Sequence[Item], suspects: Suspects | None = None) -> None:
        self.items = list(batch)
        self.suspects = Suspects() if suspects is None else suspects
        self.outcomes: dict[int, Outcome] = {}
        self.parts: deque[Part] = deque()
        self.alone: dict[int, Exception] = {}
        self.defects: dict[int, BaseException] = {}
        self.taken: set[str] = set()
        self.whole: list[Outcome] | None = None
        self.singling = False
        self.slow = False
        self.doubt: Exception | None = None
        self._broke = False
        positions = list(range(len(self.items)))
        if self.suspects:
            self.take_alone({item.operation_id for item in self.items if item.operation_id in self.suspects}, positions)
        else:
            self.parts.append(positions)

    def take_alone(self, suspected: set[UUID], part: Part) -> bool:
        """Put a part in front, those suspected each by itself behind the others; whether there were any."""
        alone = [n for n in part if self.items[n].operation_id in suspected]
        others = [n for n in part if self.items[n].operation_id not in suspected]
        self.parts.extendleft(reversed([*([others] if others else []), *([n] for n in alone)]))
        return bool(alone)

    def settled(self, part: Part, outcomes: list[Outcome]) -> None:
        """The part in front was committed."""
        self.parts.popleft()
        if len(part) == len(self.items):
            self.whole = outcomes
            return
        for position, outcome in zip(part, outcomes, strict=True):
            self.outcomes[position] = outcome
            self.suspects.discard(outcome.operation_id)
            if self.singling and outcome.status == "applied":
                self.taken.add(kind_of(self.items[position]))

    def halve(self, part: Part) -> None:
        """Try the part in front as two."""
        self.parts.popleft()
        middle = len(part) // 2
        self.parts.extendleft((part[middle:], part[:middle]))

    def failed_alone(self, position: int, error: Exception) -> None:
        """The part in front is that one item."""
        self.parts.popleft()
        self.alone[position] = error

    def broke(self, part: Part, error: Exception) -> None:
        """The connection broke over the part in front: once that is chance; from then on it is looked into."""
        if not self._broke and not self.singling:
            self._broke = True
            return
        if not self.singling:
            self.doubt = error
        self.singling = True
        if len(part) > 1:
            self.halve(part)
        else:
            self.failed_alone(part[0], error)

    def waits(self, kind: str) -> bool:
        """Whether anything of that kind is still to be tried."""
        return any(kind in self.kinds(part) for part in self.parts)

    def bar(self, kind: str, error: Exception) -> None:
        """Every row of that kind fails: what is still to be tried of it has failed alone, untried."""
        parts, self.parts = self.parts, deque()
        for part in parts:
            barred = [n for n in part if kind_of(self.items[n]) == kind]
            self.alone |= dict.fromkeys(barred, error)
            if rest := [n for n in part if n not in barred]:
                self.parts.append(rest)

    def try_alone_again(self) -> dict[int, Exception]:
        """What failed alone is to be tried once more. Returns it."""
        failed, self.alone = self.alone, {}
        self.parts.extend([n] for n in failed)
        self.taken.clear()
        return failed

    def set_aside(self, position: int, outcome: Outcome) -> None:
        """An item is not to be tried once more."""
        self.parts.remove([position])
        self.outcomes[position] = outcome
        self.suspects.discard(outcome.operation_id)

    def kinds(self, positions: Iterable[int]) -> list[str]:
        return [kind_of(self.items[n]) for n in positions]
