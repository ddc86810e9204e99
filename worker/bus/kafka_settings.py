"""Where Kafka is and how to talk to it: URL, variables and environment become librdkafka's configuration.

    kafka://[user:password@]host:port,host:port/?security_protocol=SASL_SSL&sasl_mechanism=SCRAM-SHA-512&...

What the URL does not say, the variables OMNINODE_KAFKA_... do. docs/bus.md, "Kafka", gives the reasons of the values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from omninode_bridge.contract.errors import quoted
from worker.bus.limits import max_message_bytes
from worker.errors import FleetError
from worker.settings import Settings

DEFAULT_PORT = 9092
PORTS = range(1, 65536)
QUERY_KEYS = ("security_protocol", "sasl_mechanism", "sasl_username", "sasl_password", "ssl_ca_location")
SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
ERROR_TEXT_CHARS = 200

RECORD_ROOM_BYTES = 64 << 10  # for key, headers and Kafka's own, beside the value
CONNECT_TIMEOUT_MS = 5_000
RECONNECT_MAX_MS = 1_000  # a bus that is back is found within about this time
REQUEST_TIMEOUT_MS = range(3_000, 300_000)  # above the time that a fetch may wait; what librdkafka takes
LOG_LEVEL = 2  # critical; connections that fail are told by what needed them, not at every attempt
MAX_POLL_INTERVAL_MS = 600_000  # it is polled at least every few seconds, unless it hangs
# A live member's heartbeats come by themselves, however long it works: a silent one need not be waited for.
MAX_SESSION_MS = 10_000
PREFETCH_KIB = 16 << 10

Value = str | int | bool
Config = Mapping[str, Value]


class Profile(NamedTuple):
    compression: str
    linger_ms: int


# Of the platform's own producers, environment by environment.
PROFILES = {
    "development": Profile("none", 0),
    "staging": Profile("gzip", 5),
    "production": Profile("lz4", 10),
}


@dataclass(frozen=True, kw_only=True, repr=False)
class KafkaSettings:
    """Configuration for librdkafka, complete but for what belongs to one client: group, callbacks, logger.

    max_bytes  largest value of a message
    timeout_s  of one request, a commit for instance
    """

    cluster: Config
    producer: Config
    consumer: Config
    max_bytes: int
    timeout_s: float

    def __repr__(self) -> str:
        return f"KafkaSettings({self.cluster['bootstrap.servers']!r})"

    def scrubbed(self, text: str) -> str:
        """An error's text, shortened, without the password, should the library have put it there."""
        password = str(self.cluster.get("sasl.password", ""))
        return (text.replace(password, "***") if password else text)[:ERROR_TEXT_CHARS]


def kafka_settings(settings: Settings) -> KafkaSettings:
    """Raises FleetError that names the wrong part of the URL or the variable, and holds no secret."""
    cluster = _cluster(settings)
    return KafkaSettings(
        cluster=cluster,
        producer={**cluster, **_producer(settings)},
        consumer={**cluster, **_consumer(settings)},
        max_bytes=max_message_bytes(settings),
        timeout_s=settings.bus_timeout_s,
    )


def _cluster(settings: Settings) -> dict[str, Value]:
    hosts, said = _parsed(settings.bus_url)
    return {
        "bootstrap.servers": hosts,
        "client.id": "omninode-bridge-fleet",
        "socket.keepalive.enable": True,
        "socket.connection.setup.timeout.ms": CONNECT_TIMEOUT_MS,
        "socket.timeout.ms": min(max(_ms(settings.bus_timeout_s), REQUEST_TIMEOUT_MS.start), REQUEST_TIMEOUT_MS.stop),
        "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
        "log_level": LOG_LEVEL,
        **_security({**_variables(settings), **said}),
    }


