"""What the rows of a trace tell of errors, for the terminal and the page alike."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def error_of(row: Row) -> str | None:
    """Of a workflow or a step: its message, and the code in brackets where it has one; None where it tells of none."""
    info = row.get("error_info")
    told: Row = info if isinstance(info, Mapping) else {}
    message = row.get("error_message") or told.get("message")
    code = told.get("code") or told.get("error_code")
    if not message:
        return None if not code else _words(code)
    return f"{_words(message)} ({_words(code)})" if code else _words(message)


def error_of_event(event: Row) -> str | None:
    """What its payload gives as the error; None where it gives none."""
    payload = event.get("payload")
    error = payload.get("error") if isinstance(payload, Mapping) else None
    return _words(error) if error else None


def with_errors(events: Sequence[Row]) -> list[Row]:
    """The events, each with what its payload gives as the error."""
    return [{**event, "error": error_of_event(event)} for event in events]


def tells_of_failure(event: Row) -> bool:
    """That something failed, or that the event itself was refused."""
    is_failure = str(event.get("event_type") or "").lower().endswith("_failed")
    return is_failure or event.get("status") in ("refused", "failed") or error_of_event(event) is not None


def _words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
