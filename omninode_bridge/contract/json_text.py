"""JSON, read exactly and written whatever it is about: what strict JSON refuses is taken leniently.

Whatever is odd about a value is then refused by the name of its field, and kept as it was sent.
"""

import json

import orjson

_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19  # integers of fewer digits have at most 64 bits
_BYTE_ORDER_MARK = "\ufeff"


def exact_json(text: str | bytes) -> object:
    """The value in JSON text, UTF-8 where it is bytes; a byte order mark before it is passed over.

    Integers of any size are read as what they are, where orjson makes floats of them, and so different ones equal.
    NaN and lone surrogates are taken.   Raises ValueError for what is no JSON.
    """
    try:
        value = orjson.loads(text)
    except ValueError:
        return _leniently(text)
    raw = text if isinstance(text, bytes) else text.encode()
    if _LONG_NUMBER not in raw.translate(_DIGITS_ALIKE):
        return value
    try:
        return json.loads(text)
    except RecursionError:  # deeper than anything that is taken
        return value


def _leniently(text: str | bytes) -> object:
    if isinstance(text, bytes):
        text = text.decode(errors="surrogatepass")
    try:
        return json.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except RecursionError:
        raise ValueError("nested too deep") from None


def payload_text(value: object) -> str:
    """JSON text that a text column can hold, however odd or deeply nested the value is."""
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError, RecursionError):
        try:
            return json.dumps(value, default=str)
        except (TypeError, ValueError):
            return json.dumps(repr(value))
        except RecursionError:
            return _deep_json_text(value)
    return text if "null" not in text else _keeping_nan(value, text)


def _keeping_nan(value: object, text: str) -> str:
    """orjson writes NaN as null; a dead letter keeps what was sent."""
    try:
        exact = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        return text
    return exact if "NaN" in exact or "Infinity" in exact else text


class _Written(str):
    """JSON text that is done, among values that are not."""

    __slots__ = ()


def _deep_json_text(value: object) -> str:
    parts: list[str] = []
    waiting: list[object] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Written):
            parts.append(item)
        elif isinstance(item, dict):
            waiting.append(_Written("}"))
            for n, (name, member) in reversed(list(enumerate(item.items()))):
                waiting.extend((member, _Written(("," if n else "") + json.dumps(str(name)) + ":")))
            parts.append("{")
        elif isinstance(item, list):
            waiting.append(_Written("]"))
            for n in range(len(item) - 1, -1, -1):
                waiting.extend((item[n], _Written("," if n else "")))
            parts.append("[")
        else:
            parts.append(json.dumps(item, default=str))
    return "".join(parts)
