"""The reference fold: the rows that a set of operations makes, in plain Python.

It is the meaning of the SQL, written a second time and in another way: one operation after another, every value kept
beside the moment at which it was said (told.py), the later one staying. Nothing here depends on the order of arrival.
What each operation tells is in its family's module, apart from what builds the rows of its statement: the two share
nothing but the models and the ranks of states. See docs/convergence.md.

Refusals are not in the fold: they have no effect.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from omninode_bridge.contract.operation import Operation
from store.write.families import FAMILY_OF, TABLES, event
from store.write.told import Key, Rows, Told

MERGED = tuple(name for name, table in TABLES.items() if table.row is not None)
APPENDED = tuple(name for name, table in TABLES.items() if table.row is None)  # a row an operation, never changed


class Fold:
    """Takes operations in any order, any number of times; gives the rows that they make together.

    log_consumed_events  as in the limits of the store: whether an operation's event makes a row of its own
    """

    def __init__(self, *, log_consumed_events: bool = True) -> None:
        self._log_consumed_events = log_consumed_events
        self._known: set[UUID | tuple[UUID, Key]] = set()
        self._told = Told(merged=MERGED, appended=APPENDED)

    def add(self, operation: Operation) -> None:
        """Take an operation; one whose id was taken before changes nothing."""
        if operation.operation_id in self._known:
            return
        self._known.add(operation.operation_id)
        if operation.event is not None and self._log_consumed_events:
            event.tell(self._told, operation, operation.event)
        family = FAMILY_OF.get(type(operation.data))
        if family is None:
            raise TypeError(f"the fold does not know {type(operation.data).__name__}")
        family.fold(self._told, operation)

    def write(
        self, table: str, key: Key, columns: Mapping[str, Any], *, at: datetime, operation_id: UUID, inserts: bool
    ) -> None:
        """Take a generic write that succeeded: the columns that it gave to one row, NULLs among them.

        at       the database's time at the write
        inserts  it made the row, or filled one that was only opened: of a bridge state, a snapshot
        Not in the fold: an update's started_at, since it has no clock; deletes; writes of the tables appended to.
        """
        if (operation_id, key) in self._known:
            return
        self._known.add((operation_id, key))
        written = TABLES.get(table)
        if written is None or written.write is None or not written.takes(key):
            raise TypeError(f"the fold takes no generic writes of {table} {key}")
        written.write(self._told.of(table, key), columns, (at, operation_id), inserts)

    def rows(self) -> Rows:
        """Every row, by table and key. Columns that only the database's own clock fills are not in them."""
        merged: Rows = {}
        for name in MERGED:
            row = TABLES[name].row
            assert row is not None
            merged[name] = {key: row(key, said) for key, said in self._told.merged[name].items()}
        return merged | {table: dict(rows) for table, rows in self._told.appended.items()}

    def drain(self) -> Rows:
        """The rows of the `APPENDED` tables since the last call, forgotten here: what they are can no longer change."""
        drained, self._told.appended = self._told.appended, {table: {} for table in APPENDED}
        return drained