def _producer(settings: Settings) -> dict[str, Value]:
    profile = PROFILES[settings.environment]
    return {
        "enable.idempotence": True,
        "acks": "all",
        # Five would be allowed: brokers refuse what comes before its turn. With one, order hangs on nothing else.
        "max.in.flight.requests.per.connection": 1,
        # No limit of its own for a message: one that is given up would let later ones of its key overtake it.
        "message.timeout.ms": 0,
        # A topic that does not exist is known as such before the whole batch is given up.
        "topic.metadata.propagation.max.ms": max(1, _ms(settings.bus_timeout_s) // 2),
        "partitioner": "murmur2_random",  # where Java and aiokafka clients put the same key
        "compression.type": profile.compression,
        "linger.ms": profile.linger_ms,
        "message.max.bytes": max_message_bytes(settings) + RECORD_ROOM_BYTES,
    }


def _consumer(settings: Settings) -> dict[str, Value]:
    session_ms = max(1, min(MAX_SESSION_MS, _ms(settings.bus_claim_idle_s)))
    return {
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "partition.assignment.strategy": "roundrobin",
        "session.timeout.ms": session_ms,
        "heartbeat.interval.ms": max(1, session_ms // 3),
        "max.poll.interval.ms": MAX_POLL_INTERVAL_MS,
        "queued.max.messages.kbytes": PREFETCH_KIB,
    }


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _parsed(url: str) -> tuple[str, dict[str, str]]:
    """The hosts as librdkafka wants them, and what the URL says by the names of QUERY_KEYS."""
    place, _, query = url.removeprefix("kafka://").partition("?")
    user_info, at, hosts = place.removesuffix("/").rpartition("@")  # a password may hold an unescaped @
    said = _query(query)
    if at:
        user, _, password = user_info.partition(":")
        said = {"sasl_username": unquote(user), "sasl_password": unquote(password)} | said
    named = [host.strip() for host in hosts.split(",") if host.strip()]
    if not named:
        raise FleetError("OMNINODE_BUS_URL: names no host; kafka://host:port,host:port is wanted")
    return ",".join(_with_port(host) for host in named), said


def _with_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):  # an address of IPv6 without port
        name, port = host, str(DEFAULT_PORT)
    if not name or "/" in name or not (port.isascii() and port.isdigit()):
        raise FleetError(f"OMNINODE_BUS_URL: {quoted(host)} is not host:port")
    if len(port) > 5 or int(port) not in PORTS:
        raise FleetError(f"OMNINODE_BUS_URL: {quoted(host)}: a port is from {PORTS.start} to {PORTS.stop - 1}")
    return f"{name}:{port}"


def _query(query: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    said = {key: unquote(value) for key, _, value in pairs}
    if unknown := sorted(quoted(key) for key in said.keys() - set(QUERY_KEYS)):
        raise FleetError(
            f"OMNINODE_BUS_URL: unknown in its query: {', '.join(unknown)}; known: {', '.join(QUERY_KEYS)}"
        )
    return said


def _variables(settings: Settings) -> dict[str, str]:
    given = {
        "security_protocol": settings.kafka_security_protocol or "",
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_username": settings.kafka_sasl_username,
        "sasl_password": settings.kafka_sasl_password.get_secret_value(),
        "ssl_ca_location": str(settings.kafka_ssl_ca_location or ""),
    }
    return {key: value for key, value in given.items() if value}


def _security(said: dict[str, str]) -> dict[str, Value]:
    """Nothing is guessed that would send a password in clear text, or leave one unused."""
    sasl = [key for key in QUERY_KEYS if key.startswith("sasl_") and said.get(key)]
    protocol = said.get("security_protocol", "" if sasl else "PLAINTEXT").upper()
    mechanism = said.get("sasl_mechanism", "").upper()
    if protocol not in SECURITY_PROTOCOLS:
        raise FleetError(f"Kafka: security_protocol must be one of {', '.join(SECURITY_PROTOCOLS)}")
    if not protocol.startswith("SASL_"):
        if sasl:
            raise _useless(sasl, protocol)
    elif mechanism not in SASL_MECHANISMS:
        raise FleetError(f"Kafka: sasl_mechanism must be one of {', '.join(SASL_MECHANISMS)}")
    elif missing := {"sasl_username", "sasl_password"} - set(sasl):
        raise FleetError(f"Kafka: {', '.join(sorted(missing))}: missing, with security_protocol {protocol}")
    if said.get("ssl_ca_location") and not protocol.endswith("SSL"):
        raise _useless(["ssl_ca_location"], protocol)
    given = {**said, "security_protocol": protocol, **({"sasl_mechanism": mechanism} if mechanism else {})}
    return {key.replace("_", "."): value for key, value in given.items() if value}


def _useless(named: list[str], protocol: str) -> FleetError:
    return FleetError(f"Kafka: {', '.join(named)}: of no use with security_protocol {protocol}")
