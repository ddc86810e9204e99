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
from store.database.errors import Fate, Outage, fate_of, refusal_message
from store.write.batch import Limits as Limits
from store.write.batch import write as write

CONTENTION_TRIES = 60  # with the delays below about 6 s; a worker that is still in the way then has hung
CONSTRAINT_TRIES = 3
LONGEST_DELAY_S = 0.2

_DEFAULTS = Limits()
T = TypeVar("T")


def apply(
    conn: Connection[Any],
    batch: Sequence[Item],
    *,
    limits: Limits = _DEFAULTS,
    pause: Callable[[float], None] = time.sleep,
) -> list[Outcome]:
    """Apply each operation exactly once, in transactions of its own; `conn` is in autocommit mode.

    Returns one outcome per item, in input order. `pause` waits between two tries, in seconds.
    Raises Outage when the database is away or not ready: leave the message in the broker. Raises what it was when
    nothing
    in the batch could be applied because of a defect.
    """
    if not batch:
        return []
    results = _settle(conn, list(batch), limits, pause)
    defects = [result for result in results if isinstance(result, BaseException)]
    if defects and len(defects) == len(results):
        raise defects[0]
    return [
        _refuse(conn, item, EnumCoreErrorCode.INTERNAL_ERROR, result, limits, pause)
        if isinstance(result, BaseException)
        else result
        for item, result in zip(batch, results, strict=True)
    ]


def _settle(
    conn: Connection[Any], batch: list[Item], limits: Limits, pause: Callable[[float], None]
) -> list[Outcome | BaseException]:
    """An outcome for each item, or the defect that it met alone."""
    try:
        return list(_write_again(conn, batch, limits, pause))
    except Exception as error:
        fate = fate_of(error)
        if fate in (Fate.OUTAGE, Fate.RUN_AGAIN):
            raise outage_of(error) from error
        if len(batch) > 1:
            middle = len(batch) // 2
            return _settle(conn, batch[:middle], limits, pause) + _settle(conn, batch[middle:], limits, pause)
        if fate is Fate.BUG or isinstance(batch[0], Refusal):
            return [error]
        return [_refuse(conn, batch[0], EnumCoreErrorCode.VALIDATION_ERROR, error, limits, pause)]


def _write_again(
    conn: Connection[Any], batch: list[Item], limits: Limits, pause: Callable[[float], None]
) -> list[Outcome]:
    return again(lambda: write(conn, batch, limits), pause)


def again(
    transaction: Callable[[], T],
    pause: Callable[[float], None] = time.sleep,
    *,
    give_up: Callable[[], bool] | None = None,
) -> T:
    """Run a transaction; where another one was in the way, once more.

    give_up  whether it is not worth another try; asked after each
    """
    tries = 0
    while True:
        try:
            return transaction()
        except Exception as error:
            tries += 1
            allowed = {Fate.RUN_AGAIN: CONTENTION_TRIES, Fate.RUN_AGAIN_BRIEFLY: CONSTRAINT_TRIES}.get(
                fate_of(error), 0
            )
            if tries >= allowed or (give_up is not None and give_up()):
                raise
            pause(contention_delay_s(tries, random.random()))


def contention_delay_s(tries: int, share: float) -> float:
    """How long to wait after `tries` collisions: 2 ms doubling to 200 ms, of which a random `share` (0 to 1) is
    taken."""
    return float(min(LONGEST_DELAY_S, 0.002 * 2 ** min(tries, 10)) * (0.5 + share / 2))


def _refuse(
    conn: Connection[Any],
    item: Item,
    code: EnumCoreErrorCode,
    error: BaseException,
    limits: Limits,
    pause: Callable[[float], None],
) -> Outcome:
    try:
        (outcome,) = _write_again(conn, [refusal_of(item, code, refusal_message(error))], limits, pause)
    except Exception as failure:
        raise outage_of(failure) from failure  # it could not even be kept: it stays where it is
    return outcome


def outage_of(error: Exception) -> Outage:
    """The outage that a failure of the database is, in words of ours."""
    if isinstance(error, Outage):
        return error
    return Outage(f"the database is away or not ready: {type(error).__name__}", original_error=error)
