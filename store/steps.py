"""workflow_steps: appended once per operation."""

from collections.abc import Sequence
from typing import Any

from psycopg import Cursor

from omninode_bridge.operation import Operation
from store.rows import operation_rows
from store.statements import statement


def append(cursor: Cursor[Any], operations: Sequence[Operation]) -> None:
    if operations:
        cursor.execute(statement("append_steps"), {"rows": operation_rows(operations)})
