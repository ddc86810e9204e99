"""What became of one operation."""

from typing import Any, Literal, NamedTuple
from uuid import UUID

Status = Literal["applied", "duplicate", "refused"]


class Outcome(NamedTuple):
    """One operation's end: committed now, committed before, or kept as a dead letter.

    `applied` and `duplicate` both mean that the effect is in the database, once. A `refused` one has a code of
    `EnumCoreErrorCode` and a message that names the field; its payload is kept in `dead_letters`.
    `detail` is what an intent's answer tells beyond that: whether its event is on the bus, what was recovered. Of a
    database operation it is the whole answer; a refused one is no dead letter, because its caller has it.
    """

    operation_id: UUID
    status: Status
    code: str | None = None
    message: str | None = None
    detail: dict[str, Any] | None = None

    @property
    def committed(self) -> bool:
        return self.status != "refused"
