"""`fleet up` and `fleet down`."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click

from worker.embedded import detach
from worker.embedded.data_dir import DataDir
from worker.embedded.stack import StackConfig, StackEnv
from worker.embedded.up import run_stack
from worker.settings import Settings

PORT = click.IntRange(1, 65535)


def _data_dir(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path:
    return value if value is not None else Settings.load().data_dir


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_data_dir,
    help="Where data, logs and secrets are kept.  [default: OMNINODE_DATA_DIR, else .fleet]",
)


@click.command()
@data_dir_option
@click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True, help="Worker processes.")
@click.option("--relays", type=click.IntRange(min=0), default=1, show_default=True, help="Relays: outbox to event bus.")
@click.option(
    "--consumers", type=click.IntRange(min=0), default=0, show_default=True, help="Consumers: event bus to workers."
)
@click.option("--beats", type=click.IntRange(min=0), default=1, show_default=True, help="Schedulers.")
@click.option("--no-beat", is_flag=True, help="Start no scheduler, as --beats 0.")
@click.option("--no-flower", is_flag=True, help="Start no Flower.")
@click.option("--port-postgres", type=PORT, help="Its port; else that of the last start, else a free one.")
@click.option("--port-broker", type=PORT, help="Likewise.")
@click.option("--port-flower", type=PORT, help="Likewise.")
@click.option("--detach", "detached", is_flag=True, help="Return when it is ready; it goes on in the background.")
@click.option("--ready-fd", type=int, hidden=True, help="Where the detached one tells that it is ready.")
def up(
    data_dir: Path,
    workers: int,
    relays: int,
    consumers: int,
    beats: int,
    no_beat: bool,
    no_flower: bool,
    port_postgres: int | None,
    port_broker: int | None,
    port_flower: int | None,
    detached: bool,
    ready_fd: int | None,
) -> None:
    """Start a whole fleet on this machine: PostgreSQL, a broker, a relay, workers, the scheduler, Flower.

    A server whose URL is given (OMNINODE_DATABASE_URL, OMNINODE_BROKER_URL) is used instead of started; the broker is
    the event bus as well, unless OMNINODE_BUS_URL names another. When all is ready, DIR/fleet.env holds the variables
    that clients and other commands need. Ctrl-C stops everything; data stays.
    """
    if detached:
        words = [word for word in sys.argv[1:] if word != "--detach"]
        click.echo(detach.start(DataDir(data_dir), words))
        return
    config = StackConfig(
        data_dir=data_dir,
        workers=workers,
        relays=relays,
        consumers=consumers,
        beats=0 if no_beat else beats,
        flower=not no_flower,
        postgres_port=port_postgres,
        broker_port=port_broker,
        flower_port=port_flower,
        echo=ready_fd is None,
    )
    more: dict[str, Any] = {} if ready_fd is None else {"tell": lambda env: _tell(ready_fd, env)}
    sys.exit(asyncio.run(run_stack(config, **more)))


def _tell(descriptor: int, env: StackEnv) -> None:
    with os.fdopen(descriptor, "w") as pipe:
        pipe.write(env.describe())


@click.command()
@data_dir_option
@click.option("--timeout", "timeout_s", type=float, default=180, show_default=True, help="Seconds to wait for its end.")
def down(data_dir: Path, timeout_s: float) -> None:
    """Stop the fleet that `fleet up` started on the directory, and wait for its end."""
    detach.stop(DataDir(data_dir), timeout_s=timeout_s)
    click.echo("stopped")
