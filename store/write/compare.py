"""Whether the database holds what the reference fold says: row by row, column by column, and nothing beside it.

Only what the fold knows is looked at, so a database that others write to as well can be checked too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from omninode_bridge.contract.operation import Operation
from store.write.families import TABLES
from store.write.fold import Fold
from store.write.told import Key, Row, Rows

CHUNK_ROWS = 1000  # keys a query; more make it no faster
SHOWN_CHARS = 80  # of a value that differs


class Difference(NamedTuple):
    """One thing that is not as the fold says; `column` is None where the whole row is missing."""

    table: str
    key: Key
    column: str | None
    expected: Any
    found: Any

    def __str__(self) -> str:
        key = " ".join(map(str, self.key)) if isinstance(self.key, tuple) else self.key
        if self.column is None:
            return f"{self.table} {key}: no such row"
        return f"{self.table} {key}: {self.column} is {_short(self.found)}, not {_short(self.expected)}"


_OWNED = {name: table for name, table in TABLES.items() if table.owner}


class Comparison:
    """A comparison in pieces, for a fold that is drained as it goes.

        comparison.check(fold.drain())   # now and then
        comparison.check(fold.rows())    # at the end: what is left
        comparison.finish()

    differences  the first `limit` of them
    total        how many there were
    rows         rows of the fold that were looked at, per table
    """

    def __init__(self, conn: Connection[Any], *, limit: int = 20) -> None:
        self.differences: list[Difference] = []
        self.total = 0
        self.rows: Counter[str] = Counter()
        self._limit = limit
        self._cursor = conn.cursor(binary=True)
        self._owned: dict[str, Counter[Key]] = {table: Counter() for table in _OWNED}
        self._workflows: set[Key] = set()

    def check(self, rows: Rows) -> None:
        """Compare these rows of the fold with the database's."""
        for table, expected in rows.items():
            for keys in _chunks(expected):
                self._check_chunk(table, keys, expected)
            self.rows[table] += len(expected)
            self._count_owned(table, expected.values())
        self._workflows.update(rows.get("workflow_executions", ()))

    def finish(self) -> None:
        """Look for rows that belong to what was checked and that the fold does not have; call it once, at the end."""
        for table, owned in _OWNED.items():
            expected = self._owned[table]
            owners = {*expected, *(self._workflows if owned.owner == ("workflow_id",) else ())}
            for keys in _chunks(owners):
                self._cursor.execute(owned.count, _parameters(owned.owner, keys))
                found = {_key(row[:-1]): row[-1] for row in self._cursor.fetchall()}
                for key in keys:
                    if found.get(key, 0) != expected[key]:
                        self._note(Difference(table, key, "count", expected[key], found.get(key, 0)))

    def _check_chunk(self, table: str, keys: Sequence[Key], expected: Mapping[Key, Row]) -> None:
        spec = TABLES[table]
        self._cursor.execute(spec.read, _parameters(spec.key, keys))
        columns = [column.name for column in self._cursor.description or ()]
        rows = (dict(zip(columns, row, strict=True)) for row in self._cursor.fetchall())
        found = {_key([row[name] for name in spec.key]): row for row in rows}
        for key in keys:
            row, stored = expected[key], found.get(key)
            if stored is None:
                self._note(Difference(table, key, None, row, None))
                continue
            for column, value in row.items():
                if not same(value, stored[column]):
                    self._note(Difference(table, key, column, value, stored[column]))

    def _count_owned(self, table: str, rows: Iterable[Row]) -> None:
        if table in _OWNED:
            owner = _OWNED[table].owner
            keys = (_key([row[name] for name in owner]) for row in rows)
            self._owned[table].update(key for key in keys if key is not None)

    def _note(self, difference: Difference) -> None:
        self.total += 1
        if len(self.differences) < self._limit:
            self.differences.append(difference)


def differences(conn: Connection[Any], fold_rows: Rows, *, limit: int = 20) -> list[Difference]:
    """What differs between the database and the rows of a fold, the first `limit` of it; empty when all is well."""
    comparison = Comparison(conn, limit=limit)
    comparison.check(fold_rows)
    comparison.finish()
    return comparison.differences


def compare_stream(conn: Connection[Any], operations: Iterable[Operation], *, limit: int = 20) -> Comparison:
    """Fold the operations and compare, keeping only what can still change: for streams of millions."""
    fold, comparison = Fold(), Comparison(conn, limit=limit)
    source = iter(operations)
    while piece := list(islice(source, 5 * CHUNK_ROWS)):
        for operation in piece:
            fold.add(operation)
        comparison.check(fold.drain())
    comparison.check(fold.rows())
    comparison.finish()
    return comparison


def same(expected: object, found: object) -> bool:
    """Equal as columns and JSON are: 1 and 1.0 are the same number, true is no number."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(same(value, found[key]) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(same, expected, found))
    if type(expected) is type(found):
        return expected == found
    if isinstance(expected, bool) or isinstance(found, bool):
        return False
    if isinstance(expected, float) and isinstance(found, int):  # jsonb writes 1e15 as an integer
        return expected == float(found)
    return expected == found


def _short(value: object) -> str:
    text = str(value) if isinstance(value, UUID | datetime) else repr(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."


def _chunks(keys: Iterable[Key]) -> Iterator[list[Key]]:
    """The keys in order, so that neighbours in an index are read together, at most `CHUNK_ROWS` at a time."""
    ordered = iter(sorted(keys, key=_order))
    while chunk := list(islice(ordered, CHUNK_ROWS)):
        yield chunk


def _order(key: Key) -> Any:
    return key.int if isinstance(key, UUID) else key  # quicker to compare than UUIDs are


def _key(values: Sequence[Any]) -> Key:
    """The key as the fold writes it."""
    single: UUID | str = values[0]
    return tuple(values) if len(values) > 1 else single


def _parameters(columns: tuple[str, ...], keys: Iterable[Key]) -> dict[str, list[Any]]:
    """An array for each of the key's columns."""
    given = [key if isinstance(key, tuple) else (key,) for key in keys]
    return {column: [key[position] for key in given] for position, column in enumerate(columns)}
