"""`fleet relay`."""

import os
import signal
import socket
from contextlib import closing
from dataclasses import replace
from typing import Any

import click

from worker.bus import open_bus
from worker.database import breaker_config, pool_config
from worker.found import require_database
from worker.logs import configure
from worker.relay.relay import FAILED_ROUNDS, Relay, RelayConfig
from worker.settings import Settings


@click.command("relay")
@click.option("--bus", type=click.Choice(["redis", "kafka"]), help="The kind of bus.  [default: OMNINODE_BUS]")
@click.option("--name", help="What it is called in logs.  [default: of host and process]")
def relay_command(bus: str | None, name: str | None) -> None:
    """Publish what waits in the outbox on the event bus until SIGTERM. Any number of relays share the work."""
    given: dict[str, Any] = {} if bus is None else {"bus": bus}
    settings = Settings.load(require=("database_url",), **given)
    with closing(open_bus(settings)) as opened:
        configure(level=settings.log_level, form=settings.log_format)
        require_database(settings)
        config = relay_config(settings, name or f"{socket.gethostname()}-{os.getpid()}")
        relay = Relay(config, pool_config(settings, "omninode-bridge-fleet relay"), opened)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: relay.stop())
        relay.run()


def relay_config(settings: Settings, name: str) -> RelayConfig:
    return RelayConfig(
        name=name,
        batch_events=settings.relay_batch,
        sweep_s=settings.relay_sweep_s,
        bus_timeout_s=settings.bus_timeout_s,
        breaker=replace(
            breaker_config(settings),
            failure_threshold=FAILED_ROUNDS,
            # Each of these rounds may take the bus's whole time, and its dead letters as much again, twice.
            window_s=settings.breaker_window_s + FAILED_ROUNDS * 3 * settings.bus_timeout_s,
        ),
    )
