"""Rows on their way to PostgreSQL: one JSON array per statement, made without going through Python objects twice."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from omninode_bridge.contract.clock import uuid_hex
from omninode_bridge.contract.operation import Data, Operation


def rows(items: Iterable[Any]) -> str:
    """A JSON array of plain dicts; UUIDs and instants become text."""
    return orjson.dumps(list(items)).decode()


def operation_rows(operations: Sequence[Operation]) -> str | None:
    """A JSON array of {operation_id, occurred_at, and the data's fields that were given}; None for no operation."""
    if not operations:
        return None
    return "[" + ",".join([operation_row(operation) for operation in operations]) + "]"


def operation_row(operation: Operation, members: str = "") -> str:
    """One such object; `members` are JSON members to put in front ('"clock":"...",')."""
    id_, occurred_at = uuid_hex(operation.operation_id), operation.occurred_at.isoformat()
    return f'{{"operation_id":"{id_}","occurred_at":"{occurred_at}",{members}{data_json(operation.data)[1:]}'


def data_json(data: Data) -> str:
    """The data's given fields as a JSON object; never empty, since every data class has required fields."""
    return data.__pydantic_serializer__.to_json(data, exclude_none=True).decode()
