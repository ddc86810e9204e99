"""Any order, duplication, batching and concurrency gives the rows of the reference fold, and each effect once."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.intent_operation import (
    FsmTransitionIntentData,
    NamespaceContribution,
    PersistState,
    PersistStateData,
)
from omninode_bridge.contract.operation import (
    BridgeStateData,
    Data,
    FsmTransitionData,
    Operation,
    PersistBridgeState,
    PersistWorkflowExecution,
    PersistWorkflowStep,
    WorkflowExecutionData,
    WorkflowStepData,
)
from omninode_bridge.contract.values import INT64_MAX
from omninode_bridge.contract.wire import operation_digest
from store.write.apply import apply
from store.write.compare import differences
from store.write.fold import Fold
from tests.property.conftest import Store, examples
from tests.property.strategies import FIELDS, Drawn, World, operation_sets

pytestmark = pytest.mark.timeout(400)  # a failure is made smaller first, which takes its time


def folded(operations: Sequence[Operation]) -> Fold:
    fold = Fold()
    for operation in operations:
        fold.add(operation)
    return fold


def cut(items: Sequence[Operation], chance: random.Random) -> list[list[Operation]]:
    """The items in order, in batches of one to eight."""
    batches, start = [], 0
    while start < len(items):
        size = chance.randint(1, 8)
        batches.append(list(items[start : start + size]))
        start += size
    return batches


def test_every_field_of_every_operation_is_drawn() -> None:
    assert {cls: set(cls.model_fields) for cls in FIELDS} == {cls: set(fields) for cls, fields in FIELDS.items()}


@pytest.mark.parametrize(
    ("number", "kinds"),
    [
        pytest.param(300, tuple(FIELDS), id="of all kinds"),
        pytest.param(150, (BridgeStateData, PersistStateData), id="snapshots and contributions"),
        pytest.param(60, (FsmTransitionData, FsmTransitionIntentData), id="transitions of both kinds"),
    ],
)
def test_any_delivery_of_a_set_of_operations_gives_the_rows_of_the_fold(
    store: Store, number: int, kinds: Sequence[type[Data]]
) -> None:
    @examples(number)
    @given(drawn=operation_sets(of=kinds), delivery=st.integers(0, 2**32 - 1))
    def check(drawn: list[Drawn], delivery: int) -> None:
        world, chance = store.world(), random.Random(delivery)
        operations = [one.in_world(world) for one in drawn]
        deliveries = operations * chance.randint(1, 3) + chance.sample(operations, len(operations) // 2)
        chance.shuffle(deliveries)
        batches = cut(deliveries, chance)
        note(f"batches: {[[operations.index(one) for one in batch] for batch in batches]}")

        outcomes = store.deliver(batches)

        statuses = Counter((outcome.operation_id, outcome.status) for outcome in outcomes)
        delivered = Counter(one.operation_id for one in deliveries)
        applied = {(id_, "applied"): 1 for id_ in delivered}
        duplicate = {(id_, "duplicate"): times - 1 for id_, times in delivered.items() if times > 1}
        assert statuses == applied | duplicate
        assert store.ledger(list(delivered)) == dict.fromkeys(delivered, "applied")
        assert differences(store.conn, folded(operations).rows()) == []

    check()
    assert store.deadlocks() == 0


def test_one_by_one_and_all_at_once_give_the_same_rows(store: Store) -> None:
    @examples(40)
    @given(drawn=operation_sets(min_size=2))
    def check(drawn: list[Drawn]) -> None:
        one_by_one, at_once = ([one.in_world(world) for one in drawn] for world in (store.world(), store.world()))
        for operation in one_by_one:
            assert [outcome.status for outcome in apply(store.conn, [operation])] == ["applied"]
        assert {outcome.status for outcome in apply(store.conn, at_once)} == {"applied"}
        assert differences(store.conn, folded(one_by_one).rows()) == []
        assert differences(store.conn, folded(at_once).rows()) == []

    check()


def test_what_the_ledger_has_forgotten_changes_nothing_when_it_comes_again(store: Store) -> None:
    """But for contributions, which are refused by then: only the ledger keeps these from counting twice."""

    @examples(40)
    @given(drawn=operation_sets(of=[data_class for data_class in FIELDS if data_class is not PersistStateData]))
    def check(drawn: list[Drawn]) -> None:
        world = store.world()
        operations = [one.in_world(world) for one in drawn]
        rows = folded(operations).rows()
        for _ in range(2):
            assert {outcome.status for outcome in apply(store.conn, operations)} == {"applied"}
            assert differences(store.conn, rows) == []
            store.conn.execute(
                "delete from operations where operation_id = any(%s)", [[one.operation_id for one in operations]]
            )

    check()


def test_the_fold_of_a_shuffled_set_is_the_same() -> None:
    @examples(100)
    @given(drawn=operation_sets(), order=st.randoms(use_true_random=False))
    def check(drawn: list[Drawn], order: random.Random) -> None:
        operations = [one.in_world(World(1)) for one in drawn]
        expected = folded(operations).rows()
        order.shuffle(operations)
        assert folded(operations * 2).rows() == expected

    check()


def test_another_content_under_a_used_id_is_a_conflict_without_effect(store: Store) -> None:
    @examples(40)
    @given(drawn=operation_sets(min_size=2, max_size=10), together=st.booleans())
    def check(drawn: list[Drawn], together: bool) -> None:
        world = store.world()
        first, *others = (one.in_world(world) for one in drawn)
        impostors = [one.model_copy(update={"operation_id": first.operation_id}) for one in others]
        impostors = [one for one in impostors if operation_digest(one) != operation_digest(first)]
        if together:
            outcomes = apply(store.conn, [first, *impostors])
        else:
            outcomes = apply(store.conn, [first]) + apply(store.conn, impostors)
        assert [(one.status, one.code) for one in outcomes] == [("applied", None)] + [("refused", "CONFLICT")] * len(
            impostors
        )
        assert store.ledger([first.operation_id]) == {first.operation_id: "applied"}
        assert differences(store.conn, folded([first]).rows()) == []

    check()


def test_what_only_the_database_refuses_leaves_its_neighbours_applied(store: Store) -> None:
    """A total that overflows on top of what was contributed: the edge cannot know it."""
    bridge_id, workflow_id = uuid7(), uuid7()
    full = BridgeStateData(
        bridge_id=bridge_id, namespace="n", current_fsm_state="IDLE", total_items_aggregated=INT64_MAX
    )
    one = PersistStateData(
        aggregation_id=bridge_id, current_fsm_state="IDLE", namespaces={"n": NamespaceContribution(total_items=1)}
    )
    assert apply(store.conn, [PersistState(data=one)])[0].status == "applied"
    neighbours: list[Operation] = [
        PersistWorkflowStep(data=WorkflowStepData(workflow_id=workflow_id, step_name="s", step_order=n, status="done"))
        for n in range(9)
    ]
    bad = PersistBridgeState(data=full)
    assert_only_this_is_refused(store, bad, neighbours)


def test_what_a_constraint_refuses_leaves_its_neighbours_applied(store: Store) -> None:
    store.conn.execute("alter table workflow_executions add constraint no_such_thing check (workflow_type <> 'bad')")
    good, bad = (
        PersistWorkflowExecution(
            data=WorkflowExecutionData(correlation_id=uuid7(), current_state="PROCESSING", workflow_type=workflow_type)
        )
        for workflow_type in ("good", "bad")
    )
    assert_only_this_is_refused(store, bad, [good])


def assert_only_this_is_refused(store: Store, bad: Operation, neighbours: list[Operation]) -> None:
    middle = len(neighbours) // 2
    batch = [*neighbours[:middle], bad, *neighbours[middle:]]
    outcomes = apply(store.conn, batch)
    refused = [(outcome.operation_id, outcome.code) for outcome in outcomes if outcome.status == "refused"]
    assert refused == [(bad.operation_id, "VALIDATION_ERROR")]
    assert Counter(outcome.status for outcome in outcomes) == {"applied": len(neighbours), "refused": 1}
    assert [outcome.status for outcome in apply(store.conn, batch)].count("duplicate") == len(neighbours)
    assert store.ledger([bad.operation_id]) == {bad.operation_id: "refused"}
    assert store.number("select count(*) from dead_letters") == 1
    assert differences(store.conn, folded(neighbours).rows()) == []
