"""What a generic write locks and looks up before it changes anything, and what it finds there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid, quoted
from store.database.statements import statements_beside
from store.generic import statements
from store.generic.answers import Row
from store.generic.requests import Write
from store.write.batch import Limits

statement = statements_beside(__file__)

SHOWN_NAMESPACES = 10  # of a bridge, in a message
Key = tuple[str, ...]
_CHILDREN = ("workflow_steps", "metadata_stamps")


class Named(NamedTuple):
    """A row by its key, and the `id` under which it is answered: of a workflow older than the fleet they differ."""

    key: Key
    id: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Cursors of what was sent to be locked and looked up.

    standing  the clock after that, and of each row that stands its version, id and key
    """

    parents: psycopg.Cursor[Any] | None
    standing: psycopg.Cursor[Any]


@dataclass(frozen=True, slots=True)
class Held:
    """What a write has locked.

    rows            what is to be written, with the ids of the workflows that were named
    versions, names of the rows that stand, in key order
    at              the time after the locks
    limits          of operations' times, and of a node's silence
    """

    rows: Sequence[Row]
    versions: list[int]
    names: list[Named]
    at: datetime
    limits: Limits

    @property
    def keys(self) -> list[Key]:
        return [name.key for name in self.names]

    def judging(self) -> dict[str, Any]:
        """Parameters of the statements that judge how long a node has been silent."""
        return {"at": self.at, **self.limits.liveness.as_parameters()}


def ask(conn: Connection[Any], write: Write) -> Asked:
    """Lock the workflows that rows name, then the rows that the write is about, and read the clock after that."""
    named = sorted(_parents_named(write))
    parents = conn.execute(statement("find_parents"), {"ids": named}) if named else None
    if write.type in ("insert", "batch_insert"):
        return Asked(parents, conn.execute("select clock_timestamp(), null, null"))
    condition, values = write.found_by
    text = statements.lock(write.entity_name, condition, to_delete=write.type == "delete")
    return Asked(parents, conn.execute(text, values))


def held(write: Write, asked: Asked, limits: Limits) -> Held:
    """Raises OnexError for a workflow that is not there, too many rows, and a bridge of several namespaces."""
    rows = _with_parents(write, asked.parents)
    standing = asked.standing.fetchall()
    found = [(version, named(id_, key)) for _, version, id_, *key in standing if version is not None]
    names = [name for _, name in found]
    if len(names) > statements.MAX_ROWS:
        raise invalid(f"query_filters: the number of rows exceeds maximum of {statements.MAX_ROWS}")
    if write.one_bridge and len(names) > 1:
        shown = ", ".join(quoted(name.key[1]) for name in names[:SHOWN_NAMESPACES])
        more = ", ..." if len(names) > SHOWN_NAMESPACES else ""
        message = f"bridge_id: {len(names)} bridge states, name one by its namespace: {shown}{more}"
        raise OnexError(EnumCoreErrorCode.CONFLICT, message)
    return Held(rows, [version for version, _ in found], names, standing[0][0], limits)


def check_version(held: Held, expected: int) -> None:
    """Raises OnexError NOT_FOUND and CONFLICT unless one row is held, and of that version."""
    if not held.names:
        raise OnexError(EnumCoreErrorCode.NOT_FOUND, "expected_version: no row is found by query_filters")
    if len(held.names) > 1:
        message = f"expected_version: {len(held.names)} rows are found by query_filters, it is about one"
        raise OnexError(EnumCoreErrorCode.CONFLICT, message)
    if held.versions[0] != expected:
        message = f"expected_version: {expected} was expected, the row has version {held.versions[0]}"
        raise OnexError(EnumCoreErrorCode.CONFLICT, message)


def wanted(keys: Sequence[Key]) -> dict[str, list[str]]:
    """Parameters of the statements that find rows by key: an array for each of the key's columns."""
    return {f"key_{n}": list(column) for n, column in enumerate(zip(*keys, strict=True))}


def named(id_: object, key: Sequence[object]) -> Named:
    """From what PostgreSQL answers."""
    return Named(tuple(map(str, key)), str(id_))


def _rows_given(write: Write) -> Sequence[Row]:
    return write.rows if write.type in ("insert", "batch_insert") else (write.fields,)


def _parents_named(write: Write) -> set[str]:
    if write.entity.table not in _CHILDREN:
        return set()
    return {row["workflow_id"] for row in _rows_given(write) if row.get("workflow_id") is not None}


def _with_parents(write: Write, found: psycopg.Cursor[Any] | None) -> Sequence[Row]:
    """The rows given, with the ids of the workflows that they name. Raises OnexError NOT_FOUND."""
    rows = _rows_given(write)
    if found is None:
        return rows
    pairs = found.fetchall()
    parents = {str(id_): str(id_) for _, id_ in pairs} | {str(workflow): str(id_) for workflow, id_ in pairs}
    for id_ in sorted(_parents_named(write)):
        if id_ not in parents:
            raise OnexError(EnumCoreErrorCode.NOT_FOUND, f"workflow_id: no workflow {id_}")
    return [
        {**row, "workflow_id": parents[row["workflow_id"]]} if row.get("workflow_id") is not None else row
        for row in rows
    ]
