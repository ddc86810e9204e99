"""Python values as JSON values: what callers hold in their hands, as it travels."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from omninode_bridge.contract.names import repeatable
from omninode_bridge.contract.values import MAX_JSON_DEPTH, MAX_PATH_CHARS, check_json


def plain(value: object, name: str = "value") -> Any:
    """A copy in which instants, UUIDs and enum members are text, and sets and tuples are lists.

    Raises ValueError, with the path inside the value or else its `name`, for what has no such form.
    """
    copied = _copied(value, "", 0, name)
    try:
        check_json(copied)
    except ValueError as error:
        raise ValueError(str(error).replace("value: ", f"{name}: ", 1)) from None
    return copied


def _copied(value: Any, path: str, depth: int, name: str) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"{path[:MAX_PATH_CHARS] or name}: nested more than {MAX_JSON_DEPTH} deep")
    if isinstance(value, Mapping):
        return {
            _key(key): _copied(item, f"{path}.{_shown(key)}" if path else _shown(key), depth + 1, name)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_copied(item, f"{path}[{n}]", depth + 1, name) for n, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((_copied(item, path, depth + 1, name) for item in value), key=repr)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(f"{path[:MAX_PATH_CHARS] or name}: a datetime without time zone is not an instant")
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, BaseModel):
        return _copied(value.model_dump(), path, depth + 1, name)
    return _copied(value.value, path, depth + 1, name) if isinstance(value, Enum) else value


def _shown(key: object) -> str:
    return repeatable(_key(key))


def _key(key: object) -> Any:
    if isinstance(key, UUID):
        return str(key)
    return key.value if isinstance(key, Enum) else key
