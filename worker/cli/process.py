"""`fleet worker`, `fleet beat`, `fleet flower`: one process of the fleet each; and `fleet settings`."""

import sys
from pathlib import Path

import click

from worker.settings import Settings, env_name, install, masked


@click.command()
@click.option("--name", help="Its name before the @ of the node name; must differ among a broker's workers.")
@click.option("--queues", help="The queues it takes, by comma.  [default: OMNINODE_WORKER_QUEUES]")
@click.option("--threads", type=click.IntRange(min=1), help="Its threads.  [default: OMNINODE_WORKER_THREADS]")
def worker(name: str | None, queues: str | None, threads: int | None) -> None:
    """Run one worker process until SIGTERM; what it has begun it finishes first."""
    settings = Settings.load(require=("database_url", "broker_url", "result_backend_url"))
    install(settings)
    from worker.app import app
    from worker.lifecycle import run_worker

    taken = tuple(part.strip() for part in queues.split(",")) if queues else settings.worker_queues
    sys.exit(run_worker(app, settings, name, taken, threads or settings.worker_threads))


@click.command()
@click.option("--ready-file", type=click.Path(path_type=Path), hidden=True, help="Written when it has begun.")
def beat(ready_file: Path | None) -> None:
    """Run a scheduler until SIGTERM. Any number of them may run: each tick takes effect once."""
    settings = Settings.load(require=("database_url", "broker_url"))
    install(settings)
    from worker.app import app
    from worker.lifecycle import run_beat

    run_beat(app, settings, ready_file)


@click.command()
def flower() -> None:
    """Run Flower behind its login, on OMNINODE_FLOWER_HOST and OMNINODE_FLOWER_PORT."""
    settings = Settings.load(require=("broker_url", "flower_password"))
    install(settings)
    from worker.app import app
    from worker.lifecycle import run_flower

    run_flower(app, settings)


@click.command()
def show_settings() -> None:
    """Show every setting as this environment gives it; passwords are masked."""
    settings = Settings.load()
    for field in Settings.model_fields:
        value = getattr(settings, field)
        shown = ",".join(value) if isinstance(value, tuple) else masked(str("" if value is None else value))
        click.echo(f"{env_name(field)}={shown}")
