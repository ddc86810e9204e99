"""Which topics a group reads."""

import re
from collections.abc import Sequence

from worker.errors import FleetError


class Subscription:
    """Names of topics; one that begins with ^ is a regular expression that must match the whole name.

    Raises FleetError for what is no regular expression.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self._names = frozenset(topic for topic in topics if not topic.startswith("^"))
        try:
            self._patterns = [re.compile(topic) for topic in topics if topic.startswith("^")]
        except re.error as error:
            raise FleetError(f"OMNINODE_CONSUME_TOPICS: {error.pattern!r} is no regular expression: {error}") from None

    def takes(self, topic: str) -> bool:
        return topic in self._names or any(pattern.fullmatch(topic) for pattern in self._patterns)
