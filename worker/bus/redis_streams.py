"""Redis streams as a bus: what those who publish, read and tidy agree on. docs/bus.md describes it for operators.

{prefix}bus:topics       hash: topic -> how many partitions it has, fixed by whoever publishes to it first
{prefix}bus:groups       hash: group -> JSON list of the topics that it reads
{prefix}bus:{topic}:{n}  stream: one partition; fields k (key), v (value), h (headers as JSON), what is empty left out
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from omninode_bridge.client.address import masked, scrubbed
from omninode_bridge.client.broker import CONNECT_TIMEOUT_S, HEALTH_CHECK_INTERVAL_S, keepalive_options
from worker.bus.protocol import BusAway, BusMessage, BusRecord, Partition
from worker.errors import FleetError

KEY, VALUE, HEADERS = b"k", b"v", b"h"
AWAY_TEXT_CHARS = 200
FAILURES = (redis.RedisError, OSError)  # whatever goes wrong between a client and its server

MAX_PARTITIONS = 256  # as settings.bus_partitions; whoever else writes down a number may harm his topic only

# What a pipeline adds to an error: the command with its values, which belong into no log.
_COMMAND = re.compile(r"^Command # .* of pipeline caused error: ", re.DOTALL)

# redis-py declares what its commands answer for either protocol and either decoding; here they answer in bytes.
Client = Any
GroupState = Mapping[str, Any]  # as XINFO GROUPS tells it
Entries = Iterable[tuple[bytes | None, Mapping[bytes, bytes] | None]]  # as redis-py reads them


@dataclass(frozen=True, repr=False)
class Streams:
    """Where the bus is, and what its keys are called.

    Raises FleetError for an address that no client can use.
    """

    url: str
    prefix: str

    def __post_init__(self) -> None:
        try:
            redis.Redis.from_url(self.url).close()
        except ValueError as error:
            raise FleetError(f"OMNINODE_BUS_URL: {scrubbed(str(error), self.url)}") from None

    def __repr__(self) -> str:
        return f"Streams({masked(self.url)!r})"

    @property
    def topics_key(self) -> str:
        return f"{self.prefix}bus:topics"

    @property
    def groups_key(self) -> str:
        return f"{self.prefix}bus:groups"

    def stream_key(self, topic: str, partition: int) -> str:
        return f"{self.prefix}bus:{topic}:{partition}"

    def connect(self, timeout_s: float) -> Client:
        """A client that connects at its first use, answers in the shapes of RESP2 and tries nothing twice by itself."""
        options: dict[str, Any] = {
            "protocol": 2,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": min(CONNECT_TIMEOUT_S, timeout_s),
            "socket_keepalive": True,
            "socket_keepalive_options": keepalive_options(),
            "health_check_interval": HEALTH_CHECK_INTERVAL_S,
            "retry": Retry(NoBackoff(), 0),
        }
        return redis.Redis.from_url(self.url, **options)  # rediss:// checks certificates unless the URL says otherwise

    def text(self, error: BaseException) -> str:
        """The error for people: without secrets, without the values of the command that met it."""
        text = f"{type(error).__name__}: {_COMMAND.sub('', str(error))}"
        return scrubbed(text, self.url)[:AWAY_TEXT_CHARS]

    def away(self, error: BaseException) -> BusAway:
        return BusAway(self.text(error))

    def topics(self, client: Client) -> dict[str, int]:
        """Every topic that there is, and how many partitions it has; without those of which that is not known."""
        found: Mapping[bytes, bytes] = client.hgetall(self.topics_key)
        counts = {topic.decode(errors="replace"): partition_count(text) for topic, text in found.items()}
        return {topic: count for topic, count in counts.items() if count is not None}

    def groups(self, client: Client) -> dict[str, bytes]:
        """Every group that ever was a member here, and the JSON list of what it reads."""
        found: Mapping[bytes, bytes] = client.hgetall(self.groups_key)
        return {group.decode(errors="replace"): names for group, names in found.items()}

    def partitions(self, topic: str, count: int) -> dict[str, Partition]:
        """The streams of a topic: their keys, and which partition each is."""
        return {self.stream_key(topic, number): (topic, number) for number in range(count)}


def partition_count(text: bytes) -> int | None:
    """How many partitions a topic has, as it is written down; None for what is no such number."""
    count = int(text) if text.isdigit() and len(text) <= len(str(MAX_PARTITIONS)) else 0
    return count if 1 <= count <= MAX_PARTITIONS else None


def is_forbidden(error: object) -> bool:
    """Whether the server says that the user may not touch a key; that a command is not allowed is another complaint."""
    return isinstance(error, redis.exceptions.NoPermissionError) and "permissions to access" in str(error)


def partition_of(key: str, partitions: int) -> int:
    """The platform's rule: the first 8 hex digits of the key's SHA-256, modulo the number of partitions."""
    return int(sha256(key.encode()).hexdigest()[:8], 16) % partitions


def fields(message: BusMessage) -> dict[bytes, bytes]:
    """The message as an entry's fields. An empty key is none.   Raises UnicodeEncodeError."""
    found = {KEY: message.key.encode(), VALUE: message.value}
    if not message.key:
        del found[KEY]
    if message.headers:
        found[HEADERS] = orjson.dumps(dict(message.headers))
    return found


