"""URL, variables and environment, as librdkafka gets them."""

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from worker.bus.kafka_settings import KafkaSettings, kafka_settings
from worker.errors import FleetError
from worker.settings import Settings

PASSWORD = "p@ss:w/rd?&="
QUOTED = "p%40ss%3Aw%2Frd%3F%26%3D"
SASL = {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "SCRAM-SHA-512"}
PLAIN = {"kafka_security_protocol": "SASL_PLAINTEXT"}
LOGIN = {"kafka_sasl_username": "fleet", "kafka_sasl_password": PASSWORD}


def kafka(url: str = "kafka://one:9092", **more: Any) -> KafkaSettings:
    return kafka_settings(Settings(bus="kafka", bus_url=url, **more))


def complaint(url: str = "kafka://one:9092", **more: Any) -> str:
    with pytest.raises(FleetError) as caught:
        kafka(url, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("kafka://one:9092", "one:9092"),
        ("kafka://one:9092,two:9093/", "one:9092,two:9093"),
        ("kafka://one,two:9093", "one:9092,two:9093"),
        ("kafka://10.0.0.1:9092/?security_protocol=ssl", "10.0.0.1:9092"),
        ("kafka://[::1]:9093,[::1]", "[::1]:9093,[::1]:9092"),
    ],
)
def test_hosts_come_with_their_ports(url: str, hosts: str) -> None:
    assert kafka(url).cluster["bootstrap.servers"] == hosts


def test_without_a_word_of_security_there_is_none() -> None:
    assert kafka().cluster["security.protocol"] == "PLAINTEXT"
    assert not [key for key in kafka().cluster if key.startswith(("sasl.", "ssl."))]


@pytest.mark.parametrize(
    ("url", "more"),
    [
        (f"kafka://fleet:{QUOTED}@one/?security_protocol=SASL_SSL&sasl_mechanism=scram-sha-512", {}),
        (f"kafka://one/?sasl_username=fleet&sasl_password={QUOTED}", SASL),
        ("kafka://one:65535", SASL | LOGIN),
        ("kafka://one", SASL | LOGIN | {"kafka_security_protocol": " sasl_ssl", "kafka_ssl_ca_location": "/ca"}),
        (f"kafka://fleet:{QUOTED}@one", SASL | {"kafka_sasl_username": "other", "kafka_sasl_password": "other"}),
    ],
)
def test_the_url_says_it_or_else_the_variables(url: str, more: dict[str, Any]) -> None:
    cluster = kafka(url, **more).cluster
    assert {key: value for key, value in cluster.items() if key.startswith(("sasl.", "security."))} == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "fleet",
        "sasl.password": PASSWORD,
    }


def test_a_password_may_hold_an_unescaped_at() -> None:
    assert kafka("kafka://fleet:a@b@one", **SASL).cluster["sasl.password"] == "a@b"


def test_certificates_are_found_where_url_or_variable_say() -> None:
    assert kafka(kafka_security_protocol="SSL", kafka_ssl_ca_location="/ca").cluster["ssl.ca.location"] == "/ca"
    url = "kafka://one/?security_protocol=SSL&ssl_ca_location=/a%20b"
    assert kafka(url, kafka_ssl_ca_location="/ca").cluster["ssl.ca.location"] == "/a b"


