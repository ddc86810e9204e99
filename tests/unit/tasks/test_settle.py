"""What a task does with a batch that the store cannot take."""

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import pytest
from celery.exceptions import Reject

from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from store.database.errors import Outage
from store.write.apply import Limits
from store.write.progress import Suspects
from tasks import settle as settle_module
from tasks.settle import DEFECT_DELAYS_S, settle
from tests.factories import step


class FakeEngine:
    """An engine whose other batches pass, or do not."""

    limits = Limits()
    stopping = False

    def __init__(self, *, others_pass: bool = False) -> None:
        self.settled_total = 0
        self.suspects = Suspects()
        self.waited: list[float] = []
        self._others_pass = others_pass

    def run(self, work: Callable[[Any], Any]) -> Any:
        return work(None)

    def state(self) -> dict[str, Any]:
        return {}

    def deaths(self, task_id: str) -> int:
        return 0

    def settled(self, operations: int) -> None:
        self.settled_total += operations

    def published(self, event_ids: Collection[UUID]) -> set[UUID]:
        return set()

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        if self._others_pass:
            self.settled_total += 1


def broken_for_operations(_conn: Any, items: Any, **_: Any) -> list[Outcome]:
    if any(not isinstance(item, Refusal) for item in items):
        raise KeyError("a defect")
    return [Outcome(item.operation_id, "refused", item.code, item.message) for item in items]


def test_an_outage_gives_the_message_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> list[Outcome]:
        raise Outage("away")

    monkeypatch.setattr(settle_module, "apply", away)
    with pytest.raises(Reject) as raised:
        settle(FakeEngine(), [step()], task_id="t", task_name="n")
    assert raised.value.requeue is True


def test_a_defect_of_one_batch_alone_keeps_its_operations_as_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle_module, "apply", broken_for_operations)
    engine = FakeEngine(others_pass=True)
    result = settle(engine, [step(), step()], task_id="t", task_name="n")
    assert [entry[1:3] for entry in result["rest"]] == [["refused", "INTERNAL_ERROR"]] * 2
    assert engine.waited == list(DEFECT_DELAYS_S)


def test_a_defect_that_meets_every_batch_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle_module, "apply", broken_for_operations)
    with pytest.raises(Reject) as raised:
        settle(FakeEngine(others_pass=False), [step()], task_id="t", task_name="n")
    assert raised.value.requeue is True
