"""Where the workflows stand that moved lately: what a reducer asks for that has lost its memory.

An answer is of one moment: it comes from one cursor, read in small portions, so that neither a deadline nor a bound in
bytes costs what was read before. Where it stops it names the page that comes next. Pages are of different moments: a
workflow that moves between two of them moves to the front, so whoever reads many pages asks for the front once more.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, Self
from uuid import UUID

import orjson
from psycopg import Connection, ServerCursor
from psycopg.errors import LockNotAvailable, QueryCanceled

from omninode_bridge.contract.clock import parse_instant
from omninode_bridge.contract.errors import invalid
from store.database.statements import statements_beside

statement = statements_beside(__file__)

WITHIN = timedelta(days=7)
ROWS_LIMIT = 10_000
TIMEOUT_S = 2.0
MAX_BYTES = 8 << 20
PORTION_ROWS = 250  # what one row says may be as large as an operation: 1 MiB

_NO_TIME_LEFT = (TimeoutError, QueryCanceled, LockNotAvailable)


class Place(NamedTuple):
    """A place in the order of recovery: newest first, then greatest id. As text it is a page's name."""

    moved_at: str
    entity_id: str

    @classmethod
    def named(cls, page: str) -> Self:
        """Raises OnexError VALIDATION_ERROR for what is no page's name."""
        moved_at, _, entity_id = page.partition("/")
        try:
            if moved_at != FRONT.moved_at:
                moved_at = parse_instant(moved_at).isoformat()
            return cls(moved_at, str(UUID(entity_id)))
        except ValueError:
            raise invalid("page: not one that an answer has named") from None

    def name(self) -> str:
        return f"{self.moved_at}/{self.entity_id}"


FRONT = Place("infinity", str(UUID(int=(1 << 128) - 1)))


@dataclass(slots=True)
class Recovered:
    """An answer: by entity id current_state, previous_state, transition_count, metadata, last_transition_at (ISO text).

    partial    time was up before all was read that was asked for
    next_page  where to go on; None when there is nothing more
    """

    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    partial: bool = False
    next_page: str | None = None


def recover(
    conn: Connection[Any],
    *,
    within: timedelta = WITHIN,
    rows_limit: int = ROWS_LIMIT,
    timeout_s: float = TIMEOUT_S,
    page: str | None = None,
    max_bytes: int = MAX_BYTES,
    now: Callable[[], float] = time.monotonic,
) -> Recovered:
    """The workflows whose last move is not older than `within`, by the database's clock; `conn` is in autocommit mode.

    rows_limit  workflows in the answer at most; max_bytes, of its JSON, is passed by less than one workflow
    page        the `next_page` of an earlier answer
    Raises OnexError VALIDATION_ERROR for a page that is none. Nothing is raised for a lack of time.
    """
    answer = _Answer(Place.named(page) if page is not None else FRONT, rows_limit, max_bytes)
    deadline = now() + timeout_s
    try:
        with conn.transaction():
            conn.execute("set transaction read only")
            with ServerCursor(conn, "recovery") as cursor:
                _limit(conn, deadline - now())
                cursor.execute(statement("recover_fsm_states"), answer.question(within))
                while answer.take(cursor.fetchmany(PORTION_ROWS)):
                    _limit(conn, deadline - now())
    except _NO_TIME_LEFT:
        return answer.stopped(partial=True)
    return answer.stopped(partial=False)


def _limit(conn: Connection[Any], left_s: float) -> None:
    """Give the next statement the time that is left."""
    if left_s <= 0:
        raise TimeoutError
    conn.execute("select set_config('statement_timeout', %s, true)", (str(max(1, round(left_s * 1000))),))


class _Answer:
    """What was read so far, and how far."""

    def __init__(self, start: Place, rows_limit: int, max_bytes: int) -> None:
        self._states: dict[str, dict[str, Any]] = {}
        self._start = start
        self._rows_limit = rows_limit
        self._bytes_left = max_bytes
        self._ended = False

    def question(self, within: timedelta) -> dict[str, Any]:
        """Parameters of the statement; one row more than wanted tells whether there is a next page."""
        before, before_id = self._start
        return {"before": before, "before_id": before_id, "within": within, "rows_limit": self._rows_limit + 1}

    def take(self, portion: list[tuple[str, str]]) -> bool:
        """Add these rows; False when that is all there is, or all that fits."""
        for entity_id, text in portion:
            if len(self._states) >= self._rows_limit or self._bytes_left <= 0:
                return False
            self._states[entity_id] = state = orjson.loads(text)
            self._bytes_left -= len(entity_id) + (len(text) if text.isascii() else len(json.dumps(state)))
        self._ended = len(portion) < PORTION_ROWS
        return not self._ended

    def stopped(self, *, partial: bool) -> Recovered:
        return Recovered(self._states, partial, None if self._ended else self._place().name())

    def _place(self) -> Place:
        for entity_id in reversed(self._states):
            return Place(self._states[entity_id]["last_transition_at"], entity_id)
        return self._start
