"""`fleet demo`: the whole fleet on this machine, simulated bridge nodes, and what came of them."""

import asyncio
from pathlib import Path

import click

from worker.cli.stack import data_dir_option
from worker.embedded.launch import fleet_command
from worker.embedded.stack import StackConfig, StackEnv
from worker.embedded.up import run_stack
from worker.settings import child_environment


@click.command("demo")
@click.option(
    "--seconds", type=click.FloatRange(1, 86_400), default=20.0, show_default=True, help="How long nodes are simulated."
)
@click.option(
    "--rate",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Operations a second; 0 is as fast as they are confirmed.",
)
@data_dir_option
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--exit", "leave", is_flag=True, help="Stop after the simulation instead of staying up until Ctrl-C.")
def demo_command(seconds: float, rate: int, data_dir: Path, workers: int, leave: bool) -> None:
    """Start everything, simulate bridge nodes, verify the database, show where Flower is.

    Exit code 0 when every operation was confirmed and the database equals the fold.
    """

    async def simulate(env: StackEnv) -> int:
        """In a process of its own, as bridge nodes are."""
        command = fleet_command("simulate", "--seconds", str(seconds), "--rate", str(rate))
        process = await asyncio.create_subprocess_exec(*command, env=child_environment(env.variables()))
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if code == 0 and not leave:
            click.echo(f"\n{env.describe()}\nCtrl-C stops everything; the data stays in {data_dir}.")
        return code

    config = StackConfig(data_dir=data_dir, workers=workers, echo=False)
    raise SystemExit(asyncio.run(run_stack(config, when_ready=simulate, stay=not leave)))
