"""A member of a consumer group as a process, to be killed: reads, prints a line per record, and commits nothing.

python -m tests.bus_member GROUP TOPIC     with OMNINODE_BUS, OMNINODE_BUS_URL and what else there is to set
"""

import sys

from worker.bus import open_bus
from worker.settings import Settings


def main(group: str, topic: str) -> None:
    consumer = open_bus(Settings.load()).consumer(group, [topic], on_lost=lambda partitions: None)
    while True:
        for record in consumer.poll(1000, 0.2):
            print(record.topic, record.partition, record.offset, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