def record(place: Partition, entry_id: bytes, entry: Mapping[bytes, bytes]) -> BusRecord:
    """An entry as a record, whoever wrote it; its id begins with the server's time."""
    key = entry.get(KEY)
    return BusRecord(
        topic=place[0],
        partition=place[1],
        offset=entry_id.decode(),
        key=None if key is None else key.decode(errors="backslashreplace"),
        value=entry.get(VALUE),
        timestamp_ms=int(entry_id.partition(b"-")[0]),
        headers=_headers(entry.get(HEADERS)),
    )


def _headers(text: bytes | None) -> dict[str, str]:
    try:
        found = orjson.loads(text or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def groups_of(client: Client, keys: Sequence[str]) -> dict[str, dict[str, GroupState]]:
    """The groups of each of the streams that there is, by name."""
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.xinfo_groups(key)
        answers = pipe.execute(raise_on_error=False)
    return {
        key: {group["name"].decode(): group for group in found}
        for key, found in zip(keys, answers, strict=True)
        if not isinstance(found, Exception)
    }


def have_group(client: Client, keys: Sequence[str], group: str) -> dict[str, str]:
    """Let the group begin with the earliest entry of each stream where it is not yet.

    Asks first, since a server that is full refuses even to create what is there; whoever empties it needs its group.
    Returns the streams that cannot have the group now, and the server's words for it.
    """
    there = groups_of(client, keys)
    missing = [key for key in keys if group not in there.get(key, {})]
    if not missing:
        return {}
    with client.pipeline(transaction=False) as pipe:
        for key in missing:
            pipe.xgroup_create(key, group, id="0", mkstream=True)
        answers = pipe.execute(raise_on_error=False)
    without = {}
    for key, answer in zip(missing, answers, strict=True):
        if isinstance(answer, redis.OutOfMemoryError) or str(answer).startswith("WRONGTYPE") or is_forbidden(answer):
            without[key] = str(answer)
        elif isinstance(answer, Exception) and not str(answer).startswith("BUSYGROUP"):
            raise answer
    return without


# Atomic, because whatever is pending under a name goes with it.
_REMOVE_IDLE_MEMBER = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
"""


def remove_members(client: Client, places: Iterable[tuple[str, str, str]]) -> None:
    """Remove each (stream, group, name) where nothing is pending under the name.

    Where scripts are not allowed the names stay, which costs a little memory.
    """
    with client.pipeline(transaction=False) as pipe:
        for key, group, name in places:
            pipe.eval(_REMOVE_IDLE_MEMBER, 1, key, group, name)
        pipe.execute(raise_on_error=False)
