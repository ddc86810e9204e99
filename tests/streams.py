"""Streams of bus records as an at-least-once bus delivers them, and what has to come of them.

A stream begins as facts: what happened to a few workflows, nodes and bridges, one instant after another. Each fact is
put into words in one of the dialects; then all is delivered out of order, much of it twice, some of it published anew.
What is expected is noted where the fact is made, without a thought for the records.
"""

import random
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

Record = dict[str, Any]  # topic, key, value: a line of a file for `fleet ingest`

NAMESPACES = ("tenant-a.production", "tenant-ü.staging", "o'neill; --")
TABLES = (
    "workflow_executions",
    "workflow_steps",
    "fsm_transitions",
    "fsm_states",
    "metadata_stamps",
    "bridge_states",
    "node_registrations",
    "event_logs",
    "operations",
    "dead_letters",
)


@dataclass
class Expected:
    """What has to come of a stream in a database that had none of it before.

    workflows   correlation id -> columns of its row
    machines    entity id -> (current_state, previous_state, transition_count)
    bridges     (bridge_id, namespace) -> (total_items_aggregated, current_fsm_state)
    nodes       node_id -> (node_type, health_status)
    rows        table -> number of rows
    refused     code -> distinct records that end as dead letters
    deliveries  applied, duplicate, refused, recorded_only: records by what the fleet answers; an event that is only
                recorded counts as such at each delivery, as does a refused one
    """

    workflows: dict[str, dict[str, Any]] = field(default_factory=dict)
    machines: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    bridges: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    nodes: dict[str, tuple[str, str]] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    deliveries: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Stream:
    records: list[Record]
    expected: Expected


@dataclass
class _Fact:
    """Something that happened: `end` is what the fleet answers to its first delivery."""

    record: Record
    end: str


