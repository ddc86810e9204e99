"""Operations in, rows out, exactly once, whatever gets in the way.

    apply(batch) --> one transaction for all of it (batch.write)
       committed              -> an outcome each
       contention             -> the same transaction again, soon, many times
       constraint violated    -> again a few times; then it is the data
       data refused           -> halved, each half in a transaction of its own, until the bad one stands alone: a
                                 dead letter
       defect of ours         -> halved as well; a dead letter only for what fails alone while a neighbour passes
       database away          -> Outage: nothing committed of this part, nothing refused; the caller leaves the
                                 message where it is
       anything else that PostgreSQL says of a statement, a lock that is not had, a connection that breaks twice
                              -> halved, until what fails stands alone, and judged then: see `_judge`

What an earlier half has committed stays committed when a later one meets an outage: its operations answer
"duplicate" next time.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from psycopg import Connection

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import Item, refusal_of
from store.database.errors import (
    Fate,
    HeldBack,
    condition_of,
    fate_of,
    is_canceled,
    is_lock_timeout,
    is_lock_wait,
    outage_of,
    refusal_message,
)
from store.database.session import limit_of
from store.write import attempts, dead_letters
from store.write.attempts import Failure, Noted, Scope
from store.write.batch import Limits as Limits
from store.write.batch import write as write
from store.write.canary import Canaries, limit_trial
from store.write.progress import Part, Progress

CONTENTION_TRIES = 60  # with the delays below about 6 s; a worker that is still in the way then has hung
LOCK_TRIES = 3  # each has waited for lock_timeout itself
CONSTRAINT_TRIES = 3
LONGEST_DELAY_S = 0.2

POISON_ATTEMPTS = 3
# Somebody's lock, or a table that takes nothing, is seldom the row's fault: a person may be at it. It lasts longer than
# any statement of the fleet may take, so that one which hangs never poisons what waits for it; and not so long that the
# neighbours' confirmation, which comes with the last outcome of their message, is missed for more than a minute.
PATIENCE_S = 45.0
PATIENCE_OF_STATEMENT = 1.5  # of statement_timeout, where that is more
LONGEST_RETRY_S = 5.0
SINGLING_S = 20.0  # for one call, from the first failure on; the broker gives a message to somebody else after 120
# A statement that hangs costs the time of one statement once. What is left of it is found in little time: a half
# of a batch needs milliseconds, and what is alone gets more than it should ever need.
HALF_MS = 1000
ALONE_MS = 2000
LOCK_MS = 500

_DEFAULTS = Limits()
T = TypeVar("T")


def apply(
    conn: Connection[Any],
    batch: Sequence[Item],
    *,
    limits: Limits = _DEFAULTS,
    pause: Callable[[float], None] = time.sleep,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Apply each operation exactly once, in transactions of its own; `conn` is in autocommit mode.

    pause     waits between two tries, in seconds
    progress  of this batch, for who calls again after Lost or HeldBack: what is settled is not touched again

    Returns one outcome per item, in input order.
    Raises Outage when the database is away or not ready: leave the message in the broker. Lost when the connection
    broke, HeldBack when some of the batch cannot be done yet though the database takes other rows. Raises what it was
    when nothing in the batch could be applied because of a defect.
    """
    if not batch:
        return []
    return _Applying(conn, progress or Progress(batch), limits, pause).outcomes()


