"""Logs: one JSON object a line on stderr, or plain lines for a terminal. Never a payload, never a password.

Code logs an event's name and its fields: `logger.info("batch_settled", extra={"fields": {...}})`. Celery's loggers go
through the same handler.
"""

import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson

LogFormat = Literal["json", "console"]

_URL_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:@/]*):[^\s@]+@", re.IGNORECASE)
_SECRET = re.compile(
    r"(\b\w*(?:password|passwd|pwd|secret|token|api_key)\b[\"']?\s*[=:]\s*)([\"']?)[^\s,;&\"']+\2", re.IGNORECASE
)
# Celery logs a body, or headers, of a message that it cannot use: these loggers' arguments are left out.
_BODY_LOGGERS = frozenset({"celery.worker.consumer.consumer"})
_BODY_MARKS = ("message body", "body:")
MESSAGE_CHARS = 2000
# Loggers that say again what ours say.
_QUIET = {
    "celery.worker.strategy": logging.WARNING,
    "celery.app.trace": logging.WARNING,
    "kombu": logging.WARNING,
    "psycopg.pool": logging.ERROR,  # a line a second while the database is away; the breaker tells that once
}
_STANDARD = frozenset({"event", "level", "logger", "timestamp"})


def configure(*, level: str, form: LogFormat, stream: TextIO | None = None) -> None:
    """Send every log record of this process to stderr in one form; replaces what was configured before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    handler.addFilter(_is_wanted)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quiet_level in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet_level, root.level) if root.level > logging.DEBUG else root.level)
    logging.captureWarnings(True)


def mask(text: str) -> str:
    """The text without passwords in URLs and without values of what is named like a secret."""
    return _SECRET.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", text))


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: timestamp, level, logger, event, then its fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": message_of(record),
        }
        line |= {key: value for key, value in fields_of(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = _traceback(record)
        return orjson.dumps(line, default=str).decode()


class ConsoleFormatter(logging.Formatter):
    """A record as a line for people; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in fields_of(record).items())
        text = f"{_timestamp(record)} {record.levelname:<8} {message_of(record)}{fields}"
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + _traceback(record)
        return text


def message_of(record: logging.LogRecord) -> str:
    """The record's message, masked, bounded, and without the body of somebody's message."""
    if record.name in _BODY_LOGGERS and any(mark in str(record.msg) for mark in _BODY_MARKS):
        return f"a message was refused: {str(record.msg).splitlines()[0].split('%')[0].strip(' :')}"
    try:
        text = record.getMessage()
    except (TypeError, ValueError):
        text = str(record.msg)
    return mask(text.strip())[:MESSAGE_CHARS]


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    if not isinstance(fields, dict):
        return {}
    return {key: mask(value) if isinstance(value, str) else value for key, value in fields.items()}


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(record: logging.LogRecord) -> str:
    assert record.exc_info is not None
    return mask("".join(traceback.format_exception(record.exc_info[1])))


def _is_wanted(record: logging.LogRecord) -> bool:
    """A task that gives its message back has said so; Celery would log it again, with a traceback."""
    rejected = record.exc_info and type(record.exc_info[1]).__name__ == "Reject"
    if record.name == "celery.backends.base" and record.levelno == logging.WARNING:
        record.exc_info = None  # a result that is stored again, a little later: the broker is away
    return not (record.name == "celery.app.trace" and rejected)
