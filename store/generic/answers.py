"""Rows as they are answered: from the JSON texts that PostgreSQL writes, bounded, and checked against their models."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from pydantic import ValidationError

from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, quoted
from omninode_bridge.contract.wire import error_text
from store.generic.entities import MODELS, Entity

Row = dict[str, Any]
ROW_BYTES = 64 * 1024 * 1024  # of one row by itself: else nobody could read a row that has grown beyond other bounds


def size_of(texts: Iterable[str]) -> int:
    """The bytes of the texts, with a comma each."""
    return sum(len(text.encode()) + 1 for text in texts)


def fitting(texts: Sequence[str], max_bytes: int, row_bytes: int = ROW_BYTES) -> Sequence[str]:
    """The first texts, of no more than `max_bytes`; the very first may have `row_bytes`."""
    size = 0
    for position, text in enumerate(texts):
        size += size_of((text,))
        if size > (max_bytes if position else max(max_bytes, row_bytes)):
            return texts[:position]
    return texts


def rows_of(entity: Entity, texts: Iterable[str], *, strict: bool) -> list[Row]:
    """The rows; a number of more than 64 bits is a float, as `store.database.session.read_json` has it.

    strict  whether each must be what its model says; 100 rows take 1 ms
    Raises OnexError DATABASE_QUERY_ERROR for JSON that cannot be read, and for a row that its model does not take: it
    names row and field.
    """
    rows = [_row(entity, text) for text in texts]
    if strict:
        for row in rows:
            _check(entity, row)
    return rows


def _row(entity: Entity, text: str) -> Row:
    try:
        row: Row = orjson.loads(text)
    except ValueError as error:
        message = f"{entity.table}: a row holds JSON that cannot be read: a number too large, or nested too deep"
        raise OnexError(EnumCoreErrorCode.DATABASE_QUERY_ERROR, message) from error
    return row


def _check(entity: Entity, row: Row) -> None:
    try:
        MODELS[entity.table].model_validate(row)
    except ValidationError as error:
        which = ", ".join(f"{name} {quoted(row[name])}" for name in entity.key)
        message = f"{error_text(error)} (in the row of {which})"
        raise OnexError(EnumCoreErrorCode.DATABASE_QUERY_ERROR, message) from None
