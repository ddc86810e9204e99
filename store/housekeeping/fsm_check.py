"""Whether fsm_states is what fsm_transitions says, and how to make it so.

Machines are gone through in the order of their keys, a portion at a time. A check reads each portion at one moment; a
rebuild holds it, in two transactions: made and locked in one, rows would be held in two orders.

    open -> rebuild    a row for every machine that has none, so that there is something to wait for
    lock -> rebuild    those that stand: wait for whoever has added a transition that is not committed yet

The rebuilding is a statement of its own, so it sees all that was committed before its rows were held. Whoever adds a
transition afterwards waits for us, and adds it to what was rebuilt.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg import Connection

from store.database.statements import statements_beside
from store.write.apply import again

statement = statements_beside(__file__)

PORTION = 2_000  # machines; a rebuild keeps their writers waiting

Kind = Literal["missing", "surplus", "differs", "behind"]
Done = Literal["rebuilt", "deleted", "left"]
_BEFORE_ALL = ("", UUID(int=0))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a machine stands, by its row or by its transitions."""

    state: str
    previous_state: str | None
    last_transition_at: datetime
    transitions: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A machine whose state is not what its transitions say.

    missing  it has transitions and no state
    surplus  it has a state, and none of its transitions is there, though none of their days was dropped
    differs  all of its transitions are there, and say something else
    behind   its oldest transitions may be gone, and those that are there say more than the state
    """

    entity_type: str
    entity_id: UUID
    kind: Kind
    state: Standing | None
    transitions: Standing | None


class Rebuilt(NamedTuple):
    """A machine whose state was not what its transitions say; where it has none, its state was deleted or left."""

    entity_type: str
    entity_id: UUID
    done: Done


def differences(conn: Connection[Any]) -> Iterator[Difference]:
    """Every machine whose state is not what its transitions say, by key; `conn` is in autocommit mode."""
    for portion in _portions(conn):
        for entity_type, entity_id, kind, *standings in conn.execute(statement("check_fsm_states"), portion):
            yield Difference(entity_type, entity_id, kind, _standing(*standings[:4]), _standing(*standings[4:]))


def rebuild(conn: Connection[Any], *, delete_surplus: bool = False) -> Iterator[Rebuilt]:
    """Make the states what the transitions say; what was changed, by key, portion by portion as each is committed.

    delete_surplus  states without any transition go too; without it they are left, and named

    `conn` is in autocommit mode. May run beside writers, which wait for a portion at most.
    """
    for portion in _portions(conn):
        for hold, opened in (("open_fsm_states", True), ("lock_fsm_states", False)):
            given = portion | {"opened": opened, "delete_surplus": delete_surplus}
            yield from again(partial(_rebuild, conn, hold, given))


def _rebuild(conn: Connection[Any], hold: str, portion: dict[str, Any]) -> list[Rebuilt]:
    with conn.transaction():
        conn.execute(statement(hold), portion)
        return [Rebuilt(*row) for row in conn.execute(statement("rebuild_fsm_states"), portion)]


def _portions(conn: Connection[Any]) -> Iterator[dict[str, Any]]:
    """The bounds of each: after one key, up to another."""
    after = _BEFORE_ALL
    while True:
        asked = {"type": after[0], "id": after[1], "rows_limit": PORTION}
        last = conn.execute(statement("next_machines"), asked).fetchone()
        if last is None:
            return
        yield {"type": after[0], "id": after[1], "last_type": last[0], "last_id": last[1]}
        after = last


def _standing(
    state: str | None, previous_state: str | None, last_transition_at: datetime | None, transitions: int | None
) -> Standing | None:
    if state is None or last_transition_at is None or transitions is None:
        return None
    return Standing(state, previous_state, last_transition_at, transitions)
