"""The `fleet` command. A subcommand's module is imported when it is run, so that `fleet --help` answers at once."""

from importlib import import_module
from typing import Any

import click

from worker.cli.output import output
from worker.errors import FleetError

# name -> module:function, and the line that `fleet --help` shows
COMMANDS = {
    "up": ("worker.cli.stack:up", "Start a whole fleet on this machine."),
    "down": ("worker.cli.stack:down", "Stop the fleet that `up` started."),
    "worker": ("worker.cli.process:worker", "Run one worker process."),
    "beat": ("worker.cli.process:beat", "Run a scheduler: any number in a fleet."),
    "relay": ("worker.cli.relay:relay_command", "Publish what waits in the outbox on the event bus."),
    "flower": ("worker.cli.process:flower", "Run Flower, the page that shows the fleet at work."),
    "simulate": ("worker.cli.simulate:simulate_command", "Play bridge nodes, then verify the database."),
    "demo": ("worker.cli.demo:demo_command", "Start everything, simulate bridge nodes, show what came of them."),
    "settings": ("worker.cli.process:show_settings", "Show every setting as this environment gives it."),
    "migrate": ("worker.cli.migrate:migrate", "Bring the database's schema up, down, or say where it stands."),
    "status": ("worker.cli.status:status_command", "Queues, workers, rates, outcomes, dead letters."),
    "health": ("worker.cli.status:health_command", "Exit code 0 when this host's part of the fleet works."),
    "ingest": ("worker.cli.ingest:ingest_command", "Submit bus records from a file and wait for their confirmation."),
    "consume": ("worker.cli.consume:consume_command", "Read bridge events from the event bus into the fleet."),
    "publish": ("worker.cli.publish:publish_command", "Put records from a file on the event bus, to try it by hand."),
    "trace": ("worker.cli.queries:trace_command", "One workflow, whole: steps, transitions, stamps, events."),
    "failed": ("worker.cli.queries:failed_command", "Workflows that failed lately, and why."),
    "stats": ("worker.cli.queries:stats_command", "A namespace in numbers."),
    "session": ("worker.cli.queries:session_command", "The events of a session, and the time between them."),
    "nodes": ("worker.cli.nodes:nodes_command", "The nodes that are there and healthy; register and deregister."),
    "report": ("worker.cli.queries:report_command", "Any report by its name, such as step_timing."),
    "schedule": ("worker.cli.schedule:schedule_command", "What the fleet does by itself: when, and what came of it."),
    "retention": ("worker.cli.retention:retention_command", "Remove rows that have been kept long enough."),
    "fsm": ("worker.cli.fsm:fsm_command", "Check state machines against their transitions, and rebuild them."),
    "dlq": ("worker.cli.dlq:dlq_command", "Work on dead letters: what was refused, and why."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are import paths."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with output():
                return super().invoke(ctx)
        except FleetError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """The fleet that makes what bridge nodes did durable."""
