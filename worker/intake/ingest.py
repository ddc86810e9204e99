"""Bus records from a file into the fleet: read, map, submit, wait for each confirmation, account for every line."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from omninode_bridge.bus.events import map_record
from omninode_bridge.contract.clock import TIMELESS, derived_uuid7
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.json_text import exact_json
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.refusal import Refusal
from omninode_bridge.contract.wire import Item, content_digest


class Confirmation(Protocol):
    """What the client hands out for a submitted item."""

    def add_done_callback(self, callback: Any, /) -> None: ...

    def result(self, timeout_s: float | None = None) -> Outcome: ...


class Submitter(Protocol):
    """What this module needs of a client."""

    def submit(self, item: Item, /) -> Confirmation: ...

    def flush(self, timeout_s: float | None = None) -> None: ...


@dataclass
class Account:
    """What became of the records so far; updated from the client's threads.

    recorded_only  events that belong to no table but event_logs, whether they were new or known
    """

    records: int = 0
    applied: int = 0
    duplicate: int = 0
    recorded_only: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def confirmed(self) -> int:
        return self.applied + self.duplicate + self.recorded_only + self.refused.total()

    @property
    def complete(self) -> bool:
        return self.confirmed == self.records

    def settle(self, outcome: Outcome, *, is_event: bool) -> None:
        with self._lock:
            if outcome.status == "refused":
                self.refused[outcome.code or EnumCoreErrorCode.INTERNAL_ERROR.value] += 1
            elif is_event:
                self.recorded_only += 1
            elif outcome.status == "applied":
                self.applied += 1
            else:
                self.duplicate += 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "applied": self.applied,
            "duplicate": self.duplicate,
            "refused": dict(sorted(self.refused.items())),
            "refused_total": self.refused.total(),
            "recorded_only": self.recorded_only,
            "unconfirmed": self.records - self.confirmed,
            "elapsed_s": round(self.elapsed_s, 3),
            "records_per_s": round(self.confirmed / self.elapsed_s, 1) if self.elapsed_s else 0.0,
        }


def ingest(lines: Iterable[bytes], client: Submitter, account: Account) -> None:
    """Submit every record in `lines` and wait until each is confirmed; `account` can be watched from another thread.

    Raises whatever the client raises when it cannot go on; `account` then says what is unconfirmed.
    """
    started = time.monotonic()
    try:
        for item in items(lines):
            account.records += 1
            is_event = item.operation_type == "record_event"
            handle = client.submit(item)
            handle.add_done_callback(lambda done, e=is_event: account.settle(done.result(0), is_event=e))
            account.elapsed_s = time.monotonic() - started
        client.flush(None)
    finally:
        account.elapsed_s = time.monotonic() - started


def items(lines: Iterable[bytes]) -> Iterator[Item]:
    """One operation or refusal per line that is not blank."""
    for line in lines:
        stripped = line.strip()
        if stripped:
            yield parse_line(stripped)


def parse_line(line: bytes) -> Item:
    """The operation of one bus record; a line that is no record becomes a refusal that keeps its text."""
    try:
        record = exact_json(line)
    except ValueError as error:
        return _no_record(line, f"line: not JSON: {error}")
    if not isinstance(record, dict):
        return _no_record(line, "line: not a JSON object")
    missing = [name for name in ("topic", "value") if name not in record]
    if missing or not isinstance(record["topic"], str):
        return _no_record(line, f"{missing[0]}: missing" if missing else "topic: not text")
    return map_record(record["topic"], record.get("key"), record["value"], timestamp=record.get("timestamp"))


def _no_record(line: bytes, message: str) -> Refusal:
    text = line.decode(errors="backslashreplace")
    return Refusal(
        operation_id=derived_uuid7(TIMELESS, line),
        digest=content_digest(text),
        code=EnumCoreErrorCode.VALIDATION_ERROR,
        message=message[:500],
        payload=json.dumps(text),
        form="record",
        source="file",
    )
