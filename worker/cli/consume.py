"""`fleet consume`."""

import logging
import signal
from pathlib import Path
from typing import Any

import click

from omninode_bridge.client.broker import QUERY_BATCH_TASK
from omninode_bridge.client.client import FleetClient
from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.wire import Item
from worker.bus import open_bus
from worker.client import client_of
from worker.intake.consume import POLL_RECORDS, ConsumeConfig, Consumption
from worker.intake.ingest import Confirmation
from worker.logs import configure
from worker.settings import Settings

CLOSE_S = 0.5  # a stop has waited for confirmations already
UNREACHED_BYTES = 4 << 30  # the consumer bounds what is under way itself; a client that blocked would stop its reading

logger = logging.getLogger(__name__)


@click.command("consume")
@click.option("--bus", type=click.Choice(["redis", "kafka"]), help="The event bus.  [default: OMNINODE_BUS]")
@click.option("--group", help="The consumer group.  [default: OMNINODE_CONSUME_GROUP]")
@click.option("--topics", help="Topics, by comma; ^ begins an expression.  [default: OMNINODE_CONSUME_TOPICS]")
@click.option("--ready-file", type=click.Path(path_type=Path), hidden=True, help="Written when it begins.")
def consume_command(bus: str | None, group: str | None, topics: str | None, ready_file: Path | None) -> None:
    """Read bridge events from the bus into the fleet until SIGTERM; what is under way is then waited for.

    Any number of them share the work. A record is done when the fleet has confirmed it; what was refused stands on
    `<topic>.dlq` as well.
    """
    given = {"bus": bus, "consume_group": group, "consume_topics": topics}
    settings = Settings.load(require=["broker_url"], **{name: value for name, value in given.items() if value})
    configure(level=settings.log_level, form=settings.log_format)
    consume(settings, ready_file)


def consume(settings: Settings, ready_file: Path | None = None) -> None:
    """Be a consumer until SIGTERM or SIGINT; `ready_file` is written when these stop it softly."""
    bus = open_bus(settings)
    fleet = FleetSide(settings)
    consumption = Consumption(config_of(settings), bus=bus, submit=fleet.submit)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: consumption.stop())
    if ready_file is not None:
        ready_file.touch()
    try:
        consumption.run()
    finally:
        fleet.close()
        bus.close()


def config_of(settings: Settings) -> ConsumeConfig:
    return ConsumeConfig(
        group=settings.consume_group,
        topics=settings.consume_topics,
        max_records=settings.consume_max_records,
        stop_s=settings.soft_shutdown_s,
    )


class FleetSide:
    """The clients that a consumer needs: one for operations, one for queries, which other workers answer."""

    def __init__(self, settings: Settings) -> None:
        bounds: dict[str, Any] = {
            "max_pending": settings.consume_max_records + POLL_RECORDS,
            "max_pending_bytes": UNREACHED_BYTES,
        }
        self._operations = client_of(settings, **bounds)
        self._queries = client_of(settings, **bounds, task=QUERY_BATCH_TASK)

    def submit(self, item: Item) -> Confirmation:
        client = self._queries if item.operation_type == "answer_query" else self._operations
        return client.submit(item)

    def close(self) -> None:
        for client in (self._operations, self._queries):
            _close(client)


def _close(client: FleetClient) -> None:
    try:
        client.close(CLOSE_S)
    except OnexError as error:  # what is unconfirmed was not committed either: the bus delivers it again
        logger.warning("unconfirmed", extra={"fields": {"error": error.message}})
