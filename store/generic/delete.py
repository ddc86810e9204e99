"""A generic delete in one statement, so that its caller waits for PostgreSQL once.

    count --> claim the id, with the count for an answer --> lock in key order --> delete

In that order, as every other write does it. What is not quite usual is left to the way of all writes: nothing is
written then.
"""

from functools import lru_cache
from typing import Any

from psycopg import Connection, sql
from psycopg.errors import DivisionByZero

from omninode_bridge.contract.clock import uuid7_millis
from store.generic import statements
from store.generic.entities import ENTITIES
from store.generic.requests import Write
from store.write import ledger
from store.write.batch import Limits

_WITH_CHILDREN = "workflow_executions"


def at_once(conn: Connection[Any], write: Write, claim: ledger.Write, limits: Limits) -> int | None:
    """How many rows were deleted, and that is committed; None for a delete that this way is not for.

    `conn` is in autocommit mode. None as well for an id that was claimed before or is out of bounds, for rows that
    somebody else deletes meanwhile, and for what has to be refused.
    """
    if write.type != "delete" or write.returning or write.entity.table == _WITH_CHILDREN:
        return None
    condition, values = write.found_by
    made_at = uuid7_millis(claim.operation_id)
    parameters = [
        *values,
        claim.operation_id,
        claim.correlation_id,
        claim.digest,
        1 if write.one_bridge else statements.MAX_ROWS,
        made_at,
        made_at,
        ledger.in_millis(limits.future_limit),
        ledger.in_millis(limits.horizon),
        *values,
    ]
    try:
        ((count,),) = conn.execute(_statement(write.entity_name, condition), parameters).fetchall()
    except DivisionByZero:
        return None
    return int(count) if count is not None else None


@lru_cache(maxsize=512)
def _statement(entity_name: str, condition: str) -> bytes:
    """out: how many rows were deleted; null where the id was not to be had, or there were too many rows.

    The claim says how many there will be. Where they are fewer once they are locked, a division by zero takes all of it
    back.
    """
    entity = ENTITIES[entity_name]
    table = sql.Identifier(entity.table).as_string()
    keys = [sql.Identifier(name).as_string() for name in entity.key]
    key = ", ".join(f"held.{name}" for name in keys)
    same = " and ".join(f"held.{name} = locked.{name}" for name in keys)
    return (
        "with counted as materialized (select count(*) as rows from"
        f" (select from {table} as held where {condition} limit {statements.MAX_ROWS + 1}) as found),"
        " claimed as ("
        "insert into operations (operation_id, correlation_id, operation_type, outcome, digest, result)"
        " select %s::uuid, %s::uuid, 'database_operation', 'applied', decode(%s, 'hex'),"
        " jsonb_build_object('rows_affected', rows) from counted where rows <= %s"
        " and is_timely(%s::bigint, %s::bigint, %s::bigint, %s::bigint)"
        " on conflict (operation_id) do nothing returning true),"
        f" locked as materialized (select {key} from {table} as held where exists (select from claimed) and {condition}"
        f" order by {statements.key_order(entity, 'held').as_string()} for update),"
        f" gone as (delete from {table} as held using locked where {same} returning true)"
        " select case when not exists (select from claimed) then null"
        " else rows / (case when (select count(*) from gone) = rows then 1 else 0 end) end from counted"
    ).encode()