@pytest.mark.parametrize(
    ("url", "more", "words"),
    [
        ("kafka://", {}, ["OMNINODE_BUS_URL", "host"]),
        ("kafka://one:port", {}, ["'one:port'"]),
        ("kafka://one:٩٠٩٢", {}, ["is not host:port"]),
        ("kafka://one:9092,two:65536", {}, ["'two:65536'", "from 1 to 65535"]),
        ("kafka://one:0", {}, ["'one:0'", "from 1 to 65535"]),
        (f"kafka://one:{'9' * 5000}", {}, ["from 1 to 65535"]),
        ("kafka://one/?ssl_ca_location=/ca", {}, ["ssl_ca_location: of no use", "PLAINTEXT"]),
        ("kafka://one", {"kafka_ssl_ca_location": "/ca"}, ["ssl_ca_location: of no use", "PLAINTEXT"]),
        ("kafka://one", SASL | LOGIN | PLAIN | {"kafka_ssl_ca_location": "/ca"}, ["ssl_ca_location", "SASL_PLAINTEXT"]),
        ("kafka://one/topic", {}, ["'one/topic"]),
        ("kafka://one/?sasl_user=fleet&acks=1", {}, ["'acks', 'sasl_user'", "sasl_username"]),
        ("kafka://one/?security_protocol=TLS", {}, ["security_protocol", "SASL_SSL"]),
        (f"kafka://fleet:{QUOTED}@one", {}, ["security_protocol"]),
        (f"kafka://fleet:{QUOTED}@one/?security_protocol=SSL", {}, ["sasl_username, sasl_password", "SSL"]),
        ("kafka://one", {"kafka_security_protocol": "SASL_SSL"}, ["sasl_mechanism", "PLAIN"]),
        ("kafka://one", SASL | {"kafka_sasl_mechanism": "GSSAPI"} | LOGIN, ["sasl_mechanism", "PLAIN"]),
        ("kafka://one", SASL | {"kafka_sasl_username": "fleet"}, ["sasl_password: missing"]),
    ],
)
def test_what_is_wrong_is_named_without_a_secret(url: str, more: dict[str, Any], words: list[str]) -> None:
    text = complaint(url, **more)
    assert all(word in text for word in words), text
    assert PASSWORD not in text and QUOTED not in text


@pytest.mark.parametrize(
    ("environment", "compression", "linger_ms", "kib"),
    [("development", "none", 0, 256), ("staging", "gzip", 5, 512), ("production", "lz4", 10, 1024)],
)
def test_the_environment_chooses_compression_linger_and_size(
    environment: Any, compression: str, linger_ms: int, kib: int
) -> None:
    chosen = kafka(environment=environment)
    assert (chosen.producer["compression.type"], chosen.producer["linger.ms"]) == (compression, linger_ms)
    assert chosen.max_bytes == kib << 10
    assert int(chosen.producer["message.max.bytes"]) > chosen.max_bytes


def test_a_size_that_is_given_wins() -> None:
    assert kafka(environment="production", bus_max_message_bytes=2048).max_bytes == 2048


def test_a_message_is_never_given_up_for_its_own_sake() -> None:
    producer = kafka().producer
    assert (producer["enable.idempotence"], producer["acks"], producer["message.timeout.ms"]) == (True, "all", 0)


def test_a_topic_that_is_not_there_is_known_before_the_time_of_a_batch_is_over() -> None:
    assert kafka(bus_timeout_s=10).producer["topic.metadata.propagation.max.ms"] == 5000


def test_nothing_is_committed_but_by_the_fleet() -> None:
    consumer = kafka().consumer
    assert (consumer["enable.auto.commit"], consumer["enable.auto.offset.store"]) == (False, False)
    assert consumer["auto.offset.reset"] == "earliest"


@pytest.mark.parametrize(("idle_s", "session_ms"), [(30, 10_000), (6, 6_000), (0.9, 900)])
def test_a_silent_member_is_out_after_ten_seconds_at_most(idle_s: float, session_ms: int) -> None:
    consumer = kafka(bus_claim_idle_s=idle_s).consumer
    assert consumer["session.timeout.ms"] == session_ms
    assert consumer["heartbeat.interval.ms"] == session_ms // 3


@pytest.mark.parametrize("timeout_s", [0.01, 1, 600])
def test_the_library_takes_all_of_it(timeout_s: float) -> None:
    chosen = kafka("kafka://127.0.0.1:1", bus_timeout_s=timeout_s, bus_claim_idle_s=timeout_s)
    Producer(dict(chosen.producer), logger=None)
    Consumer({**chosen.consumer, "group.id": "g"}, logger=None).close()


def test_the_password_is_neither_shown_nor_told() -> None:
    chosen = kafka("kafka://one", **SASL, **LOGIN)
    assert PASSWORD not in repr(chosen) and "one:9092" in repr(chosen)
    assert chosen.scrubbed(f"wrong: {PASSWORD}") == "wrong: ***"
