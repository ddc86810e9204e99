"""Topics that a relay leaves out for a while, because the bus does not take them although it is there.

    away --> left out for 1, 2, 4 ... 30 s --> on trial: apart from the rest, with little patience --> gone out: as ever
                       ^                                    |
                       +------------------------------------+ away again

So nothing else waits for such a topic, but for the little that its trials take.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from omninode_bridge.client.backoff import Backoff

PAUSE = Backoff(first_s=1, most_s=30)
PARTLY_TRIES = 3  # a topic of which a part goes out is left out for at most 4 s
TRIAL_S = 0.25  # a bus takes a batch within milliseconds
TRIAL_SHARE = 8  # or a trial takes an eighth of the pause before it, where that is more


class Pause(NamedTuple):
    """tries  failed ones in a row; for_s  seconds, that end at `until`"""

    tries: int
    for_s: float
    until: float


class Pauses:
    """Every `now` is of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._topics: dict[str, Pause] = {}
        self._news: list[tuple[str, str | None]] = []

    def left_out(self, now: float) -> list[str]:
        """The topics that are not to be read now."""
        return [topic for topic, pause in self._topics.items() if now < pause.until]

    def on_trial(self, topic: str) -> bool:
        """Whether it was away when something of it was last given to the bus."""
        return topic in self._topics

    def patience_s(self, topics: Iterable[str], *, most_s: float) -> float:
        """How long a trial of these topics may take."""
        longest_s = max((self._topics[topic].for_s for topic in topics if topic in self._topics), default=0.0)
        return min(most_s, max(TRIAL_S, longest_s / TRIAL_SHARE))

    def note(self, *, went: Collection[str], away: Mapping[str, str], now: float) -> None:
        """Of a batch the topics of which something was taken or refused, and those that are away in part, and why."""
        for topic, reason in away.items():
            before = self._topics.get(topic)
            if before is None:
                self._news.append((topic, reason))
            tries = 1 if before is None else before.tries + 1
            for_s = PAUSE.delay_s(min(tries, PARTLY_TRIES) if topic in went else tries)
            self._topics[topic] = Pause(tries, for_s, now + for_s)
        for topic in self._topics.keys() & (set(went) - away.keys()):
            del self._topics[topic]
            self._news.append((topic, None))

    def clear(self) -> None:
        """Leave nothing out: that the bus was away as a whole says nothing about a part."""
        self._topics.clear()
        self._news.clear()

    def news(self) -> list[tuple[str, str | None]]:
        """Topics that went away, and why, or came back (None), since the last call."""
        news, self._news = self._news, []
        return news
