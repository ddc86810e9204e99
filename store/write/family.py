"""What a persist operation is to the store: one value that says everything, in one module of `families`.

What writes a batch, folds, compares, simulates, traces a workflow or removes what is old goes through these values and
names no table. See docs/guides/add-an-operation.md.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from omninode_bridge.contract.operation import Operation
from store.write.limits import Limits
from store.write.play import Play
from store.write.told import Key, Moment, Row, Said, Told


class Fresh:
    """The operations of a batch that count now.

    operations  all of them, in the batch's order
    opened      correlation ids of the workflows that others than a workflow's own operations name
    """

    __slots__ = ("_of_type", "limits", "opened", "operations")

    def __init__(self, operations: list[Operation], limits: Limits, families: Iterable["Family"]) -> None:
        self.operations = operations
        self.limits = limits
        self._of_type: dict[str, list[Operation]] = defaultdict(list)
        for operation in operations:
            self._of_type[operation.operation_type].append(operation)
        self.opened: set[UUID] = set()
        for family in families:
            if family.opens is not None:
                for operation in self.of(*family.types):
                    workflow_id = family.opens(operation.data)
                    if workflow_id is not None:
                        self.opened.add(workflow_id)

    def of(self, *types: str) -> list[Operation]:
        """Those of some types: the first type's, then the next one's, each in the batch's order."""
        if len(types) == 1:
            return self._of_type[types[0]]
        return [operation for name in types for operation in self._of_type[name]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that a family writes, as the reference fold tells it and as it is compared.

    key    its key's columns, which are also the names of the parameters of `read`, an array each
    read   the statement that reads rows by key, with the columns that the fold determines
    row    what was said of a key -> its row; None where each operation appends a row that never changes, under `id`
    write  adds what a generic write says: what was said, the columns given, when, and whether it inserts or fills;
           None where the fold takes none
    owner  columns that name whose a row is; where there are any, `count` counts the rows of some owners, so that a row
           too many is seen
    """

    name: str
    key: tuple[str, ...] = ("id",)
    read: LiteralString
    row: Callable[[Any, Said], Row] | None = None
    write: Callable[[Said, Mapping[str, Any], Moment, bool], None] | None = None
    owner: tuple[str, ...] = ()
    count: LiteralString = ""

    def takes(self, key: Key) -> bool:
        """Whether something could be the key of a row."""
        return len(self.key) == (len(key) if isinstance(key, tuple) else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A family's rows in `fleet trace`.

    title  the list's name in the answer
    read   the statement, which gives (rows as a JSON array, how many there are, and perhaps how many failed)
           in: workflow_id (the row's id), ids (all that the workflow is called by), failed_limit,
               rows_limit, row_bytes and bytes_limit (of a row, of all, as text)
           first_id and last_id (of the rows' ids), where `any` is given
    large  whether its rows carry much data: they are read last, and take what the others leave
    any    of a table with days: the statement that says whether there are rows between two ids; `table` is its name
    """

    title: str
    read: LiteralString
    large: bool = False
    table: str = ""
    any: LiteralString = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """Why retention leaves a workflow that ended long ago: rows that are kept refer to it.

    rows  what they are called
    when  a condition on the workflow `held`; its parameters are those that retention gives: <table>_cut,
          <table>_first_kept, first_timed
    """

    rows: str
    when: LiteralString


def _no_parameters(limits: Limits) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A persist operation, or a few that write the same tables. Its place in the registry is its place in the locks.

    types        its operations; the first is the one that is played
    statement    writes its rows: in key order, and after those of the families before it
    rows_of      the statement's `rows` for a batch, a JSON array; None where there is nothing to write
    parameters   what else the statement wants
    opens        of its data: the correlation id of the workflow that is to be there before, or None
    fold         the same rules a second time, in plain Python: what an operation tells of its tables
    tables       what it writes
    ledger_only  types that nothing but the ledger keeps from counting twice
    play         what a simulation does; None where nodes do not do it themselves
    traced       what a workflow's trace shows of it
    holds        what retention has to know
    """

    name: str
    types: tuple[str, ...]
    statement: LiteralString
    rows_of: Callable[[Fresh], str | None]
    parameters: Callable[[Limits], Mapping[str, Any]] = _no_parameters
    opens: Callable[[Any], UUID | None] | None = None
    fold: Callable[[Told, Operation], None]
    tables: tuple[Table, ...]
    ledger_only: tuple[str, ...] = ()
    play: Play | None = None
    traced: Traced | None = None
    holds: Holds | None = None
