"""A gradual rollout: which share of the aggregations takes the new way. Pure and the same in every process."""

import hashlib
import math
from uuid import UUID

from omninode_bridge.errors import invalid, quoted

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
            share = float(value)
        except (ValueError, OverflowError):
            share = math.nan
    if share is None or not 0 <= share <= 1:
        raise invalid(f"{VARIABLE}: {quoted(value)} is neither true nor false nor a share from 0 to 1")
    return share


def takes(aggregation_id: UUID | str, *, share: float) -> bool:
    """Whether this aggregation is of the share. One that is stays so while the share grows."""
    digest = hashlib.sha256(str(aggregation_id).strip().lower().encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * _HASHES