class _Applying:
    """One call of `apply`."""

    def __init__(
        self, conn: Connection[Any], progress: Progress, limits: Limits, pause: Callable[[float], None]
    ) -> None:
        self._conn = conn
        self._progress = progress
        self._limits = limits
        self._pause = pause
        self._until = time.monotonic() + SINGLING_S
        self._asked: Canaries | None = None  # since what failed alone was last judged

    def outcomes(self) -> list[Outcome]:
        progress = self._progress
        if progress.doubt is not None:
            self._demand_answer(progress.doubt, [])
            progress.doubt = None
        while progress.parts or progress.alone:
            while progress.parts:
                self._try(progress.parts[0])
                if self._is_late():
                    break
            if progress.alone:
                self._judge()
            elif progress.parts:
                raise HeldBack("rows that fail are still being looked for", 0.0)
        if progress.whole is not None:
            return progress.whole
        if progress.defects and not progress.outcomes:
            raise next(iter(progress.defects.values()))
        for position, defect in sorted(progress.defects.items()):
            progress.outcomes[position] = self._refuse(
                position, EnumCoreErrorCode.INTERNAL_ERROR, refusal_message(defect)
            )
        progress.defects.clear()
        return [progress.outcomes[position] for position in range(len(progress.items))]

    # ---- trying -----------------------------------------------------------------------------------------------------

    def _try(self, part: Part) -> None:
        """Write the part in front; where that fails, say what is to be tried instead."""
        progress = self._progress
        try:
            outcomes = self._write([progress.items[n] for n in part])
        except Exception as error:
            fate = fate_of(error)
            if fate is Fate.OUTAGE:
                raise outage_of(error) from error
            if fate is Fate.LOST:
                progress.broke(part, error)
                raise outage_of(error) from error
            if fate in (Fate.SUSPECT, Fate.RUN_AGAIN):
                self._suspect(part, error)
            elif len(part) > 1:
                progress.halve(part)
            elif fate is Fate.BUG:
                progress.parts.popleft()
                progress.defects[part[0]] = error
            else:
                outcome = self._refuse(part[0], EnumCoreErrorCode.VALIDATION_ERROR, refusal_message(error))
                progress.settled(part, [outcome])
        else:
            progress.settled(part, outcomes)

    def _suspect(self, part: Part, error: Exception) -> None:
        """One row of the part may be bad, or the database is: halve it, unless no row at all is taken."""
        progress = self._progress
        progress.slow = progress.slow or is_canceled(error) or is_lock_wait(error)
        if not progress.singling:
            progress.singling = True
            self._until = time.monotonic() + SINGLING_S
            self._demand_answer(error, progress.kinds(part))
            known = attempts.known(self._conn, [progress.items[n].operation_id for n in part])
            if len(part) > 1 and known:
                progress.parts.popleft()
                progress.take_alone(known, part)
                return
        if len(part) > 1:
            progress.halve(part)
            return
        progress.failed_alone(part[0], error)
        (kind,) = progress.kinds(part)
        if progress.waits(kind) and not self._canaries().takes(kind):
            progress.bar(kind, error)

    def _write(self, items: list[Item]) -> list[Outcome]:
        progress = self._progress
        lock_tries = 1 if progress.singling else LOCK_TRIES
        if not progress.slow:
            return again(lambda: write(self._conn, items, self._limits), self._pause, lock_tries=lock_tries)

        def limited() -> list[Outcome]:
            with self._conn.transaction():
                limit_trial(self._conn, statement_ms=HALF_MS if len(items) > 1 else ALONE_MS, lock_ms=LOCK_MS)
                return write(self._conn, items, self._limits)

        return again(limited, self._pause, lock_tries=lock_tries)

    # ---- judging ----------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Decide on what failed alone, in the light of what passed.

        no row of any kind is taken   -> an outage: nothing is counted
        counted for the third time    -> set aside as a dead letter, POISON; later where it was a lock, or every row of
                                         its kind fails
        else                          -> tried again, a little later each time; what may take long is given back
        """
        progress = self._progress
        kinds = dict(zip(progress.alone, progress.kinds(progress.alone), strict=True))
        first = next(iter(progress.alone.values()))
        try:
            self._demand_answer(first, list(kinds.values()))
            scopes = {n: _scope(error, self._canaries().takes(kinds[n])) for n, error in progress.alone.items()}
            noted = attempts.note(self._conn, self._failures(kinds, scopes))
        finally:
            failed = progress.try_alone_again()
            self._asked = None
        progress.suspects.add(progress.items[n].operation_id for n in failed)
        delays_s: list[float] = []
        for n, error in failed.items():
            found = noted[progress.items[n].operation_id]
            if found.attempts >= POISON_ATTEMPTS and found.age_s >= self._patience_s(scopes[n]):
                outcome = self._refuse(n, EnumCoreErrorCode.POISON, _poison_message(error, found))
                progress.set_aside(n, outcome)
            else:
                delays_s.append(min(LONGEST_RETRY_S, 0.2 * 4 ** min(found.attempts - 1, 5)))
        if not delays_s:
            return
        if any(scope != "row" for scope in scopes.values()) or self._is_late():
            raise HeldBack(f"a row fails while others pass: {condition_of(first)}", max(delays_s), first)
        self._pause(max(delays_s))

    def _demand_answer(self, error: Exception, kinds: list[str]) -> None:
        """Raises Outage when the database takes no row of any kind."""
        if not self._canaries().take_any(kinds):
            raise outage_of(error) from error

    def _canaries(self) -> Canaries:
        self._asked = self._asked or Canaries(self._conn, self._limits, self._progress.taken)
        return self._asked

    def _is_late(self) -> bool:
        return self._progress.singling and time.monotonic() > self._until

    def _failures(self, kinds: dict[int, str], scopes: dict[int, Scope]) -> list[Failure]:
        progress = self._progress
        distinct = {progress.items[n].operation_id: n for n in progress.alone}
        return [Failure(id_, kinds[n], scopes[n], condition_of(progress.alone[n])) for id_, n in distinct.items()]

    def _patience_s(self, scope: Scope) -> float:
        if scope == "row":
            return 0.0
        return max(PATIENCE_S, PATIENCE_OF_STATEMENT * (limit_of(self._conn) or 0) / 1000)

    # ---- refusing ---------------------------------------------------------------------------------------------------

    def _refuse(self, position: int, code: EnumCoreErrorCode, message: str) -> Outcome:
        """Keep an item as a dead letter; a refusal that could not be kept as it was, under its own reason."""
        item = self._progress.items[position]
        try:
            letter = item if isinstance(item, Refusal) else refusal_of(item, code, message)
        except Exception as error:
            letter = dead_letters.unreadable(item, code, refusal_message(error))
        failure: Exception | None = None
        for kept in (letter, dead_letters.in_ascii(letter), dead_letters.without_payload(letter)):
            for keep in (self._keep, self._keep_alone):
                try:
                    return keep(kept)
                except Exception as error:
                    if fate_of(error) in (Fate.OUTAGE, Fate.LOST):
                        raise outage_of(error) from error
                    failure = error
        raise HeldBack("what was refused could not be kept", LONGEST_RETRY_S, failure) from failure

    def _keep(self, letter: Refusal) -> Outcome:
        (outcome,) = again(lambda: write(self._conn, [letter], self._limits), self._pause, lock_tries=LOCK_TRIES)
        return outcome

    def _keep_alone(self, letter: Refusal) -> Outcome:
        """Where the ledger, or the outbox, does not take it: it is a dead letter nevertheless."""
        dead_letters.keep(self._conn, letter)
        return Outcome(letter.operation_id, "refused", letter.code, letter.message)


def _scope(error: Exception, kind_is_taken: bool) -> Scope:
    if not kind_is_taken:
        return "table"
    return "lock" if is_lock_wait(error) else "row"


def _poison_message(error: Exception, noted: Noted) -> str:
    return f"operation: PostgreSQL failed at it {noted.attempts} times while it took others: {condition_of(error)}"


def again(
    transaction: Callable[[], T],
    pause: Callable[[float], None] = time.sleep,
    *,
    give_up: Callable[[], bool] | None = None,
    lock_tries: int = CONTENTION_TRIES,
) -> T:
    """Run a transaction; where another one was in the way, once more.

    give_up     whether it is not worth another try; asked after each
    lock_tries  where a lock was not had in time, which takes its time itself
    """
    tries = 0
    while True:
        try:
            return transaction()
        except Exception as error:
            tries += 1
            if tries >= _tries_of(error, lock_tries) or (give_up is not None and give_up()):
                raise
            pause(contention_delay_s(tries, random.random()))


def _tries_of(error: Exception, lock_tries: int) -> int:
    if is_lock_timeout(error):
        return lock_tries
    return {Fate.RUN_AGAIN: CONTENTION_TRIES, Fate.RUN_AGAIN_BRIEFLY: CONSTRAINT_TRIES}.get(fate_of(error), 0)


def contention_delay_s(tries: int, share: float) -> float:
    """How long to wait after `tries` collisions: 2 ms doubling to 200 ms, of which a random `share` (0 to 1) is
    taken."""
    return float(min(LONGEST_DELAY_S, 0.002 * 2 ** min(tries, 10)) * (0.5 + share / 2))
