"""How large an event may be."""

from typing import Literal

from worker.settings import Settings

# The largest request of the platform's producers in each environment (docs/bus.md).
_BYTES: dict[Literal["development", "staging", "production"], int] = {
    "development": 256 << 10,
    "staging": 512 << 10,
    "production": 1 << 20,
}


def max_message_bytes(settings: Settings) -> int:
    """The largest value of a message, in bytes."""
    return settings.bus_max_message_bytes or _BYTES[settings.environment]
