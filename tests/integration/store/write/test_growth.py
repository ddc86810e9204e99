"""A workflow's metadata, which grows key by key: it has a bound, and what would pass it harms nobody else."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import Connection
from psycopg.types.json import Jsonb

from store.write.apply import apply
from tests.factories import count, execution, step, store_connection

BOUND = 1 << 20
TOLD = "metadata: the row would have more than 1048576 bytes"
Conn = Connection[Any]


@pytest.fixture
def conn(database_any: str) -> Iterator[Conn]:
    with store_connection(database_any) as opened:
        yield opened


def text(n: int, size: int = 300_000) -> dict[str, str]:
    return {f"attempt{n}": "x" * size}


def size(conn: Conn, workflow: UUID) -> int:
    query = "select octet_length(metadata::text) from workflow_executions where correlation_id = %s"
    ((found,),) = conn.execute(query, [workflow]).fetchall()
    return int(found)


def test_what_would_pass_the_bound_is_refused_by_name_and_the_rest_goes_on(conn: Conn) -> None:
    workflow = uuid4()
    outcomes = [apply(conn, [execution(workflow, metadata=text(n))])[0] for n in range(6)]
    assert [outcome.status for outcome in outcomes] == ["applied"] * 3 + ["refused"] * 3
    assert {(one.code, one.message) for one in outcomes[3:]} == {("VALIDATION_ERROR", TOLD)}
    assert 900_000 < size(conn, workflow) <= BOUND
    letters = conn.execute("select code, message from dead_letters").fetchall()
    assert letters == [("VALIDATION_ERROR", TOLD)] * 3
    ended = execution(workflow, state="COMPLETED", metadata={"why": "done"})
    assert [outcome.status for outcome in apply(conn, [ended])] == ["applied"]


@pytest.mark.parametrize("stands", [False, True])
def test_neighbours_in_the_batch_are_applied(conn: Conn, stands: bool) -> None:
    """Whether the row stood, or the batch alone is too much for it."""
    workflow, others = uuid4(), [uuid4() for _ in range(20)]
    if stands:
        apply(conn, [execution(workflow)])
    batch = [
        *(execution(other, metadata={"a": 1}) for other in others[:10]),
        *(execution(workflow, metadata=text(n)) for n in range(5)),
        *(step(other) for other in others[10:]),
    ]
    outcomes = [outcome.status for outcome in apply(conn, batch)]
    assert outcomes[:10] + outcomes[15:] == ["applied"] * 20
    assert sorted(outcomes[10:15]) == ["applied"] * 3 + ["refused"] * 2
    assert count(conn, "workflow_executions") == 21 and size(conn, workflow) <= BOUND


def test_a_key_that_is_told_anew_takes_the_old_one_s_place_and_none_of_the_room(conn: Conn) -> None:
    workflow = uuid4()
    for _ in range(8):
        assert apply(conn, [execution(workflow, metadata=text(1, 800_000))])[0].status == "applied"
    assert size(conn, workflow) < BOUND


def test_a_row_that_is_larger_already_may_be_told_of_as_long_as_it_does_not_grow(conn: Conn) -> None:
    workflow = uuid4()
    apply(conn, [execution(workflow, metadata={"a": 1})])
    grown = Jsonb({"a": 1, "b": "x" * (2 * BOUND)})
    conn.execute("update workflow_executions set metadata = %s where correlation_id = %s", [grown, workflow])
    told = [{"a": 2}, {"c": "more"}, {}]
    outcomes = [apply(conn, [execution(workflow, state="COMPLETED", metadata=one)])[0].status for one in told]
    assert outcomes == ["applied", "refused", "applied"]
    state = "select current_state, metadata -> 'a' from workflow_executions"
    assert conn.execute(state).fetchone() == ("COMPLETED", 2)


def test_every_order_of_what_fits_ends_in_the_same_row(conn: Conn) -> None:
    """The bound asks of each step on the way, and no part of a whole that fits is larger than that."""
    rows = set()
    for turn in range(3):
        workflow = uuid4()
        for n in [0, 1, 2][turn:] + [0, 1, 2][:turn]:
            assert apply(conn, [execution(workflow, metadata=text(n))])[0].status == "applied"
        rows.add(size(conn, workflow))
    assert len(rows) == 1
