"""How far a consumer may say that it is done: of each partition, the records before the first that is not confirmed.

Confirmations come in any order; a commit says "everything up to here". So each partition's records wait in the order in
which they were read, and only the done ones at its head may be committed.

    delivered ---done---> confirmed ---at the head, and committed---> released
        \\---forget---> lost ---done---> released        the partition went to another member of the group

Pure, and used by one thread.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from worker.bus import BusRecord, Partition


@dataclass(slots=True, eq=False)
class Ticket:
    """One record on its way."""

    record: BusRecord
    is_done: bool = False
    is_lost: bool = False

    @property
    def byte_count(self) -> int:
        return len(self.record.value or b"")


class Prefix:
    """The records that a consumer has under way.

    count, byte_count  those read and not released; a lost one counts until it is done, since until then it takes room
    unconfirmed        those of them that are not done
    """

    def __init__(self) -> None:
        self.count = self.byte_count = self.unconfirmed = 0
        self._partitions: dict[Partition, deque[Ticket]] = {}

    def delivered(self, record: BusRecord) -> Ticket:
        """The next record of its partition was read."""
        ticket = Ticket(record)
        self._partitions.setdefault(record.place, deque()).append(ticket)
        self.count += 1
        self.byte_count += ticket.byte_count
        self.unconfirmed += 1
        return ticket

    def done(self, ticket: Ticket) -> None:
        """Nothing more is to be done for it. A second time changes nothing."""
        if ticket.is_done:
            return
        ticket.is_done = True
        self.unconfirmed -= 1
        if ticket.is_lost:
            self._release(ticket)

    def is_waiting(self, places: Iterable[Partition]) -> bool:
        """Whether something in these partitions is not done."""
        return any(not ticket.is_done for place in places for ticket in self._partitions.get(place, ()))

    def committable(self, places: Iterable[Partition] | None = None) -> list[BusRecord]:
        """What may be committed, of these partitions or of all, each partition's in its order."""
        queues = self._queues(self._partitions if places is None else places)
        return [ticket.record for queue in queues for ticket in takewhile(lambda ticket: ticket.is_done, queue)]

    def committed(self, records: Sequence[BusRecord]) -> None:
        """What `committable` gave has been committed."""
        for record in records:
            self._release(self._partitions[record.place].popleft())

    def forget(self, places: Collection[Partition]) -> None:
        """These partitions are another member's: what is done of them is not committed here any more."""
        for place in places:
            for ticket in self._partitions.pop(place, ()):
                ticket.is_lost = True
                if ticket.is_done:
                    self._release(ticket)

    def _queues(self, places: Iterable[Partition]) -> Iterator[deque[Ticket]]:
        return (self._partitions[place] for place in places if place in self._partitions)

    def _release(self, ticket: Ticket) -> None:
        self.count -= 1
        self.byte_count -= ticket.byte_count
