"""One member of a consumer group on Redis streams.

The members of a group share every partition: an entry goes to whoever asks first, and is pending under that member's
name until it is acknowledged. Three things keep an entry from being lost, or from being stuck:

    a member dies       what was pending under its name is idle; after `claim_idle_s` others claim it
    a member is slow    it renews what it holds three times in that time, so that only silence loses an entry
    an answer is lost   the server counts its entries as ours, and we know nothing of them: after every failure we ask
                        what is pending under our name, and take what we do not hold

A member that was silent for too long and comes back may hold entries together with whoever claimed them. Both go on,
and the second acknowledgement finds nothing: that is one of the repetitions that at-least-once delivery has anyway.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import orjson

from worker.bus.protocol import BusRecord, Partition
from worker.bus.redis_streams import FAILURES, Client, Entries, Streams, have_group, record, remove_members
from worker.bus.subscription import Subscription

log = logging.getLogger(__name__)

LOOK_S = 1.0  # between two looks for new topics and for what dead members left
IDS_PER_COMMAND = 1000
PENDING_AT_MOST = 1_000_000  # of one member in one stream; the server wants a number
CLAIMABLE_MS = 365 * 24 * 3600 * 1000  # idle for so long: longer than any claim_idle_s
NOTHING_LEFT = b"0-0"


class RedisConsumer:
    """See worker.bus.protocol.BusConsumer."""

    def __init__(
        self, streams: Streams, *, group: str, topics: Sequence[str], claim_idle_s: float, timeout_s: float
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._streams = streams
        self._group = group
        self._topic_names = list(topics)
        self._subscription = Subscription(topics)
        self._claim_idle_s = claim_idle_s
        self._client = streams.connect(timeout_s + LOOK_S)  # an answer may be waited for that long on purpose
        self._places: dict[str, Partition] = {}  # the streams that are read
        self._unread: set[str] = set()  # streams that cannot be read
        self._held: dict[str, dict[bytes, None]] = defaultdict(dict)  # stream -> entries not yet acknowledged
        self._ready: deque[BusRecord] = deque()  # held, and not yet given out
        self._claims: dict[str, bytes] = {}  # stream -> where to go on looking for what others left
        self._look_at = self._renew_at = 0.0  # on the monotonic clock
        self._unsure = False  # whether an answer may have been lost
        self._pause = threading.Event()

    def poll(self, limit: int, timeout_s: float) -> list[BusRecord]:
        deadline = time.monotonic() + timeout_s
        with self._failing_as_away():
            while True:
                self._keep_up(limit)
                wait_s = max(0.0, min(LOOK_S, deadline - time.monotonic()))
                if limit and self._places and not self._ready:
                    self._read(limit, wait_s)
                elif not (limit and self._ready):
                    self._pause.wait(wait_s)
                if (limit and self._ready) or time.monotonic() >= deadline:
                    return self._take(limit)

    def commit(self, records: Sequence[BusRecord]) -> None:
        ids: dict[str, list[bytes]] = defaultdict(list)
        for one in records:
            ids[self._streams.stream_key(one.topic, one.partition)].append(str(one.offset).encode())
        with self._failing_as_away():
            self._acknowledge(ids)

    def close(self) -> None:
        """Entries that were not committed count as idle from now on, so that whoever looks next claims them."""
        try:
            for key in self._places:
                for ids in _portions(self._pending(key)):
                    self._client.xclaim(key, self._group, self.name, 0, ids, idle=CLAIMABLE_MS, justid=True)
            remove_members(self._client, [(key, self._group, self.name) for key in self._places])
        except FAILURES as error:
            log.warning("left the group %s without a word: %s", self._group, self._streams.text(error))
        finally:
            self._client.close()

    @contextmanager
    def _failing_as_away(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            self._places.clear()  # streams and groups may be gone: look again for all of them
            self._look_at, self._unsure = 0.0, True
            self._client.connection_pool.disconnect()  # the address may have come to mean another server
            raise self._streams.away(error) from None

    def _keep_up(self, limit: int) -> None:
        """What has to be done from time to time; with a limit of 0, without taking anything."""
        now = time.monotonic()
        if now >= self._renew_at:
            self._renew()
            self._renew_at = now + self._claim_idle_s / 3
        if now >= self._look_at:
            self._find_topics()
            self._claims = dict.fromkeys(self._places, NOTHING_LEFT)
            self._look_at = now + min(LOOK_S, self._claim_idle_s / 3)
        if limit and self._unsure:
            self._recollect()
        if limit and self._claims and not self._ready:
            self._claim(limit)

    def _find_topics(self) -> None:
        """Read every partition of every topic that fits."""
        if not self._places:
            self._tell_subscription()
        found = {
            key: place
            for topic, count in self._streams.topics(self._client).items()
            if self._subscription.takes(topic)
            for key, place in self._streams.partitions(topic, count).items()
            if key not in self._places
        }
        if not found:
            return
        unread = have_group(self._client, list(found), self._group)
        for key in unread.keys() - self._unread:
            log.warning("not read: %s: %s", key, unread[key])
        self._unread = set(unread)
        self._places |= {key: place for key, place in found.items() if key not in unread}

    def _tell_subscription(self) -> None:
        """Let those who tidy know what the group reads; only when it is news, which a full server would not take."""
        names = orjson.dumps(self._topic_names)
        if self._streams.groups(self._client).get(self._group) != names:
            self._client.hset(self._streams.groups_key, self._group, names)

    def _share(self, limit: int) -> int:
        """How many entries to ask of each stream, so that about `limit` come."""
        return max(1, -(-limit // len(self._places)))

    def _read(self, limit: int, wait_s: float) -> None:
        answer = self._client.xreadgroup(
            self._group,
            self.name,
            dict.fromkeys(self._places, ">"),
            count=self._share(limit),
            block=int(wait_s * 1000) or None,  # 0 would be for ever
        )
        for key, entries in answer:
            self._accept(key.decode(), entries)

    def _claim(self, limit: int) -> None:
        """Take over what silent members hold, a share of each stream at a time."""
        with self._client.pipeline(transaction=False) as pipe:
            for key, start in self._claims.items():
                pipe.xautoclaim(
                    key, self._group, self.name, int(self._claim_idle_s * 1000), start, count=self._share(limit)
                )
            answers = pipe.execute()
        keys, self._claims = list(self._claims), {}
        for key, (start, entries, *_deleted) in zip(keys, answers, strict=True):
            self._accept(key, entries)
            if start != NOTHING_LEFT:
                self._claims[key] = start

    def _recollect(self) -> None:
        """Take what is pending under our name and not held: its answer was lost."""
        for key in self._places:
            lost = [entry_id for entry_id in self._pending(key) if entry_id not in self._held[key]]
            for ids in _portions(lost):
                self._accept(key, self._client.xclaim(key, self._group, self.name, 0, ids))
        self._unsure = False

    def _pending(self, key: str) -> list[bytes]:
        found = self._client.xpending_range(key, self._group, "-", "+", PENDING_AT_MOST, self.name)
        return [one["message_id"] for one in found]

    def _renew(self) -> None:
        """Reset the idle time of what we hold."""
        with self._client.pipeline(transaction=False) as pipe:
            for key, held in self._held.items():
                for ids in _portions(held):
                    pipe.xclaim(key, self._group, self.name, 0, ids, justid=True)
            _execute(pipe)

    def _accept(self, key: str, entries: Entries) -> None:
        """Hold the entries, for `poll` to give out; but not what we hold already, nor what was deleted meanwhile."""
        held = self._held[key]
        for entry_id, entry in entries:
            if entry_id is not None and entry and entry_id not in held:
                held[entry_id] = None
                self._ready.append(record(self._places[key], entry_id, entry))

    def _acknowledge(self, ids: dict[str, list[bytes]]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for key, done in ids.items():
                for some in _portions(done):
                    pipe.xack(key, self._group, *some)
            _execute(pipe)
        for key, done in ids.items():
            for entry_id in done:
                self._held[key].pop(entry_id, None)

    def _take(self, limit: int) -> list[BusRecord]:
        taken = list(islice(self._ready, limit))
        for _ in taken:
            self._ready.popleft()
        return taken


def _execute(pipe: Client) -> None:
    """Run commands about entries that we hold; a stream or group that is gone has taken its entries with it."""
    for answer in pipe.execute(raise_on_error=False):
        if isinstance(answer, Exception) and not str(answer).startswith(("NOGROUP", "WRONGTYPE")):
            raise answer


def _portions(ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The ids, as many at a time as a command may name."""
    rest = list(ids)
    for start in range(0, len(rest), IDS_PER_COMMAND):
        yield rest[start : start + IDS_PER_COMMAND]
