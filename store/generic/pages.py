"""Keyset pages: each begins after the last row of the one before, wherever rows were added or removed meanwhile.

A page's token is opaque to whoever passes it on: base64 of JSON, [table, sort_by, order, sort value, key]. Nobody has
signed it, so its values are checked, and reach PostgreSQL, as filters' values are.
"""

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import orjson
from psycopg import sql

from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.values import MAX_OPERATION_BYTES
from store.generic.entities import Entity, Kind
from store.generic.filters import CASTS, converted

MAX_TOKEN_CHARS = MAX_OPERATION_BYTES  # a row may be sorted by a long text
MAX_INSTANT_CHARS = 40


class Order(NamedTuple):
    """What rows are sorted by. `nullable`: some have no such value; they come last, in both directions."""

    entity: Entity
    sort_by: str
    descending: bool
    nullable: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Ties are broken by the key, so that pages neither repeat nor skip rows."""
        return tuple(dict.fromkeys((self.sort_by, *self.entity.key)))


class Position(NamedTuple):
    """The row after which a page begins: its value of the column that is sorted by, and its key."""

    value: Any
    key: tuple[Any, ...]


class Part(NamedTuple):
    """A stretch of all the rows in their order: a condition with its values, and what goes after ORDER BY."""

    condition: str
    values: list[Any]
    order: str


def parts(order: Order, after: Position | None) -> list[Part]:
    """The stretches that hold the rows after a position, in order.

    One, or two where the column may be NULL: the rows with a value, then those without. Asked for apart, each goes by
    an index; "desc nulls last" over both would need one of its own.
    """
    if not order.nullable:
        return [_part(order, order.columns, _places(order, after), "true")]
    column = _quoted(order.sort_by)
    without = f"{column} is null"
    if after is not None and after.value is None:
        return [_part(order, order.entity.key, _places(order, after), without)]
    return [
        _part(order, order.columns, _places(order, after), f"{column} is not null"),
        _part(order, order.entity.key, None, without),
    ]


def whole(order: Order) -> Part:
    """All the rows as one stretch, which is what an offset counts in."""
    nulls = " nulls last" if order.nullable else ""
    return Part("true", [], _order_by(order.columns, order.descending, nulls))


def token(order: Order, row: Mapping[str, Any]) -> str:
    """The token of the page after this row."""
    key = [row[name] for name in order.entity.key]
    told = orjson.dumps([*_name(order), row[order.sort_by], key])
    return base64.urlsafe_b64encode(told).decode()


def position(order: Order, page: object) -> Position | None:
    """Where a page begins; None for the first one.

    Raises OnexError VALIDATION_ERROR for what is no token, and for a token of another order or entity.
    """
    if page == "":
        return None
    if not isinstance(page, str) or len(page) > MAX_TOKEN_CHARS:
        raise invalid('page: neither "" nor what an answer gave as next_page')
    try:
        *name, value, key = orjson.loads(base64.b64decode(page.encode("ascii"), altchars=b"-_", validate=True))
        fits = isinstance(key, list) and len(key) == len(order.entity.key)
    except (ValueError, TypeError):
        fits = False
    if not fits:
        raise invalid('page: neither "" nor what an answer gave as next_page')
    if name != _name(order):
        raise invalid("page: of a query with another entity_type, sort_by or sort_order")
    if value is None and not order.nullable:
        raise invalid("page: holds no such row")
    kinds = order.entity.columns
    try:
        return Position(
            None if value is None else _converted(kinds[order.sort_by], value),
            tuple(_converted(kinds[column], one) for column, one in zip(order.entity.key, key, strict=True)),
        )
    except OnexError:
        raise invalid("page: holds no such row") from None


def _name(order: Order) -> list[str]:
    return [order.entity.table, order.sort_by, "desc" if order.descending else "asc"]


def _converted(kind: Kind, value: object) -> Any:
    """As filters', but for what rows may have and filters may not name: infinity, a year of five digits, NaN. Those
    stay text."""
    if kind == "instant" and isinstance(value, str) and len(value) <= MAX_INSTANT_CHARS and value.isascii():
        return converted("text", "page", value)
    if kind == "number" and value == "NaN":
        return value
    return converted(kind, "page", value)


def _places(order: Order, after: Position | None) -> dict[str, Any] | None:
    return None if after is None else {order.sort_by: after.value} | dict(zip(order.entity.key, after.key, strict=True))


def _part(order: Order, columns: tuple[str, ...], after: dict[str, Any] | None, condition: str) -> Part:
    order_by = _order_by(columns, order.descending, "")
    if after is None:
        return Part(condition, [], order_by)
    names = ", ".join(map(_quoted, columns))
    values = ", ".join("%s::" + CASTS[order.entity.columns[name]] for name in columns)
    beyond = f"{condition} and ({names}) {'<' if order.descending else '>'} ({values})"
    return Part(beyond, [after[name] for name in columns], order_by)


def _order_by(columns: tuple[str, ...], descending: bool, nulls: str) -> str:
    way = ("desc" if descending else "asc") + nulls
    return ", ".join(f"{_quoted(name)} {way}" for name in columns)


@cache
def _quoted(name: str) -> str:
    """A column's name, which comes from the entities alone."""
    return sql.Identifier(name).as_string()
