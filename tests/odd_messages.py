"""Messages that are nearly tasks, or nothing at all: of an odd structure, and real ones with their bytes changed."""

import base64
import json
import random
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from celery.app.task import Context
from hypothesis import strategies as st

from tests.living_worker import STEP, step_message

DEEP = 2000
BOMB_BYTES = 40 << 20

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**70), 10**400, 0, -1]),
    st.floats(),
    st.text(st.characters(codec=None), max_size=20),
    st.sampled_from(
        ["", "\x00", "\ud800", "x" * 300, "base64", "utf-16", "zlib_codec", "rot13", "1e5", "../..", "é" * 9]
    ),
    st.sampled_from(
        ["gzip", "bzip2", "lzma", "zstd", "application/x-python-serialize", "application/data", "text/plain"]
    ),
    st.sampled_from(["2026-13-45", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "now"]),
)
tagged = st.builds(
    lambda kind, value: {"__type__": kind, "__value__": value},
    st.sampled_from(["uuid", "datetime", "date", "time", "decimal", "bytes", "base64", "set", 7]),
    scalars,
)
values = st.recursive(
    scalars | tagged,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
signature = {"task": "omninode.persist_workflow_step", "args": [STEP], "kwargs": {}, "options": {"queue": "persist"}}
options = st.fixed_dictionaries(
    {},
    optional={name: values | st.just([signature]) for name in ("callbacks", "errbacks", "chain", "chord", "id", "get")},
)
bodies = st.one_of(
    values,
    st.tuples(st.lists(values, max_size=2), values, values).map(list),
    st.tuples(st.just([STEP]), st.just({}), options).map(list),
    st.tuples(values, values).map(list),
)
PLACES = [
    ("body",),
    ("content-type",),
    ("content-encoding",),
    ("headers",),
    ("properties",),
    *(("properties", name) for name in ("delivery_tag", "delivery_info", "body_encoding", "priority", "reply_to")),
    *(("properties", name) for name in ("correlation_id", "delivery_mode", "x")),
    *(("properties", "delivery_info", name) for name in ("exchange", "routing_key", "redelivered")),
    *(("headers", name) for name in sorted({name for name in dir(Context) if not name.startswith("__")})),
    *(("headers", name) for name in ("task", "lang", "argsrepr", "kwargsrepr", "compression", "redelivered", "x")),
]
# A result that nobody asked for cannot be counted, and what waits for its time is not answered yet.
UNCOUNTED = {("headers", "ignore_result"), ("headers", "eta")}


def structured(rng: random.Random, oddities: Sequence[Any], odd_bodies: Sequence[Any]) -> bytes:
    """A message with one to three of its parts gone, or something else; now and then no message at all.

    oddities, odd_bodies  what Hypothesis drew of `values` and `bodies`
    """
    if rng.randrange(10) == 0:
        return as_bytes(rng.choice(oddities))
    message: Any = step_message(body=rng.choice(odd_bodies)) if rng.randrange(2) else step_message()
    for place in rng.sample(PLACES, rng.randint(1, 3)):
        value = rng.choice(oddities)
        same_id = place == ("headers", "id") and isinstance(value, str)  # two answers under one id are one
        if place not in UNCOUNTED and not same_id:
            change(message, place, value, gone=rng.randrange(2) == 0)
    return as_bytes(message)


def change(message: Any, place: tuple[str, ...], value: Any, *, gone: bool) -> None:
    """Put the value in that place of the message, or nothing."""
    for name in place[:-1]:
        message = message.get(name) if isinstance(message, dict) else None
    if isinstance(message, dict):
        message.pop(place[-1], None)
        if not gone:
            message[place[-1]] = value


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def mutated(rng: random.Random) -> bytes:
    """A real message with a few of its bytes changed, gone, doubled, or cut off."""
    raw = bytearray(as_bytes(step_message()))
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        at = rng.randrange(len(raw)) if raw else 0
        match rng.randrange(6):
            case 0:
                raw[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del raw[at : at + rng.choice((1, 1, 8, 200))]
            case 2:
                raw[at:at] = raw[at : at + rng.choice((1, 20, 300))]
            case 3:
                raw[at:at] = rng.choice((b"[", b"{", b'"', b"\\", b"\xff", b"null", b"1e999", b"\x00"))
            case 4:
                raw = raw[:at]
            case _:
                raw[at : at + 1] = bytes([raw[at] ^ (1 << rng.randrange(8))]) if raw else b""
    return bytes(raw)


def packed(kind: str, body: bytes) -> dict[str, Any]:
    """A message whose body says that it is packed."""
    message = step_message(headers={"compression": kind})
    message["body"] = base64.b64encode(body).decode()
    return message


# Costly ones, each made once and sent a few times.
COSTLY: dict[str, Callable[[], Any]] = {
    "deep text": lambda: "[" * DEEP + "]" * DEEP,
    "deep header": lambda: as_bytes(step_message()).replace(b'"lang": "py"', b'"x": ' + b"[" * 800 + b"]" * 800),
    "deep body": lambda: step_message() | {"body": base64.b64encode(b"[" * DEEP + b"]" * DEEP).decode()},
    "many headers": lambda: step_message(headers={f"x{n}": n for n in range(50_000)}),
    "bomb": lambda: packed("gzip", zlib.compress(bytes(BOMB_BYTES))),
    "large": lambda: "x" * (30 << 20),
}