def make_stream(*, workflows: int, seed: int, ending: datetime | None = None) -> Stream:
    """A stream about so many workflows; its last instant is `ending`, which is now when not given."""
    story = _Story(random.Random(seed), ending or datetime.now(UTC))
    for _ in range(workflows):
        story.workflow()
    for node in range(max(2, workflows // 20)):
        story.node(node)
    for _ in range(max(2, workflows // 20)):
        story.bridge()
    for _ in range(max(7, workflows // 5)):
        story.telemetry()
    for number in range(max(len(story.wrongs), workflows // 5)):
        story.wrong(number)
    return story.told()


class _Story:
    def __init__(self, chance: random.Random, ending: datetime) -> None:
        self.chance = chance
        self.ending = ending
        self.expected = Expected()
        self.facts: list[_Fact] = []
        self._instants = 0
        self.wrongs: tuple[Callable[[], tuple[str, Any]], ...] = (
            self._no_json,
            lambda: ("step-completed", _step(self.key(), step_name="  ")),
            lambda: ("step-completed", _step(f"not-a-uuid-{self.key()}")),
            lambda: ("step-completed", _step(self.key(), step_order=2**31)),
            lambda: ("step-completed", _step(self.key(), step_data={"deep": ["a\0b"]})),
            lambda: ("step-completed", _step(self.key(), error_message="\ud800")),
            lambda: ("workflow-started", {"event_data": ["no", "object"], "n": self.key()}),
            lambda: ("stamp-created", {"metadata_stamp_data": {"file_hash": "xyz", "stamp_data": {}}, "n": self.key()}),
            lambda: ("node-heartbeat", {"node_heartbeat_data": {"node_id": self.key()}}),
            lambda: (
                "whatever",
                {**_step(self.key()), "node_heartbeat_data": {"node_id": "n", "health_status": "healthy"}},
            ),
            lambda: (
                "workflow-started",
                self.envelope("workflow_started", {"workflow_id": self.key(), "timestamp": "soon"}),
            ),
            self._tomorrow,
        )

    # ---- facts ------------------------------------------------------------------------------------------------------

    def workflow(self) -> None:
        chance, workflow_id, namespace = self.chance, self.key(), self.chance.choice(NAMESPACES)
        known: dict[str, Any] = {
            "current_state": "PENDING",
            "namespace": "unknown",
            "started_at": None,
            "execution_time_ms": None,
        }
        ends = chance.choice(["completed", "completed", "completed", "failed", None])
        if chance.random() < 0.9:
            began = self.instant()
            known |= {"current_state": "PROCESSING", "namespace": namespace, "started_at": began}
            self.say(self.started(workflow_id, namespace, began))
        for order in range(chance.randint(1, 4)):
            self.say(self.stepped(workflow_id, order))
            self.expected.rows["workflow_steps"] += 1
        self.move(
            workflow_id, *(["PENDING", "PROCESSING"] if ends is None else ["PENDING", "PROCESSING", ends.upper()])
        )
        if ends == "completed" and chance.random() < 0.6:
            self.say(self.stamped(workflow_id))
            self.expected.rows["metadata_stamps"] += 1
        if ends is not None:
            took_ms = chance.randint(0, 90_000)
            self.say(self.ended(workflow_id, namespace, ends, took_ms))
            known |= {"current_state": ends.upper(), "namespace": namespace}
            known["execution_time_ms"] = took_ms if ends == "completed" else None
        self.expected.workflows[workflow_id] = known

    def started(self, workflow_id: str, namespace: str, at: datetime) -> Record:
        dialect = self.chance.choice(["envelope", "block", "event data"])
        if dialect == "envelope":
            payload = {"workflow_id": workflow_id, "timestamp": text(at)}
            return self.record("stamp-workflow-started", self.envelope("STAMP_WORKFLOW_STARTED", payload, namespace))
        if dialect == "block":
            data: dict[str, Any] = {
                "workflow_type": "metadata_stamping",
                "current_state": "processing",
                "no_such_field": 1,
            }
            data |= {"namespace": namespace, "started_at": text(at)}
            return self.record("workflow-started", {"correlation_id": workflow_id, "workflow_execution_data": data})
        data = {"namespace": namespace, "started_at": text(at).removesuffix("+00:00")}
        value = {"event_type": "workflow-started", "correlation_id": workflow_id, "event_data": data}
        return self.record("anything", value)

    def stepped(self, workflow_id: str, order: int) -> Record:
        at = self.instant()
        if self.chance.random() < 0.5:
            return self.record("step-completed", _step(workflow_id, step_order=order, created_at=text(at)))
        payload = {"workflow_id": workflow_id, "step_type": "route", "step_id": f"s{order}", "timestamp": text(at)}
        return self.record("workflow-step-completed", self.envelope("workflow_step_completed", payload))

    def move(self, workflow_id: str, *path: str) -> None:
        """The machine's way, told step by step."""
        for before, after in pairwise(path):
            at = text(self.instant())
            if self.chance.random() < 0.7:
                payload = {"workflow_id": workflow_id, "from_state": before.lower(), "to_state": after, "timestamp": at}
                value = self.envelope("workflow_state_transition", payload)
            else:
                data = {
                    "entity_id": workflow_id,
                    "entity_type": "workflow",
                    "from_state": before,
                    "to_state": after.lower(),
                }
                value = {"timestamp": at, "fsm_transition_data": {**data, "transition_event": "moved"}}
            self.say(self.record("state-transition", value))
        self.expected.machines[workflow_id] = (path[-1], path[-2], len(path) - 1)
        self.expected.rows["fsm_transitions"] += len(path) - 1

    def stamped(self, workflow_id: str) -> Record:
        at = text(self.instant())
        if self.chance.random() < 0.5:
            payload = {"workflow_id": workflow_id, "stamp_id": self.key(), "timestamp": at}
            return self.record("metadata-stamp-created", self.envelope("metadata_stamp_created", payload))
        data = {"workflow_id": workflow_id, "file_hash": "AB" * 32, "stamp_data": {"v": 1}, "created_at": at}
        return self.record("stamp-created", {"metadata_stamp_data": data})

    def ended(self, workflow_id: str, namespace: str, how: str, took_ms: int) -> Record:
        at = text(self.instant())
        payload: dict[str, Any] = {"workflow_id": workflow_id, "timestamp": at}
        payload |= {"processing_time_ms": took_ms} if how == "completed" else {"error": "timed out", "retry_count": 2}
        if self.chance.random() < 0.6:
            return self.record(f"workflow-{how}", self.envelope(f"stamp_workflow_{how}", payload, namespace))
        data: dict[str, Any] = {"correlation_id": workflow_id, "namespace": namespace, "completed_at": at}
        data |= {"execution_time_ms": took_ms} if how == "completed" else {"error_message": "timed out"}
        return self.record(f"workflow-{how}", {"workflow_execution_data": {**data, "current_state": how}})

    def node(self, number: int) -> None:
        kind = ("orchestrator", "reducer", "effect", "compute")[number % 4]
        node_id = f"{kind}-{self.key()[:8]}"
        for _ in range(self.chance.randint(1, 5)):
            health, kept = self.chance.choice(
                [("healthy", "HEALTHY"), ("recovering", "DEGRADED"), ("critical", "UNHEALTHY"), ("Offline", "OFFLINE")]
            )
            payload = {
                "node_id": node_id,
                "node_type": kind.upper(),
                "health_status": health,
                "timestamp": text(self.instant()),
            }
            self.say(self.record("node-heartbeat", self.envelope("node_heartbeat", payload)))
            self.expected.nodes[node_id] = (kind, kept)

    def bridge(self) -> None:
        bridge_id, namespace = self.key(), self.chance.choice(NAMESPACES)
        for total in range(1, self.chance.randint(2, 6)):
            state = self.chance.choice(["idle", "aggregating"])
            data = {
                "bridge_id": bridge_id,
                "namespace": namespace,
                "current_fsm_state": state,
                "total_items_aggregated": total * 10,
                "last_aggregation_timestamp": text(self.instant()),
            }
            self.say(self.record("state-aggregation-completed", {"bridge_state_data": data}))
            self.expected.bridges[bridge_id, namespace] = (total * 10, state.upper())

    def telemetry(self) -> None:
        """An event that belongs to no table of its own."""
        name = self.chance.choice(["batch_processed", "node_introspection", "blake3_hash_generated", "query_requested"])
        payload = {"aggregation_id": self.key(), "timestamp": text(self.instant())}
        value = self.envelope(name, payload)
        if self.chance.random() < 0.2:  # what the fleet itself emitted is never turned into operations again
            value |= {"event_type": "workflow_step_completed", "source_service": "omninode-bridge-fleet"}
        self.say(self.record(name.replace("_", "-"), value), end="recorded_only")

    def wrong(self, number: int) -> None:
        """A record that must be refused and kept; each kind in turn."""
        make = self.wrongs[number % len(self.wrongs)]
        slug, value = make()
        self.say(self.record(slug, value), end="refused")
        self.expected.refused["FUTURE" if make == self._tomorrow else "VALIDATION_ERROR"] += 1

    def _no_json(self) -> tuple[str, Any]:
        return "step-completed", "{no json " + self.key()

    def _tomorrow(self) -> tuple[str, Any]:
        late = text(self.ending + timedelta(days=1))
        return "workflow-started", self.envelope("workflow_started", {"workflow_id": self.key(), "timestamp": late})

    # ---- words ------------------------------------------------------------------------------------------------------

    def key(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def instant(self) -> datetime:
        """Each a little later than the one before, all of them within the hour up to the end."""
        self._instants += 1
        return self.ending - timedelta(hours=1) + timedelta(microseconds=2000 * self._instants)

    def envelope(self, event_type: str, payload: dict[str, Any], namespace: str = "elsewhere") -> dict[str, Any]:
        return {
            "envelope_version": "1.0",
            "event_id": self.key(),
            "event_type": event_type,
            "event_version": "1.0",
            "event_timestamp": text(self.ending),
            "source_node_id": "orchestrator-1",
            "source_service": "omninode-bridge",
            "payload": {**payload, "published_at": text(self.ending)},
            "metadata": {"namespace": namespace},
        }

    def record(self, slug: str, value: Any) -> Record:
        return {"topic": self.topic(slug), "key": self.key(), "value": value}

    def topic(self, slug: str) -> str:
        forms = ("dev.omninode_bridge.onex.evt.{}.v1", "prod.omninode-bridge.{}.v2", "omninode_bridge.events.{}", "{}")
        return self.chance.choice(forms).format(self.chance.choice([slug, slug.replace("-", "_")]))

    def say(self, record: Record, *, end: str = "applied") -> None:
        self.facts.append(_Fact(record, end))

    # ---- delivery ---------------------------------------------------------------------------------------------------

    def told(self) -> Stream:
        """All facts, each at least once, in no order."""
        records: list[Record] = []
        for fact in self.facts:
            records.append(self.dead_lettered(fact.record) if self.chance.random() < 0.05 else fact.record)
            again = [self.anew(fact.record) for _ in range(self.chance.choice([0, 0, 0, 1, 2]))]
            records.extend(again)
            self.expected.deliveries[fact.end] += 1
            self.expected.deliveries["duplicate" if fact.end == "applied" else fact.end] += len(again)
        self.chance.shuffle(records)
        self.count_rows()
        return Stream(records, self.expected)

    def anew(self, record: Record) -> Record:
        """The same event once more, perhaps by another topic with the same last part, perhaps published anew."""
        again: Record = deepcopy(record)
        if isinstance(again["value"], dict) and "payload" in again["value"] and self.chance.random() < 0.5:
            again["value"]["payload"]["published_at"] = text(self.ending + timedelta(seconds=9))
        if self.chance.random() < 0.3:
            again["topic"] = "elsewhere." + again["topic"]
        return again

    def dead_lettered(self, record: Record) -> Record:
        """The record as a consumer that could not handle it passed it on."""
        if not isinstance(record["value"], dict):
            return record
        wrapped = {
            "original_topic": record["topic"],
            "original_message": record["value"],
            "failure_reason": "no handler",
        }
        return {**record, "topic": record["topic"] + ".dlq", "value": wrapped}

    def count_rows(self) -> None:
        expected, ends = self.expected, Counter(fact.end for fact in self.facts)
        expected.rows |= Counter(
            {
                "workflow_executions": len(expected.workflows),
                "fsm_states": len(expected.machines),
                "bridge_states": len(expected.bridges),
                "node_registrations": len(expected.nodes),
                "event_logs": ends["applied"] + ends["recorded_only"],
                "operations": len(self.facts),
                "dead_letters": ends["refused"],
            }
        )


def _step(workflow_id: str, **fields: Any) -> dict[str, Any]:
    data = {"workflow_id": workflow_id, "step_name": "validate_input", "step_order": 0, "status": "completed", **fields}
    return {"correlation_id": workflow_id, "workflow_step_data": data}


def text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")
