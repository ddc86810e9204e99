"""Log lines: their shape, and what is kept out of them."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from worker.logs import ConsoleFormatter, JsonFormatter, LogFormat, configure, mask


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def record(
    message: str, *args: object, name: str = "fleet", level: int = logging.INFO, **more: Any
) -> logging.LogRecord:
    made = logging.LogRecord(name, level, __file__, 1, message, args, more.pop("exc_info", None))
    made.__dict__.update(more)
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(JsonFormatter().format(made))
    return parsed


def test_a_line_is_one_json_object_with_the_fields_beside_the_event() -> None:
    text = JsonFormatter().format(record("batch_settled", fields={"operations": 3, "execution_time_ms": 1.234}))
    assert "\n" not in text
    parsed = json.loads(text)
    assert parsed.pop("timestamp").endswith("Z")
    assert parsed == {
        "level": "info",
        "logger": "fleet",
        "event": "batch_settled",
        "operations": 3,
        "execution_time_ms": 1.234,
    }


def test_a_field_cannot_replace_the_event() -> None:
    assert line(record("right", fields={"event": "wrong", "level": "wrong"}))["event"] == "right"


def test_a_traceback_is_a_field_of_the_line() -> None:
    try:
        raise ValueError("redis://user:word@host/0")
    except ValueError as error:
        parsed = line(record("batch_defect", exc_info=(ValueError, error, error.__traceback__)))
    assert "ValueError" in parsed["traceback"]
    assert "word" not in parsed["traceback"]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://fleet:word@host:5432/db", "postgresql://fleet:***@host:5432/db"),
        ("redis://:word@host/0 and amqp://a:word@b//", "redis://:***@host/0 and amqp://a:***@b//"),
        ("sentinel://:wo:rd@one;sentinel://:wo:rd@two", "sentinel://:***@one;sentinel://:***@two"),
        ("host=db password=word user=fleet", "host=db password=*** user=fleet"),
        ("{'flower_password': 'word'}", "{'flower_password': ***}"),
        ("api_key: word", "api_key: ***"),
        ("https://host/path?token=word&x=1", "https://host/path?token=***&x=1"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked
    assert line(record("%s", text))["event"] == masked
    assert line(record("event", fields={"url": text}))["url"] == masked
    assert "word@" not in ConsoleFormatter().format(record(text))


@pytest.mark.parametrize("text", ["http://host:80/a", "no secrets here", "3 tokens: a, b", "redis://host:6379/0"])
def test_what_holds_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_the_body_of_a_message_that_celery_cannot_use_is_left_out() -> None:
    template = "Received invalid task message: %s\nThe full contents of the message body was:\n%s\n"
    made = record(template, ValueError("very secret"), "very secret", name="celery.worker.consumer.consumer")
    assert line(made)["event"] == "a message was refused: Received invalid task message"
    decode = "Can't decode message body: %r [type:%r encoding:%r headers:%s]\n\nbody: %s\n"
    made = record(decode, ValueError("no"), "x", "y", "very secret", "very secret", name=made.name)
    assert "secret" not in JsonFormatter().format(made)


@pytest.mark.parametrize("form", ["json", "console"])
def test_everything_goes_to_one_stream_in_one_form(form: LogFormat, logging_as_it_was: None) -> None:
    stream = io.StringIO()
    configure(level="INFO", form=form, stream=stream)
    logging.getLogger("fleet").info("shown", extra={"fields": {"a": 1}})
    logging.getLogger("fleet").debug("hidden")
    logging.getLogger("celery.worker.strategy").info("Task received")
    (text,) = stream.getvalue().splitlines()
    assert "shown" in text
    assert ("a=1" in text) is (form == "console")


def test_a_task_that_gives_its_message_back_is_not_logged_a_second_time(logging_as_it_was: None) -> None:
    from celery.exceptions import Reject

    stream = io.StringIO()
    configure(level="INFO", form="json", stream=stream)
    try:
        raise Reject("the database is away", requeue=True)
    except Reject:
        logging.getLogger("celery.app.trace").warning("Task rejected", exc_info=True)
    assert stream.getvalue() == ""
