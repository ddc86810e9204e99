"""`fleet dlq unreadable`: messages that were no task and were set aside in the broker."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from worker.settings import Settings

if TYPE_CHECKING:  # Celery takes a while to import: not for every `fleet dlq`
    from worker.incoming.unreadable import Shelf, UnreadableMessage


@click.command("unreadable")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--discard", is_flag=True, help="Remove those of the IDs, or all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the message's beginning.")
def unreadable_command(ids: tuple[str, ...], discard: bool, as_json: bool) -> None:
    """Messages on the queues that were no task of the fleet: the newest 500, in the broker.

    With an ID: that one, with its first 64 KiB.
    """
    with _shelf() as shelf:
        kept = shelf.messages()
        unknown = [id_ for id_ in ids if id_ not in {message.id for message in kept}]
        if unknown:
            raise click.ClickException(f"no such message: {' '.join(json.dumps(id_) for id_ in unknown)}")
        if discard:
            click.echo(f"{shelf.discard(ids or None)} discarded")
            return
    wanted = [message for message in kept if not ids or message.id in ids]
    if as_json or ids:
        for message in wanted:
            click.echo(_json(message, indent=None if as_json else 2))
    else:
        _show(wanted)


@contextmanager
def _shelf() -> Iterator["Shelf"]:
    settings = Settings.load(require=["broker_url"])
    from kombu.exceptions import OperationalError

    from worker.app import make_app
    from worker.incoming.unreadable import open_shelf

    try:
        with open_shelf(make_app(settings)) as shelf:
            yield shelf
    except OperationalError as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise click.ClickException(f"broker: {first_line[:160]}") from error


def _show(messages: list["UnreadableMessage"]) -> None:
    table = Table(title=f"{len(messages)} unreadable messages", title_justify="left")
    for column in ("id", "set aside", "queue", "bytes", "reason"):
        table.add_column(column, no_wrap=column == "id", overflow="fold")
    for message in messages:
        table.add_row(message.id, message.at, message.queue, f"{message.size_bytes:,}", message.reason)
    Console(width=None if Console().is_terminal else 200).print(table, markup=False)


def _json(message: "UnreadableMessage", *, indent: int | None) -> str:
    """Every sign that is not ASCII escaped: what a stranger wrote does nothing to a terminal."""
    told = asdict(message) | {"head": message.head.decode(errors="backslashreplace")}
    return json.dumps(told, indent=indent).replace("\x7f", "\\u007f")
