"""What operations have told, as the reference fold keeps it: every value beside the moment at which it was said.

Moments are tuples of what they compare, not the clock texts that PostgreSQL compares. The later value stays, so nothing
here depends on the order of arrival.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from omninode_bridge.contract.operation import Operation

Row = dict[str, Any]
Key = UUID | str | tuple[UUID | str, ...]  # a tuple where the table's key is of several columns
Rows = dict[str, dict[Key, Row]]  # table -> key -> row
Moment = tuple[Any, ...]  # greater is newer
Said = dict[str, tuple[Moment, Any]]  # what -> when it was said last, and the value


class Told:
    """All that was told, by table: of merged ones what was said of each key, of appended ones their rows."""

    def __init__(self, *, merged: Iterable[str], appended: Iterable[str]) -> None:
        self.merged: dict[str, dict[Key, Said]] = {table: {} for table in merged}
        self.appended: Rows = {table: {} for table in appended}

    def of(self, table: str, key: Key) -> Said:
        """What was said of a row, to be added to. Who asks makes the row known, even where nothing is said of it."""
        return self.merged[table].setdefault(key, {})

    def append(self, table: str, operation: Operation, row: Row) -> None:
        self.appended[table][operation.operation_id] = row


def moment_of(operation: Operation) -> Moment:
    """When an operation says what it says: of two at the same instant the greater id is newer."""
    return operation.occurred_at, operation.operation_id


def say(said: Said, what: str, when: Moment, value: Any) -> None:
    if what not in said or when > said[what][0]:
        said[what] = when, value


def say_all(said: Said, columns: Mapping[str, Any], when: Moment) -> None:
    for name, value in columns.items():
        say(said, name, when, value)


def given(data: Any, *, but: tuple[str, ...]) -> Row:
    """The fields that were given, without some: null is not."""
    return {name: value for name, value in data.__dict__.items() if value is not None and name not in but}


def value_or(value: Any, default: Any) -> Any:
    return default if value is None else value
