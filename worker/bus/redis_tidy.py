"""Trimming streams, never above what some group has not acknowledged.

Everything is asked in three rounds, without a transaction around them: whatever happens in between only makes the
answers too low. An entry below a group's first pending one, or up to the last one delivered where none is pending, was
delivered and acknowledged, and stays so.
"""

from collections.abc import Mapping, Sequence

import orjson

from worker.bus.redis_streams import Client, GroupState, Streams, groups_of, have_group, remove_members
from worker.bus.subscription import Subscription

GONE_MEMBER_MS = 24 * 3600 * 1000  # a member that lives is heard of every second

EntryId = tuple[int, int]  # milliseconds since 1970, and a number within the millisecond
StreamGroup = tuple[str, str]


def tidy(client: Client, streams: Streams, *, retention_s: float) -> int:
    """Remove what every group has acknowledged; of streams without a group, what is older than `retention_s`.

    Returns how many entries that were.
    """
    topics = streams.topics(client)
    unsafe = _have_groups(client, streams, topics)
    keys = [key for topic, count in topics.items() for key in streams.partitions(topic, count) if key not in unsafe]
    groups = groups_of(client, keys)
    floors = _floors(client, groups)
    retained = _retained(client, retention_s)
    _remove_gone_members(client, list(floors))
    with client.pipeline(transaction=False) as pipe:
        for key, found in groups.items():
            ms, number = min((floors[key, group] for group in found), default=retained)
            pipe.xtrim(key, minid=f"{ms}-{number}", approximate=False)
        return sum(answer for answer in pipe.execute(raise_on_error=False) if isinstance(answer, int))


def _have_groups(client: Client, streams: Streams, topics: Mapping[str, int]) -> set[str]:
    """See to it that each group knows every stream that it is to read, even when all its members are away.

    Returns the streams where that was not possible.
    """
    without: set[str] = set()
    for group, names in streams.groups(client).items():
        takes = Subscription(orjson.loads(names)).takes
        keys = [key for topic, count in topics.items() if takes(topic) for key in streams.partitions(topic, count)]
        without |= have_group(client, keys, group).keys()
    return without


def _floors(client: Client, groups: Mapping[str, Mapping[str, GroupState]]) -> dict[StreamGroup, EntryId]:
    """For each stream and group, the lowest entry that the group may still need."""
    delivered = {
        (key, name): _entry_id(state["last-delivered-id"])
        for key, found in groups.items()
        for name, state in found.items()
    }
    with client.pipeline(transaction=False) as pipe:
        for key, group in delivered:
            pipe.xpending(key, group)
        pending = pipe.execute()
    return {
        place: _entry_id(answer["min"]) if answer["min"] else (ms, number + 1)
        for (place, (ms, number)), answer in zip(delivered.items(), pending, strict=True)
    }


def _retained(client: Client, retention_s: float) -> EntryId:
    seconds, _microseconds = client.time()
    return max(0, int((seconds - retention_s) * 1000)), 0


def _remove_gone_members(client: Client, places: Sequence[StreamGroup]) -> None:
    """Names of members that died; what was pending under them others took over long ago."""
    with client.pipeline(transaction=False) as pipe:
        for key, group in places:
            pipe.xinfo_consumers(key, group)
        answers = pipe.execute(raise_on_error=False)
    gone = [
        (key, group, member["name"].decode())
        for (key, group), members in zip(places, answers, strict=True)
        if not isinstance(members, Exception)
        for member in members
        if member["pending"] == 0 and member["idle"] > GONE_MEMBER_MS
    ]
    if gone:
        remove_members(client, gone)


def _entry_id(text: bytes) -> EntryId:
    ms, _, number = text.partition(b"-")
    return int(ms), int(number)
