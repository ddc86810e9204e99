"""A Kafka cluster for tests: librdkafka's mock, as a process of its own.

    python -m tests.kafka_mock [BROKERS]

prints `kafka://host:port,...` and then obeys commands, one a line, each answered by a line, `ok` or `error ...`:

    errors API CODE ...       the next requests of this kind (0 Produce, 1 Fetch, 8 OffsetCommit ...) get these answers
    topic-error TOPIC CODE    every metadata answer about the topic is this error; 0 ends that
    topic NAME PARTITIONS     make a topic (one that is used without gets 4 partitions)
    leader TOPIC PARTITION ID who leads a partition: broker 1, 2 ..., or nobody, -1
    delay MS                  every answer takes this long
    down | up                 all brokers refuse connections | take them again, with all that they had
    quit                      end, as the end of its input does

It keeps in memory about 5 MB of each partition, the groups and what they committed. tests/kafka_harness.py drives it.
"""

import ctypes
import sys
from pathlib import Path
from typing import Any

import confluent_kafka

INITIAL_REBALANCE_DELAY_MS = 200  # a new group waits this long for further members; 3 s unless told
REPLICAS = 1
ERROR_TEXT_BYTES = 512
PRODUCER = 0  # rd_kafka_type_t

_POINTER, _TEXT, _INT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_BROKER, _API = ctypes.c_int32, ctypes.c_int16
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "conf_new": (_POINTER, []),
    "conf_set": (_INT, [_POINTER, _TEXT, _TEXT, _TEXT, _SIZE]),
    "new": (_POINTER, [_INT, _POINTER, _TEXT, _SIZE]),
    "destroy": (None, [_POINTER]),
    "mock_cluster_new": (_POINTER, [_POINTER, _INT]),
    "mock_cluster_destroy": (None, [_POINTER]),
    "mock_cluster_bootstraps": (_TEXT, [_POINTER]),
    "mock_group_initial_rebalance_delay_ms": (None, [_POINTER, ctypes.c_int32]),
    "mock_push_request_errors_array": (None, [_POINTER, _API, _SIZE, ctypes.POINTER(_INT)]),
    "mock_topic_set_error": (None, [_POINTER, _TEXT, _INT]),
    "mock_topic_create": (_INT, [_POINTER, _TEXT, _INT, _INT]),
    "mock_partition_set_leader": (_INT, [_POINTER, _TEXT, ctypes.c_int32, _BROKER]),
    "mock_broker_set_rtt": (_INT, [_POINTER, _BROKER, _INT]),
    "mock_broker_set_down": (_INT, [_POINTER, _BROKER]),
    "mock_broker_set_up": (_INT, [_POINTER, _BROKER]),
}


class MockCluster:
    """The cluster within this process. The Python client does not offer it, but the librdkafka in its wheel does."""

    def __init__(self, brokers: int) -> None:
        self._library = _librdkafka()
        text = ctypes.create_string_buffer(ERROR_TEXT_BYTES)
        config = self._call("conf_new")
        self._call("conf_set", config, b"log_level", b"0", text, ERROR_TEXT_BYTES)  # this client itself goes nowhere
        self._owner = self._call("new", PRODUCER, config, text, ERROR_TEXT_BYTES)
        if not self._owner:
            raise RuntimeError(text.value.decode())
        self._cluster = self._call("mock_cluster_new", self._owner, brokers)
        self._brokers = range(1, brokers + 1)
        self._call("mock_group_initial_rebalance_delay_ms", self._cluster, INITIAL_REBALANCE_DELAY_MS)

    @property
    def url(self) -> str:
        return f"kafka://{self._call('mock_cluster_bootstraps', self._cluster).decode()}"

    def obey(self, command: str, *words: str) -> None:
        """Raises whatever is wrong with the command."""
        match command:
            case "errors":
                self._push_errors(int(words[0]), [int(code) for code in words[1:]])
            case "topic-error":
                self._call("mock_topic_set_error", self._cluster, words[0].encode(), int(words[1]))
            case "topic":
                self._create(words[0], int(words[1]))
            case "leader":
                self._call("mock_partition_set_leader", self._cluster, words[0].encode(), int(words[1]), int(words[2]))
            case "delay":
                self._each_broker("mock_broker_set_rtt", int(words[0]))
            case "down" | "up":
                self._each_broker(f"mock_broker_set_{command}")
            case _:
                raise ValueError("no such command")

    def close(self) -> None:
        self._call("mock_cluster_destroy", self._cluster)
        self._call("destroy", self._owner)

    def _push_errors(self, api: int, codes: list[int]) -> None:
        array = (_INT * len(codes))(*codes)
        self._call("mock_push_request_errors_array", self._cluster, api, len(codes), array)

    def _create(self, topic: str, partitions: int) -> None:
        if code := self._call("mock_topic_create", self._cluster, topic.encode(), partitions, REPLICAS):
            raise ValueError(f"not made: {confluent_kafka.KafkaError(code)}")

    def _each_broker(self, function: str, *arguments: int) -> None:
        for broker in self._brokers:
            self._call(function, self._cluster, broker, *arguments)

    def _call(self, function: str, *arguments: Any) -> Any:
        return getattr(self._library, f"rd_kafka_{function}")(*arguments)


def _librdkafka() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    found = (*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*"))
    library = ctypes.CDLL(str(found[0]))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def main() -> None:
    cluster = MockCluster(int(sys.argv[1]) if sys.argv[1:] else 1)
    print(cluster.url, flush=True)
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        try:
            cluster.obey(*words)
        except Exception as error:
            print(f"error {error!r}", flush=True)
        else:
            print("ok", flush=True)
    cluster.close()


if __name__ == "__main__":
    main()
