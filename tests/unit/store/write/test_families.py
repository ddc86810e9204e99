"""Each family is whole: it says everything about its operations, tells its rules twice, and the documents name it."""

import ast
import inspect
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType

import pytest

from omninode_bridge.client.broker import PERSIST_QUEUE, TASK_QUEUES
from omninode_bridge.contract.operation_types import INTENT_TYPES, PERSIST_TYPES
from store.write.families import FAMILIES, TABLES
from store.write.family import Family
from store.write.fold import APPENDED, MERGED
from tests.checkout import CHECKOUT

ANSWERED = {"recover_fsm_states"}  # an intent that only asks
FOLD = "# ---- the reference fold: "
PLAY = "# ---- what a simulation plays "
# What the rows of the statements are built with: the clocks that PostgreSQL compares, and JSON text.
OF_THE_ROWS = {"omninode_bridge.contract.clock", "store.database.rows"}
OF_BOTH = {"state_rank"}
DOCS = CHECKOUT / "docs"

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def module_of(family: Family) -> ModuleType:
    return sys.modules[family.fold.__module__]


def test_every_operation_that_makes_rows_belongs_to_one_family() -> None:
    types = Counter(name for family in FAMILIES for name in family.types)
    assert set(types) == {*PERSIST_TYPES, "record_event", *INTENT_TYPES} - ANSWERED
    assert set(types.values()) == {1}


def test_every_table_belongs_to_one_family_and_is_appended_to_or_merged() -> None:
    assert len(TABLES) == sum(len(family.tables) for family in FAMILIES)
    assert sorted((*APPENDED, *MERGED)) == sorted(TABLES)


def test_batches_write_in_the_order_that_keeps_them_from_deadlock() -> None:
    names = [family.name for family in FAMILIES]
    assert names[:7] == [
        "workflow_execution",
        "workflow_step",
        "fsm_transition",
        "metadata_stamp",
        "bridge_state",
        "node_heartbeat",
        "event",
    ]


@each_family
def test_a_family_is_the_module_of_its_name_and_writes_its_tables(family: Family) -> None:
    assert module_of(family).__name__ == f"store.write.families.{family.name}"
    assert [table.name for table in family.tables if f"insert into {table.name} " not in family.statement] == []
    assert all(table.name in table.read for table in family.tables)
    assert all(table.name in table.count for table in family.tables if table.owner)


@each_family
def test_an_operation_of_its_own_name_is_played_and_goes_to_the_persist_queue(family: Family) -> None:
    named = set(family.types) & set(PERSIST_TYPES)
    assert (family.play is not None) == bool(named)
    for name in named:
        queue = next(queue for pattern, queue in TASK_QUEUES.items() if fnmatchcase(f"omninode.{name}", pattern))
        assert queue == PERSIST_QUEUE


@each_family
def test_its_part_of_the_fold_shares_nothing_with_what_builds_its_rows(family: Family) -> None:
    source = inspect.getsource(module_of(family))
    assert shared(source) == set()


def shared(source: str) -> set[str]:
    """The names that the fold's part uses and that belong to the part before it."""
    lines = source.splitlines()
    begins = next(number for number, line in enumerate(lines) if line.startswith(FOLD))
    ends = next((number for number, line in enumerate(lines) if line.startswith((PLAY, "FAMILY = "))), len(lines))
    tree = ast.parse(source).body
    before = {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.lineno <= begins}
    for node in tree:
        if isinstance(node, ast.ImportFrom) and node.module in OF_THE_ROWS:
            before |= {alias.name for alias in node.names} - OF_BOTH
    told = [node for node in tree if begins < node.lineno <= ends]
    return before & {name.id for node in told for name in ast.walk(node) if isinstance(name, ast.Name)}


def test_a_fold_that_uses_what_builds_the_rows_is_seen() -> None:
    apart = "from omninode_bridge.contract.clock import clock, state_rank\ndef _rows(): clock()\n" + FOLD + "\n"
    assert shared(apart + "def _fold(): state_rank()\n") == set()
    assert shared(apart + "def _fold(): _rows()\ndef _row(): clock()\n") == {"_rows", "clock"}


def rows_of_tables(page: Path) -> list[str]:
    return [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("page", ["convergence.md", "schema.md"])
@each_family
def test_the_documents_name_its_tables(family: Family, page: str) -> None:
    lines = rows_of_tables(DOCS / page)
    assert [table.name for table in family.tables if not any(f"`{table.name}`" in line for line in lines)] == []


def test_the_documents_list_the_families_in_their_order() -> None:
    lines = rows_of_tables(DOCS / "convergence.md")
    listed = [line for line in lines if "`store/write/families/" in line]
    assert len(listed) == len(FAMILIES)
    for family, line in zip(FAMILIES, listed, strict=True):
        named = (f"store/write/families/{family.name}.py", *family.types, *(table.name for table in family.tables))
        assert [name for name in named if f"`{name}`" not in line] == []


def test_the_documents_name_the_task_of_every_persist_operation() -> None:
    text = "\n".join(rows_of_tables(DOCS / "fleet.md"))
    assert [name for name in PERSIST_TYPES if f"`omninode.{name}`" not in text] == []
