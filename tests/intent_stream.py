"""Intents of every kind as reducers emit them: many aggregations and workflows, some of it twice, some of it wrong."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

Intent = dict[str, Any]

_NAMESPACES = ("tenant-a.production", "tenant-ü.staging", "o'neill; --")
_MOVES = ((None, "PENDING"), ("PENDING", "PROCESSING"), ("PROCESSING", "COMPLETED"), ("processing", "failed"))


def intents(count: int, *, seed: int, ending: datetime) -> list[Intent]:
    """So many intents of the last hours before `ending`; every tenth is an earlier one again."""
    source = _Source(random.Random(seed), ending)
    made: list[Intent] = []
    while len(made) < count:
        made.append(source.again(made) if made and source.rng.random() < 0.1 else source.next())
    return made


class _Source:
    def __init__(self, rng: random.Random, ending: datetime) -> None:
        self.rng = rng
        self._ending = ending
        self._aggregations = [self._uuid() for _ in range(40)]
        self._workflows = [self._uuid() for _ in range(300)]

    def next(self) -> Intent:
        make = self.rng.choices(
            (self._publish, self._publish_flat, self._state, self._move, self._wrong_move, self._wrong_state),
            (20, 20, 30, 30, 1, 1),
        )[0]
        return make()

    def again(self, made: list[Intent]) -> Intent:
        return self.rng.choice(made)

    def _publish(self) -> Intent:
        aggregation, at = self.rng.choice(self._aggregations), self._at()
        data = {"aggregation_id": aggregation, "batch_number": self.rng.randrange(1000), "timestamp": at, "text": "☃"}
        topic = "dev.omninode_bridge.onex.evt.batch-processed.v1"
        payload = {"event_type": "batch_processed", "topic": topic, "data": data, "timestamp": at}
        return _intent("PublishEvent", payload | {"correlation_id": aggregation}, priority=0)

    def _publish_flat(self) -> Intent:
        aggregation = self.rng.choice(self._aggregations)
        payload = {"event_type": "AGGREGATION_STARTED", "aggregation_id": aggregation, "batch_size": 100}
        return _intent("PublishEvent", payload | {"timestamp": self._at()}, priority=0)

    def _state(self) -> Intent:
        return _intent("PersistState", self._aggregated(self.rng.randrange(100)), priority=1)

    def _wrong_state(self) -> Intent:
        return _intent("PersistState", self._aggregated(-1), priority=1)

    def _aggregated(self, stamps: int) -> dict[str, Any]:
        chosen = self.rng.sample(_NAMESPACES, self.rng.randint(1, 3))
        totals = {"total_stamps": stamps, "total_size_bytes": 7 * abs(stamps), "unique_workflows_count": 2}
        states = [self.rng.choice(["completed", "PROCESSING"]) for _ in range(3)]
        return {
            "aggregated_data": {namespace: totals | {"file_types": ["text/plain"]} for namespace in chosen},
            "fsm_states": {self._uuid(): state for state in states},
            "aggregation_id": self.rng.choice(self._aggregations),
            "timestamp": self._at(),
        }

    def _move(self) -> Intent:
        return self._transition(*self.rng.choice(_MOVES))

    def _wrong_move(self) -> Intent:
        return self._transition("COMPLETED", "PENDING")

    def _transition(self, from_state: str | None, to_state: str) -> Intent:
        at = datetime.fromisoformat(self._at())  # an instant, not its text, as reducers have it
        record = {"from_state": from_state, "to_state": to_state, "trigger": "aggregation_update", "timestamp": at}
        payload = {
            "workflow_id": self.rng.choice(self._workflows),
            "current_state": to_state,
            "previous_state": from_state,
            "transition_count": 1,
            "transition_record": record | {"metadata": {"namespace": self.rng.choice(_NAMESPACES)}},
            "transition_history": [record],
            "metadata": {},
            "timestamp": at,
        }
        return _intent("PersistFSMTransition", payload, priority=1)

    def _uuid(self) -> str:
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def _at(self) -> str:
        """No instant twice, so that no tie has to be broken."""
        before = timedelta(microseconds=self.rng.randrange(6 * 3600 * 10**6))
        return (self._ending - before).astimezone(UTC).isoformat(timespec="microseconds")


def _intent(intent_type: str, payload: dict[str, Any], *, priority: int) -> Intent:
    target = "event_bus" if intent_type == "PublishEvent" else "store_effect"
    return {"intent_type": intent_type, "target": target, "payload": payload, "priority": priority}
