"""The three descriptions of the six tables agree: the models, the entities of the store, and the schema."""

import json
import re
from typing import Any

import pytest

from omninode_bridge.contract.enums import EnumEntityType
from omninode_bridge.persistence.entities import ENTITY_MODELS, MADE_BY_DATABASE, columns_of, takes_null
from store.generic.entities import ENTITIES
from store.generic.statements import row_types
from tests.checkout import CHECKOUT

HIDDEN = {
    "clocks",
    "contributed_workflows_processed",
    "contributed_items_aggregated",
    "contributed_size_bytes",
    "liveness_announced",
    "stalled_at",
}
KINDS = {
    "uuid": "uuid",
    "character varying": "text",
    "text": "text",
    "timestamp with time zone": "instant",
    "integer": "integer",
    "bigint": "integer",
    "numeric": "number",
    "jsonb": "json",
    "text[]": "texts",
    "uuid[]": "uuids",
}
types = pytest.mark.parametrize("entity_type", EnumEntityType)


def schema(table: str) -> dict[str, dict[str, Any]]:
    """Each visible column of a table in schema.sql: kind, whether it takes NULL, and its default."""
    text = (CHECKOUT / "migrations" / "schema.sql").read_text(encoding="utf-8")
    body = re.search(rf"^create table {table} \((.*?)^\)", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    lines = [line.strip().rstrip(",") for line in body[1].splitlines()]
    columns = [line for line in lines if line and not line.startswith("constraint")]
    found = {}
    for line in columns:
        name, rest = line.split(" ", 1)
        kind, _, default = rest.partition(" default ")
        kind = re.sub(r"\([\d,]+\)", "", kind)
        found[name] = {
            "kind": KINDS[kind.removesuffix(" not null")],
            "null": not kind.endswith(" not null"),
            "default": default,
        }
    return {name: one for name, one in found.items() if name not in HIDDEN}


@types
def test_a_model_has_the_columns_of_its_table(entity_type: EnumEntityType) -> None:
    entity = ENTITIES[entity_type]
    assert columns_of(entity_type) == set(entity.columns)
    assert {name: one["kind"] for name, one in schema(entity.table).items()} == entity.columns
    assert set(entity.key) <= set(entity.columns)


@types
def test_a_model_takes_none_where_its_column_takes_null(entity_type: EnumEntityType) -> None:
    """What the database makes may be missing in a model, though never in a row; JSON that is never NULL becomes {}."""
    entity = ENTITIES[entity_type]
    for name, column in schema(entity.table).items():
        if name not in MADE_BY_DATABASE:
            assert takes_null(entity_type, name) == column["null"], name


@types
def test_a_model_asks_for_what_has_no_default(entity_type: EnumEntityType) -> None:
    entity = ENTITIES[entity_type]
    for name, field in ENTITY_MODELS[entity_type].model_fields.items():
        column = schema(entity.table)[name]
        if not column["null"] and not column["default"]:
            assert field.is_required() or name in MADE_BY_DATABASE, name


@types
def test_the_defaults_of_an_insert_are_those_of_the_columns(entity_type: EnumEntityType) -> None:
    entity = ENTITIES[entity_type]
    given = {name: one["default"] for name, one in schema(entity.table).items() if name not in MADE_BY_DATABASE}
    assert dict(entity.defaults) == {name: value(text) for name, text in given.items() if text}


def value(default: str) -> Any:
    """A default of schema.sql as JSON has it."""
    literal, _, kind = default.partition("::")
    text = literal.strip("'")
    if kind.endswith("[]"):
        return [] if text == "{}" else text
    return json.loads(text) if kind == "jsonb" or not kind else text


@types
def test_an_insert_gives_every_column_that_the_database_does_not_make(entity_type: EnumEntityType) -> None:
    entity = ENTITIES[entity_type]
    assert set(entity.columns) - MADE_BY_DATABASE <= set(row_types(entity))
