"""Rates and latencies beside what is wanted of them.

    python -m benchmarks [--seconds N] [--rounds N] [NAME ...]

Everything runs on this machine: callers, broker, PostgreSQL, two workers, a relay, and readers.
"""

import click

from benchmarks import intents, persistence, recovery, retention, sweep
from benchmarks.fleet import fleet

MEASUREMENTS = (
    intents.MEASUREMENTS
    | persistence.MEASUREMENTS
    | recovery.MEASUREMENTS
    | sweep.MEASUREMENTS
    | retention.MEASUREMENTS
)
BY_NAME_ONLY = set(retention.MEASUREMENTS)  # it fills the database for minutes


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MEASUREMENTS)))
@click.option("--seconds", default=10.0, show_default=True, help="Length of one measurement.")
@click.option("--rounds", default=1, show_default=True, help="How often each is made; the machine is noisy.")
@click.option(
    "--operations", default=retention.OPERATIONS, show_default=True, help="Rows that `retention` begins with."
)
@click.option("--workflows", default=retention.WORKFLOWS, show_default=True, help="Old ones, of `retention`.")
def main(names: tuple[str, ...], seconds: float, rounds: int, operations: int, workflows: int) -> None:
    """Measure, and print one line for each figure."""
    retention.sizes(operations, workflows)
    with fleet("--workers", "2", "--no-beat") as variables:
        for _ in range(rounds):
            for name in names or [name for name in MEASUREMENTS if name not in BY_NAME_ONLY]:
                for seen in MEASUREMENTS[name](variables, seconds):
                    click.echo(f"{seen.what:<55} {seen.figure:<32} wanted {seen.wanted}")


if __name__ == "__main__":
    main()
