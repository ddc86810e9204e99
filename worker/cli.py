"""The `fleet` command. A subcommand's module is imported when it is run, so that `fleet --help` answers at once."""

from importlib import import_module
from typing import Any

import click

from worker.cli_output import output
from worker.errors import FleetError

# name -> module:function, and the line that `fleet --help` shows
COMMANDS = {
    "up": ("worker.cli_stack:up", "Start a whole fleet on this machine."),
    "down": ("worker.cli_stack:down", "Stop the fleet that `up` started."),
    "worker": ("worker.cli_process:worker", "Run one worker process."),
    "beat": ("worker.cli_process:beat", "Run a scheduler: any number in a fleet."),
    "relay": ("worker.cli_relay:relay_command", "Publish what waits in the outbox on the event bus."),
    "flower": ("worker.cli_process:flower", "Run Flower, the page that shows the fleet at work."),
    "simulate": ("worker.cli_simulate:simulate_command", "Play bridge nodes, then verify the database."),
    "demo": ("worker.cli_demo:demo_command", "Start everything, simulate bridge nodes, show what came of them."),
    "settings": ("worker.cli_process:show_settings", "Show every setting as this environment gives it."),
    "migrate": ("worker.cli_migrate:migrate", "Bring the database's schema up, down, or say where it stands."),
    "status": ("worker.cli_status:status_command", "Queues, workers, rates, outcomes, dead letters."),
    "health": ("worker.cli_status:health_command", "Exit code 0 when this host's part of the fleet works."),
    "ingest": ("worker.cli_ingest:ingest_command", "Submit bus records from a file and wait for their confirmation."),
    "consume": ("worker.cli_consume:consume_command", "Read bridge events from the event bus into the fleet."),
    "publish": ("worker.cli_publish:publish_command", "Put records from a file on the event bus, to try it by hand."),
    "trace": ("worker.cli_queries:trace_command", "One workflow, whole: steps, transitions, stamps, events."),
    "failed": ("worker.cli_queries:failed_command", "Workflows that failed lately, and why."),
    "stats": ("worker.cli_queries:stats_command", "A namespace in numbers."),
    "session": ("worker.cli_queries:session_command", "The events of a session, and the time between them."),
    "nodes": ("worker.cli_nodes:nodes_command", "The nodes that are there and healthy; register and deregister."),
    "report": ("worker.cli_queries:report_command", "Any report by its name, such as step_timing."),
    "schedule": ("worker.cli_schedule:schedule_command", "What the fleet does by itself: when, and what came of it."),
    "retention": ("worker.cli_retention:retention_command", "Remove rows that have been kept long enough."),
    "fsm": ("worker.cli_fsm:fsm_command", "Check state machines against their transitions, and rebuild them."),
    "dlq": ("worker.cli_dlq:dlq_command", "Work on dead letters: what was refused, and why."),
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
