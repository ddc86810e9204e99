"""Delays that double: between tries to reach a broker, and before an unconfirmed batch is sent again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """`first_s` after the first try, twice as long after each further one, never more than `most_s` seconds."""

    first_s: float
    most_s: float

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.most_s:
            raise ValueError(f"first_s, most_s: {self.first_s} and {self.most_s} are no growing delays")

    def delay_s(self, tries: int) -> float:
        """How long to wait after that many tries (at least one)."""
        doublings = min(tries - 1, 64)  # more would overflow a float, and is beyond any bound
        return float(min(self.most_s, self.first_s * 2**doublings))


# A worker answers within milliseconds, or a second when PostgreSQL stalls; ten mean that the message or its answer is
# lost. What a killed worker held comes back by itself after two minutes, so further copies need no haste.
RESEND = Backoff(first_s=10, most_s=600)
RECONNECT = Backoff(first_s=0.1, most_s=5)
