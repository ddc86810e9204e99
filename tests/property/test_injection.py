"""Whatever somebody sends: values are data, stored and found literally; names that are none are refused unrepeated."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.persistence.models import ModelDatabaseOperationOutput
from store.adapter import NodeBridgeDatabaseAdapterEffect
from store.generic.carry_out import carry_out
from store.generic.entities import ENTITIES
from store.write.batch import Limits
from tests.factories import store_connection
from tests.servers import PostgresServer

Conn = psycopg.Connection[Any]
pytestmark = pytest.mark.timeout(400)  # a failure is made smaller first, which takes its time

ATTACKS = [
    "'; DROP TABLE workflow_executions; --",
    "' OR '1'='1",
    '" OR ""="',
    "1; DELETE FROM operations",
    "x') UNION SELECT usename, passwd FROM pg_shadow --",
    "\\'; TRUNCATE operations; --",
    "$$; DROP TABLE operations; $$",
    "%s %(name)s %% {} {0}",
    "namespace/**/OR/**/1=1",
    "namespace%27%20OR%201%3D1",
    "name\tspace--",
    "E'\\x27' || pg_sleep(10)",
    "pg_sleep(10)",
    "null",
    "{1,2}",
    '["a"]',
    "$1::text",
    "\uff07; DROP TABLE operations; --",
    "' AND (SELECT count(*) FROM node_registrations) > 0 --",
]
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.one_of(
    st.sampled_from(ATTACKS),
    st.text(LETTERS, min_size=1, max_size=60),
    st.builds("{}{}{}".format, st.text(LETTERS, max_size=9), st.sampled_from(ATTACKS), st.text(LETTERS, max_size=9)),
)
VALUES = TEXTS.filter(lambda text: text[0].isprintable() and text[-1].isprintable() and text == text.strip())
IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]{0,62}")


def is_no_name(text: str) -> bool:
    """Neither a name nor one with an operator, which is refused as such."""
    column = text.rpartition("__")[0] or text
    return not IDENTIFIER.fullmatch(text) and not IDENTIFIER.fullmatch(column)


NO_NAMES = TEXTS.filter(is_no_name)
REPEATABLE = re.compile("[A-Za-z0-9_.-]{1,63}")  # what a message may say of a field or a key
few = settings(max_examples=60, deadline=None, derandomize=True, database=None)


class Store:
    """A database with bystanders: rows that no operation here means."""

    def __init__(self, conn: Conn) -> None:
        self.conn = conn
        for number in range(3):
            self.accepted("insert", entity=workflow(uuid4(), f"bystander {number}"))
        self._before = self._bystanders()

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        request = {"operation_type": operation, "entity_type": "workflow_execution"} | request
        return carry_out(self.conn, request, operation_id=uuid7(), limits=Limits())

    def accepted(self, operation: str, **request: Any) -> dict[str, Any]:
        answer = self.ask(operation, **request)
        assert answer["success"], answer
        return answer

    def refused(self, operation: str, attack: str, **request: Any) -> str:
        """The message, in which the attack is not."""
        answer = self.ask(operation, **request)
        assert answer["success"] is False and answer["error_code"] == "VALIDATION_ERROR", answer
        message = str(answer["error_message"])
        assert len(message) < 600
        assert len(attack) < 8 or (attack not in message and ascii(attack)[1:-1] not in message)
        return message

    def is_untouched(self) -> bool:
        return self._bystanders() == self._before

    def _bystanders(self) -> list[Any]:
        """The rows, the tables that there are, and what may be done in the session."""
        return self.conn.execute(
            "select to_jsonb(e)::text from workflow_executions e where namespace like 'bystander%%'"
            " union all select relname from pg_class where relkind in ('r', 'p', 'v')"
            " union all select current_user::text || current_setting('statement_timeout') order by 1"
        ).fetchall()


@pytest.fixture(scope="module")
def store(postgres_servers: Mapping[str, PostgresServer]) -> Iterator[Store]:
    server = postgres_servers["18"]
    with store_connection(server.create_migrated("test_injection")) as conn:
        yield Store(conn)
    server.drop_database("test_injection")


def workflow(correlation_id: UUID, namespace: str, **fields: Any) -> dict[str, Any]:
    told = {"correlation_id": str(correlation_id), "workflow_type": "tests", "current_state": "PROCESSING"}
    return told | {"namespace": namespace} | fields


def test_values_are_stored_and_found_literally(store: Store) -> None:
    @few
    @given(value=VALUES)
    def check(value: str) -> None:
        key, metadata = uuid4(), {value: [value, {"n": value}]}
        fields = {"workflow_type": value[:90].strip() or "x", "error_message": value, "metadata": metadata}
        store.accepted("insert", entity=workflow(key, value, **fields))
        mine = {"correlation_id": str(key)}
        for filters in (
            {"namespace": value},
            {"namespace__in": ["other", value]},
            {"error_message__eq": value},
            {"metadata": metadata},
            {"metadata__in": [{"no": "row"}, metadata]},
            {"namespace__gte": value, "namespace__lte": value},
        ):
            (row,) = store.accepted("query", query_filters=filters | mine)["result_data"]["items"]
            assert (row["namespace"], row["error_message"], row["metadata"]) == (value, value, metadata)
            assert store.accepted("count", query_filters=filters)["result_data"] == {"count": 1}
            assert store.accepted("exists", query_filters=filters)["result_data"] == {"exists": True}
        assert store.accepted("count", query_filters=mine | {"namespace__ne": value})["result_data"] == {"count": 0}
        changed = store.accepted("update", query_filters={"namespace": value}, entity={"error_message": value + "!"})
        assert changed["rows_affected"] == 1
        assert store.accepted("delete", query_filters={"error_message": value + "!"})["rows_affected"] == 1
        assert store.accepted("exists", query_filters=mine)["result_data"] == {"exists": False}
        assert store.is_untouched()

    check()


def test_keys_are_stored_and_found_literally(store: Store) -> None:
    @few
    @given(node_id=VALUES)
    def check(node_id: str) -> None:
        node = {"entity_type": "node_heartbeat", "query_filters": {"node_id": node_id}}
        for health in ("HEALTHY", "DEGRADED"):
            store.accepted("upsert", entity={"node_id": node_id, "health_status": health}, **node)
        (row,) = store.accepted("query", page="", **node)["result_data"]["items"]
        assert (row["node_id"], row["health_status"]) == (node_id, "DEGRADED")
        assert store.accepted("delete", **node)["rows_affected"] == 1
        assert store.is_untouched()

    check()


def test_a_page_goes_on_after_whatever_a_row_holds(store: Store) -> None:
    @few
    @given(values=st.lists(VALUES, min_size=2, max_size=5, unique=True))
    def check(values: list[str]) -> None:
        filters = {"workflow_type": "pages"}
        for value in values:
            store.accepted("insert", entity=workflow(uuid4(), value, workflow_type="pages"))
        seen: list[str] = []
        page: str | None = ""
        while page is not None:
            asked: Any = {"query_filters": filters, "sort_by": "namespace", "sort_order": "asc"}
            result = store.accepted("query", **asked, limit=1, page=page)["result_data"]
            seen += [row["namespace"] for row in result["items"]]
            page = result["next_page"]
        assert seen == sorted(values, key=str.encode)
        assert store.accepted("delete", query_filters=filters)["rows_affected"] == len(values)
        assert store.is_untouched()

    check()


def test_values_that_a_column_cannot_have_are_refused_unrepeated(store: Store) -> None:
    columns = [name for name, kind in ENTITIES["workflow_execution"].columns.items() if kind not in ("text", "json")]

    @few
    @given(value=TEXTS, column=st.sampled_from(columns), operator=st.sampled_from(["", "__eq", "__lt", "__in"]))
    def check(value: str, column: str, operator: str) -> None:
        filters = {column + operator: [value] if operator == "__in" else value}
        for operation in ("query", "count", "exists", "delete"):
            assert store.refused(operation, value, query_filters=filters).startswith(f"{column}: not a value")
        assert store.is_untouched()

    check()


def test_names_that_are_none_are_refused_unrepeated(store: Store) -> None:
    @few
    @given(name=NO_NAMES)
    @example(name="")
    @example(name="n" * 64)
    @example(name="namespace = namespace or namespace")
    def check(name: str) -> None:
        filters = {name: "x"}
        for operation in ("query", "count", "exists", "delete"):
            assert "SQL identifier" in store.refused(operation, name, query_filters=filters)
        fields = {"error_message": "x"}
        assert "SQL identifier" in store.refused("update", name, query_filters=filters, entity=fields)
        assert "SQL identifier" in store.refused("query", name, sort_by=name)
        store.refused("upsert", name, query_filters=filters, entity=workflow(uuid4(), "x"))
        assert store.is_untouched()

    check()


def test_fields_operators_and_types_that_are_none_are_refused_unrepeated(store: Store) -> None:
    @few
    @given(name=NO_NAMES)
    def check(name: str) -> None:
        store.refused("insert", name, entity=workflow(uuid4(), "x") | {name: "x"})
        store.refused("update", name, query_filters={"namespace": "x"}, entity={name: "x"})
        store.refused("batch_insert", name, batch_entities=[workflow(uuid4(), "x") | {name: "x"}])
        assert "Unsupported operator" in store.refused("query", name, query_filters={f"namespace__.{name}": "x"})
        store.refused("query", name, sort_order=name)
        store.refused("query", name, page=name + "!")
        store.refused("query", name, entity_type=name)
        store.refused(name, name)
        assert store.is_untouched()

    check()


class Asked:
    """An adapter of a database of its own, and what it answered to attacks."""

    def __init__(self, adapter: NodeBridgeDatabaseAdapterEffect, runner: asyncio.Runner) -> None:
        self._adapter = adapter
        self._runner = runner

    def refused(self, attack: str, operation: str = "insert", **fields: Any) -> ModelDatabaseOperationOutput:
        """The output, in which the attack is not."""
        given = {"operation_type": operation, "entity_type": "workflow_execution"} | fields
        output = self._runner.run(self._adapter.process(given))
        assert output.success is False and output.error_code == "VALIDATION_ERROR", output
        self.is_silent_of(attack, output.model_dump(mode="json"))
        return output

    def are_metrics_silent_of(self, attack: str) -> None:
        self.is_silent_of(attack, self._runner.run(self._adapter.get_metrics()))

    @staticmethod
    def is_silent_of(attack: str, told: Mapping[str, Any]) -> None:
        texts = str(told), json.dumps(told), json.dumps(told, ensure_ascii=False), str(told.get("error_message"))
        for form in (attack, attack.strip().lower(), ascii(attack)[1:-1]):
            assert len(form) < 8 or not any(form in text for text in texts)


@pytest.fixture
def asked(database: str) -> Iterator[Asked]:
    with asyncio.Runner() as runner:
        adapter = NodeBridgeDatabaseAdapterEffect({"database_url": database, "pool_size": 1})
        try:
            yield Asked(adapter, runner)
        finally:
            runner.run(adapter.shutdown())


def test_names_that_are_none_are_repeated_by_no_adapter(asked: Asked) -> None:
    @few
    @given(name=NO_NAMES.filter(lambda text: not REPEATABLE.fullmatch(text)))
    @example(name="'; DROP TABLE users; --")
    @example(name="n" * 64)
    def check(name: str) -> None:
        good, filters = workflow(uuid4(), "x"), {"namespace": "x"}
        surplus: dict[str, Any] = {name: 1, "entity": good}
        asked.refused(name, **surplus)
        asked.refused(name, entity=good | {name: "x"})
        asked.refused(name, entity=good | {"metadata": {name: float("inf")}})
        asked.refused(name, entity=good | {"metadata": {"a": [{name: {"b": uuid4}}]}})
        asked.refused(name, "batch_insert", batch_entities=[good | {name: "x"}])
        asked.refused(name, "update", query_filters=filters, entity={name: "x"})
        asked.refused(name, "upsert", query_filters={name: "x"}, entity=good)
        for operation in ("query", "count", "exists", "delete"):
            asked.refused(name, operation, query_filters={name: "x"})
            asked.refused(name, operation, query_filters={f"{name}__in": {"x"}})
        asked.refused(name, "query", sort_by=name)
        asked.refused(name, "query", sort_order=name)
        asked.refused(name, "query", entity_type=name)
        asked.refused(name, "persist_workflow_execution", workflow_execution_data={**good, name: "x"})
        asked.refused(name, "trace_workflow", query_filters={name: "x"})
        asked.are_metrics_silent_of(name)

    check()


def test_operation_types_that_are_none_are_repeated_by_no_adapter(asked: Asked) -> None:
    @few
    @given(name=TEXTS.filter(lambda text: not IDENTIFIER.fullmatch(text.strip().lower())))
    @example(name="'; DROP TABLE users; --")
    @example(name="namespace--")
    def check(name: str) -> None:
        assert asked.refused(name, name).operation_type == "unknown"
        assert asked.refused(name, name, limit=True).operation_type == "unknown"
        asked.are_metrics_silent_of(name)

    check()
