"""JSON text of anything at all, for a text column: what strict JSON refuses is written leniently, or as text."""

import json

import orjson


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
