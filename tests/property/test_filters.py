"""What a generic write was given is found by the same words in a filter, whatever they became in the row."""

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.persistence.entities import MADE_BY_DATABASE
from store.generic.carry_out import carry_out
from store.generic.entities import ENTITIES
from store.write.batch import Limits
from tests.generic import entity
from tests.property.conftest import Connection, Store, examples

WORKFLOW_ID = str(uuid4())
COLUMNS = [
    pytest.param(name, column, id=f"{name}-{column}")
    for name, one in ENTITIES.items()
    for column, kind in one.columns.items()
    if kind in ("text", "texts") and column not in MADE_BY_DATABASE and name != "node_health_metrics"
]
_WORDS = st.sampled_from(["processing", "Completed", "critical", "Recovering", "Workflow", "straße", "ﬁ", "İi", "ΑΣ"])
_SPACE = st.sampled_from(["", " ", "\t", "\u00a0", "\u2003\n"])
_texts = st.builds("".join, st.tuples(_SPACE, _WORDS | st.text("aB 0-é_%'\"", max_size=12), _SPACE))

_hashes = st.builds("".join, st.tuples(_SPACE, st.text("abcdefABCDEF09", min_size=1, max_size=12), _SPACE))


def ask(conn: Connection, operation_type: str, **request: Any) -> dict[str, Any]:
    request = {"operation_type": operation_type, "correlation_id": str(uuid4()), **request}
    return carry_out(conn, request, operation_id=uuid7(), limits=Limits())


def found(conn: Connection, operation_type: str, entity_type: str, filters: dict[str, Any], **more: Any) -> int:
    answer = ask(conn, operation_type, entity_type=entity_type, query_filters=filters, **more)
    assert answer["success"], answer
    return int((answer["result_data"] or {}).get("count", answer["rows_affected"]))


@pytest.mark.parametrize(("entity_type", "column"), COLUMNS)
def test_what_is_written_with_a_value_is_found_by_that_value(store: Store, entity_type: str, column: str) -> None:
    conn, one = store.conn, ENTITIES[entity_type]
    workflow = entity("workflow_execution", correlation_id=WORKFLOW_ID)
    assert ask(conn, "insert", entity_type="workflow_execution", entity=workflow)["success"]
    own = {"workflow_id": WORKFLOW_ID} if entity_type == "workflow_step" else {}

    @examples(25)
    @given(text=_hashes if column == "file_hash" else _texts)
    def check(text: str) -> None:
        listed = one.columns[column] == "texts"
        value: Any = [text, "other"] if listed else text
        fields = entity(entity_type, **own) | {column: value}
        answer = ask(conn, "insert", entity_type=entity_type, entity=fields, returning=True)
        assume(answer["success"])
        (row,) = answer["result_data"]["rows"]
        this = {name: row[name] for name in one.key if name != column}
        ways = {"": value, "__eq": value} if listed else {"": value, "__eq": value, "__in": ["-", value]}
        ways |= {} if listed else {"__gte": value, "__lte": value}
        for suffix, wanted in ways.items():
            assert found(conn, "count", entity_type, this | {column + suffix: wanted}) == 1, (suffix, row[column])
        assert found(conn, "count", entity_type, this | {f"{column}__ne": value}) == 0
        if column not in one.key:
            set_again = {"entity": {column: value}}
            assert found(conn, "update", entity_type, this | {column: value}, **set_again) == 1
        assert found(conn, "delete", entity_type, this | {column: value}) == 1

    check()
