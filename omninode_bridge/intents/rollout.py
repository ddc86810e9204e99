"""A gradual rollout: which share of the aggregations takes the new way. Pure and the same in every process."""

import hashlib
import math
from uuid import UUID

from omninode_bridge.contract.errors import invalid, quoted

VARIABLE = "ENABLE_INTENT_PUBLISHER"

_WORDS = {"true": 1.0, "false": 0.0}
_HASHES = 2**64


def share_of(value: object) -> float:
    """The share, from 0 to 1, that "true", "false", a number or its text means.

    Raises OnexError VALIDATION_ERROR, naming the variable, for anything else.
    """
    share = _WORDS.get(value.strip().lower()) if isinstance(value, str) else None
    if share is None and isinstance(value, str | int | float):
        try:
            share = math.nan if isinstance(value, str) and not _is_plain(value) else float(value)
        except (ValueError, OverflowError):
            share = math.nan
    if share is None or not 0 <= share <= 1:
        raise invalid(f"{VARIABLE}: {quoted(value)} is neither true nor false nor a share from 0 to 1")
    return share


def _is_plain(number: str) -> bool:
    """Python alone reads "0_1", and digits of other scripts."""
    return number.isascii() and "_" not in number


def takes(aggregation_id: UUID | str, *, share: float) -> bool:
    """Whether this aggregation is of the share. One that is stays so while the share grows.

    A UUID is the same one in every way of writing it; other text is, but for its case and the blanks around it.
    """
    digest = hashlib.sha256(_one_form(str(aggregation_id)).encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * _HASHES


def _one_form(aggregation_id: str) -> str:
    text = aggregation_id.strip().lower()
    try:
        return str(UUID(text))
    except ValueError:
        return text
